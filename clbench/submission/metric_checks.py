"""Compute metrics of a submission again, from traces alone, and check final accuracies against a second computation."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from clbench import metrics
from clbench.core.record import Kind, Trace
from clbench.submission.check_results import Said, Subject

CHECK = "metrics"
NAMES = ("acc", "min_acc", "wc_acc")
"""The metrics that are computed for the report."""
ROUNDING = 1e-9
"""Difference of two sums of the same numbers."""


def metric_values(trace: Trace) -> dict[str, float]:
    """Return the metrics of the report that are defined for a trace, by name."""
    found = {name: metrics.get(name)(trace, None).value for name in NAMES}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def recomputed(subject: Subject) -> Iterator[Said]:
    """Compute metrics of a finished run from its trace, and check that they lie in their ranges."""
    trace = subject.trace
    if trace is None or subject.record.status != "done":
        return
    for name in NAMES:
        value = metrics.get(name)(trace, None).value
        low, high = trace.measure.low, trace.measure.high
        if math.isfinite(value) and not low - ROUNDING <= value <= high + ROUNDING:
            yield subject.finding(CHECK, f"has {name} = {value:.6g}, which is outside {low:g} to {high:g}")
    own, told = final_accuracy(trace), metrics.get("acc")(trace, None).value
    if math.isfinite(own) and math.isfinite(told) and abs(own - told) > ROUNDING * max(1.0, abs(own)):
        yield subject.finding(CHECK, f"has acc = {told:.6g}, and its last evaluation gives {own:.6g}")


def final_accuracy(trace: Trace) -> float:
    """Return the mean of the last scores over the tasks that experiences held, by definition and without the metrics.

    NaN if the stream held no task.
    """
    last = np.flatnonzero(trace.kind == Kind.END)
    visited = trace.present.any(axis=0)
    if not len(last) or not visited.any():
        return math.nan
    return float(np.mean(trace.score[last[-1], visited]))
