"""Check that the numbers of a trace that strangers wrote are of the kind that metrics expect."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from clbench.core.record import Kind, Trace

PROBE_COLUMNS = 6
LARGEST = 2**53
"""The largest number of steps or samples."""
LONGEST_NAME = 200
"""The most letters in the name of a reading."""


def check_ranges(trace: Trace) -> None:
    """Check the ranges of all columns of a trace, and the shapes that the trace itself does not check.

    Raises:
        ValueError: A value or shape is impossible; the message names the column.
    """
    wrong = next(_wrong(trace), None)
    if wrong is not None:
        raise ValueError(wrong)


def _wrong(trace: Trace) -> Iterator[str]:
    looks, tasks = trace.score.shape
    if not looks or not tasks or not trace.n_experiences:
        yield "its trace has no evaluation, no task or no experience"
    integers = {
        "step": (0, LARGEST),
        "kind": (min(Kind), max(Kind)),
        "experience": (-1, trace.n_experiences - 1),
        "rows": (0, LARGEST),
        "population": (0, LARGEST),
        "units": (0, 2),
        "competing": (0, LARGEST),
        "met": (-1, LARGEST),
        "counted": (-1, LARGEST),
        "probe_step": (0, LARGEST),
    }
    for name, (low, high) in integers.items():
        values = np.asarray(getattr(trace, name))
        if values.size and (values.min() < low or values.max() > high):
            yield f"its trace has a value of {name} that is not from {low} to {high}"
    if (np.diff(trace.step) < 0).any():
        yield "the steps of its trace do not ascend"
    if not 0 <= trace.every <= LARGEST:
        yield "its trace has an impossible period of evaluations"
    if trace.seconds.size and (trace.seconds.shape != (looks,) or not _within(trace.seconds, 0, np.inf, nan=False)):
        yield "its trace has impossible times"
    yield from _wrong_scores(trace)
    if trace.probe.shape != (len(trace.probe_step), PROBE_COLUMNS):
        yield "its trace has another number of probes than of steps at which they were taken"
    for name, reading in trace.readings.items():
        steps = reading.steps
        if len(name) > LONGEST_NAME or (steps.size and (steps.min() < 0 or steps.max() > LARGEST)):
            yield "its trace has a reading with an impossible name or step"
        if (np.diff(steps) < 0).any():
            yield "the steps of a reading of its trace do not ascend"


def _wrong_scores(trace: Trace) -> Iterator[str]:
    if not _within(trace.score, trace.measure.low, trace.measure.high):
        yield f"its trace has a score outside {trace.measure.low:g} to {trace.measure.high:g}"
    if not (_within(trace.masked, 0, 1) and _within(trace.class_score, 0, 1)):
        yield "its trace has an accuracy outside 0 to 1"
    if not _within(trace.spread, 0, np.inf):
        yield "its trace has an impossible standard deviation of scores"
    columns = [trace.further[name] for name in trace.further.dtype.names or ()]
    if not all(_within(values, -np.inf, np.inf) for values in columns):
        yield "its trace has an infinite mean over samples"


def _within(values: NDArray[np.floating], low: float, high: float, *, nan: bool = True) -> bool:
    """Return whether all values are finite and from ``low`` to ``high``, or NaN where that is allowed."""
    absent = np.isnan(values)
    if absent.any() and not nan:
        return False
    found = values[~absent]
    return bool(np.isfinite(found).all() and (found >= low).all() and (found <= high).all())
