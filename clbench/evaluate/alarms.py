"""What looks wrong about a trace although nothing failed, whoever's loop wrote it."""

from __future__ import annotations

import math

import numpy as np

from clbench.types import Kind, Stream, Trace

DEVIATIONS = 3.0
"""How many standard errors below chance an accuracy has to be."""


def of_trace(stream: Stream, trace: Trace) -> list[str]:
    """A sentence for each thing that looks wrong.

    Args:
        stream: The one that was learned.
        trace: What was seen of it.
    """
    return [*_below_chance(stream, trace), *_masked_below(trace)]


def _below_chance(stream: Stream, trace: Trace) -> list[str]:
    """Whether the final accuracy is lower than that of guessing among the classes that compete."""
    ends = np.flatnonzero(trace.kind == Kind.END)
    if not len(ends):
        return []
    score = trace.score[ends[-1]]
    known = np.isfinite(score) & (trace.first_visit <= trace.experience[ends[-1]])
    if not known.any():
        return []
    each = len(set(stream.tasks[0].classes)) if stream.task_labels else stream.n_outputs
    chance, rows = 1 / each, float(trace.rows[known].sum())
    mean = float(np.average(score[known], weights=trace.rows[known]))
    if mean < chance - DEVIATIONS * math.sqrt(chance * (1 - chance) / rows):
        return [f"the final accuracy is {100 * mean:.1f} %, below the {100 * chance:.1f} % of guessing"]
    return []


def _masked_below(trace: Trace) -> list[str]:
    """Whether the read-out that is told the task is anywhere worse than the one that is not: one is wrong then."""
    if not trace.masked.size:
        return []
    with np.errstate(invalid="ignore"):
        lower = trace.masked < trace.score - 1e-9
    if not lower.any():
        return []
    look = int(np.flatnonzero(lower.any(axis=1))[0])
    return [
        f"accuracy among a task's own classes is below accuracy among all classes at {int(lower.sum())} scores, the "
        f"first after step {int(trace.step[look])}: the read-out is not what it should be"
    ]
