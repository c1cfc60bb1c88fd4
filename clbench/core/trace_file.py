"""The file of a trace: its columns in a compressed NumPy archive."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import Any

import numpy as np

from clbench.core.measure import ACCURACY, Measure
from clbench.core.record import Trace

TRACE_FIELDS = ("step", "kind", "experience", "score", "rows", "present", "every", "seconds")
OPTIONAL_FIELDS = (
    "population",
    "masked",
    "class_score",
    "probe_step",
    "probe",
    "units",
    "competing",
    "met",
    "counted",
    "spread",
    "further",
)
"""Fields of a trace that a file holds only if something was recorded; older files have none of them."""
MEASURE = "measure"
"""The field of a file for the measure of scores that are not accuracies."""


def encoded(trace: Trace) -> bytes:
    """Return the content of a trace's file."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(getattr(trace, name)) for name in TRACE_FIELDS}
    extra = {name: getattr(trace, name) for name in OPTIONAL_FIELDS}
    arrays |= {name: array for name, array in extra.items() if array.size}
    if trace.measure != ACCURACY:
        arrays[MEASURE] = np.array(json.dumps(asdict(trace.measure)))
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def decoded(content: bytes) -> Trace:
    """Return the trace in the content of a file.

    Raises:
        ValueError: The content is damaged; the message gives the reason.
    """
    try:
        with np.load(io.BytesIO(content)) as arrays:  # given a path, np.load leaves a damaged file open
            fields: dict[str, Any] = {name: arrays[name] for name in TRACE_FIELDS}
            fields |= {name: arrays[name] for name in OPTIONAL_FIELDS if name in arrays}
            measure = _measure(str(arrays[MEASURE])) if MEASURE in arrays else ACCURACY
        return Trace(**{**fields, "every": int(fields["every"])}, measure=measure)
    except Exception as error:  # NumPy reads the header of an array before its checksum is compared
        raise ValueError(str(error) or type(error).__name__) from None


def _measure(written: str) -> Measure:
    fields = json.loads(written)
    return Measure(**{**fields, "columns": tuple(fields["columns"])})
