"""The file of a trace: its columns in a compressed NumPy archive."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np

from clbench.core.measure import ACCURACY, Measure
from clbench.core.npz_arrays import Column, npz_arrays
from clbench.core.record import Reading, Trace

TRACE_FIELDS = {
    "step": Column("i", 1),
    "kind": Column("i", 1),
    "experience": Column("i", 1),
    "score": Column("f", 2),
    "rows": Column("i", 1),
    "present": Column("b", 2),
    "every": Column("i", 0),
    "seconds": Column("f", 1),
}
OPTIONAL_FIELDS = {
    "population": Column("i", 1),
    "masked": Column("f", 2),
    "class_score": Column("f", 2),
    "probe_step": Column("i", 1),
    "probe": Column("f", 2),
    "units": Column("i", 2),
    "competing": Column("i", 2),
    "met": Column("i", 1),
    "counted": Column("i", 1),
    "spread": Column("f", 2),
    "further": Column("V", 2),
}
"""Fields of a trace that a file holds only if something was recorded; older files have none of them."""
MEASURE = "measure"
"""The field of a file for the measure of scores that are not accuracies."""
READINGS = "readings"
"""The field of a file for the names of readings and the dimensions of their values, if there are readings. The arrays
of reading i are ``reading_i_steps`` and ``reading_i_values``."""
MOST_READINGS, MOST_DIMENSIONS = 20, 8
"""The most readings of a trace, and dimensions of the values of one."""
MOST_BYTES = 2**32
"""The most bytes of the arrays of a trace."""


def encoded(trace: Trace) -> bytes:
    """Return the content of a trace's file."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(getattr(trace, name)) for name in TRACE_FIELDS}
    extra = {name: getattr(trace, name) for name in OPTIONAL_FIELDS}
    arrays |= {name: array for name, array in extra.items() if array.size}
    if trace.measure != ACCURACY:
        arrays[MEASURE] = np.array(json.dumps(asdict(trace.measure)))
    if trace.readings:
        shapes = {name: reading.values.ndim for name, reading in trace.readings.items()}
        arrays[READINGS] = np.array(json.dumps(shapes))
        for number, reading in enumerate(trace.readings.values()):
            arrays |= {f"reading_{number}_steps": reading.steps, f"reading_{number}_values": reading.values}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def decoded(content: bytes | memoryview, *, most: int = MOST_BYTES) -> Trace:
    """Return the trace in the content of a file, which may be hostile: headers of arrays are checked before an array is
    read, and nothing is unpickled.

    Args:
        content: The bytes of the file.
        most: The most bytes of all arrays together.

    Raises:
        ValueError: The content is damaged; the message gives the reason.
    """
    texts = {MEASURE: Column("U", 0), READINGS: Column("U", 0)}
    arrays: dict[str, Any] = npz_arrays(content, {**TRACE_FIELDS, **OPTIONAL_FIELDS, **texts}, most)
    absent = [name for name in TRACE_FIELDS if name not in arrays]
    if absent:
        raise ValueError(f"it has no array {absent[0]!r}")
    measure = _measure(str(arrays.pop(MEASURE))) if MEASURE in arrays else ACCURACY
    readings = _readings(content, str(arrays.pop(READINGS)), most) if READINGS in arrays else {}
    every = int(arrays.pop("every"))
    return Trace(**arrays, every=every, measure=measure, readings=readings)


def _readings(content: bytes | memoryview, written: str, most: int) -> dict[str, Reading]:
    """Return the readings of a file, whose names and dimensions are given as JSON.

    Raises:
        ValueError: The text describes none, or an array is missing.
    """
    try:
        shapes = json.loads(written)
        right = isinstance(shapes, dict) and 0 < len(shapes) <= MOST_READINGS
        if not right or not all(type(n) is int and 1 <= n <= MOST_DIMENSIONS for n in shapes.values()):
            raise ValueError
    except (ValueError, RecursionError):
        raise ValueError("the names of its readings are damaged") from None
    columns = {}
    for number, dimensions in enumerate(shapes.values()):
        columns[f"reading_{number}_steps"] = Column("i", 1)
        columns[f"reading_{number}_values"] = Column("f", dimensions)
    arrays = npz_arrays(content, columns, most)
    absent = [name for name in columns if name not in arrays]
    if absent:
        raise ValueError(f"it has no array {absent[0]!r}")
    found = (Reading(arrays[f"reading_{n}_steps"], arrays[f"reading_{n}_values"]) for n in range(len(shapes)))
    return dict(zip(shapes, found, strict=True))


def _measure(written: str) -> Measure:
    """Return the measure of scores that are not accuracies.

    Raises:
        ValueError: The text describes none.
    """
    kinds = {each.name: each.type for each in dataclasses.fields(Measure)}
    try:
        held = json.loads(written)
        wrong = set(held) - set(kinds) or {name for name, value in held.items() if not _fits(value, str(kinds[name]))}
        if wrong or not abs(held.get("factor", 1.0)) < math.inf or not 0 <= held.get("decimals", 0) <= 20:
            raise ValueError
        return Measure(**{**held, "columns": tuple(held.get("columns", ()))})
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError("its measure is damaged") from None


def _fits(value: Any, kind: str) -> bool:
    """Return whether a value is what a field of a measure holds."""
    if kind.startswith("tuple"):
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    allowed = {"str": isinstance(value, str), "bool": isinstance(value, bool), "float": number}
    allowed |= {"int": number and isinstance(value, int)}
    return allowed.get(kind, number or value is None or value == "classes")
