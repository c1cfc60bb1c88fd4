"""Compare traces by what a cell determines: everything but seconds."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.measure import ACCURACY
from clbench.core.record import Reading, Trace

COLUMNS = ("step", "kind", "experience", "score", "rows", "present")
"""Columns of every trace that a cell determines."""
RECORDED = (
    "every", "population", "masked", "class_score", "probe_step", "probe", "units", "competing", "met", "counted",
    "spread", "further",
)  # fmt: skip
"""Further columns that a cell determines; a column without values counts as absent."""


def trace_digest(trace: Trace) -> str:
    """Return 32 hex digits that are equal for equal runs, on every machine.

    They cover all columns of a trace except seconds and predictions. Columns without values are left out, so that a
    new column changes no digest of a trace that does not record it.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in (*COLUMNS, *RECORDED):
        values = np.asarray(getattr(trace, name))
        if values.size or name in COLUMNS:
            digest.update(f"{name} {values.shape} ".encode())
            _feed(digest, values)
    for name, reading in sorted(trace.readings.items()):
        digest.update(f"reading {name} {reading.values.shape} ".encode())
        _feed(digest, reading.steps)
        _feed(digest, reading.values)
    if trace.measure != ACCURACY:
        digest.update(trace.measure.name.encode())
    return digest.hexdigest()


def trace_difference(ours: Trace, theirs: Trace) -> str:
    """Return the first column in which two traces differ, in words; empty if their digests are equal."""
    for name in (*COLUMNS, *RECORDED):
        if not _equal(np.asarray(getattr(ours, name)), np.asarray(getattr(theirs, name))):
            return f"the trace's {name}"
    for name in sorted({*ours.readings, *theirs.readings}):
        if not _same_reading(ours.readings.get(name), theirs.readings.get(name)):
            return f"the trace's reading {name}"
    return "" if ours.measure == theirs.measure else "the trace's measure"


def common_difference(ours: Trace, theirs: Trace) -> str:
    """Return the first column in which two traces differ among those that both have recorded, in words; empty if there
    is none. Older traces lack columns that were introduced later."""
    for name in (*COLUMNS, *RECORDED):
        a, b = np.asarray(getattr(ours, name)), np.asarray(getattr(theirs, name))
        if (name in COLUMNS or (a.size and b.size)) and not _equal(a, b):
            return f"the trace's {name}"
    for name in sorted(ours.readings.keys() & theirs.readings.keys()):
        if not _same_reading(ours.readings[name], theirs.readings[name]):
            return f"the trace's reading {name}"
    return "" if ours.measure == theirs.measure else "the trace's measure"


def _same_reading(a: Reading | None, b: Reading | None) -> bool:
    return a is not None and b is not None and _equal(a.steps, b.steps) and _equal(a.values, b.values)


def _feed(digest: Any, values: NDArray[Any]) -> None:
    """Add values with their type, in one byte order, and with one bit pattern for NaN."""
    if values.dtype.names:
        for name in values.dtype.names:
            digest.update(f"{name} ".encode())
            _feed(digest, values[name])
        return
    plain = values.astype(values.dtype.newbyteorder("<"))  # a copy in C order
    if plain.dtype.kind == "f":
        plain[np.isnan(plain)] = np.nan
        plain[plain == 0] = 0  # -0.0 equals 0.0
    digest.update(plain.dtype.str.encode())
    digest.update(plain.tobytes())


def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    if a.shape != b.shape and not (a.size == 0 and b.size == 0):
        return False
    if a.dtype.names or b.dtype.names:
        return a.dtype.names == b.dtype.names and all(_equal(a[name], b[name]) for name in a.dtype.names or ())
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")
