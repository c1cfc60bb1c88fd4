"""Alarms about a trace, of any loop, in which nothing failed but something looks wrong."""

from __future__ import annotations

import math

import numpy as np

from clbench.core.record import Kind, Trace
from clbench.core.types import Mask, Stream

DEVIATIONS = 3.0
"""How many standard errors below chance an accuracy has to be."""
OWN = 2
"""A task's own classes in ``trace.units``."""


def of_trace(stream: Stream, trace: Trace) -> list[str]:
    """Return a sentence for everything that looks wrong.

    Args:
        stream: The stream that was learned.
        trace: What was recorded of it.
    """
    return [*_below_chance(stream, trace), *_masked_below(stream, trace)]


def _below_chance(stream: Stream, trace: Trace) -> list[str]:
    """Check whether the final accuracy is lower than that of guessing among the classes that compete.

    For other scores with a chance level: whether tasks were below it just after they had been learned.
    """
    if trace.measure.chance != "classes":
        return _below_level(trace)
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


def _below_level(trace: Trace) -> list[str]:
    """Check whether the mean score of tasks at the ends of the experiences that contain them is below chance."""
    measure, ends = trace.measure, np.flatnonzero(trace.kind == Kind.END)
    if not isinstance(measure.chance, float) or not len(ends):
        return []
    shown = trace.present[trace.experience[ends]] & np.isfinite(trace.score[ends])  # (k, T)
    if not shown.any():
        return []
    weights = np.broadcast_to(trace.rows, shown.shape)[shown]
    mean = float(np.average(trace.score[ends][shown], weights=weights))
    spread = trace.spread[ends][shown] if trace.spread.size else np.zeros(len(weights))
    error = math.sqrt(float(np.average(np.square(spread), weights=weights)) / float(trace.rows.sum()))
    if mean >= measure.chance - DEVIATIONS * error:
        return []
    return [
        f"tasks that have just been learned have a mean {measure.name} of {measure.text(mean, fewer=1)}, below the "
        f"{measure.text(measure.chance, fewer=1)} of guessing; a smaller learning rate or more passes may help"
    ]


def _masked_below(stream: Stream, trace: Trace) -> list[str]:
    """Check whether accuracy with a known task is anywhere below accuracy without it, where that is impossible.

    Both use the same scores. If all classes of a task compete anyway, a sample whose own class has the highest score of
    all that compete has the highest among those of the task too: only a wrong prediction loses it. If some class of the
    task does not compete yet, it does once the task is known, and may rightly win.
    """
    if not trace.masked.size or not trace.units.size:
        return []
    with np.errstate(invalid="ignore"):
        lower = trace.masked < trace.score - 1e-9
    if lower.any():
        lower &= _all_compete(stream, trace)
    if not lower.any():
        return []
    look = int(np.flatnonzero(lower.any(axis=1))[0])
    return [
        f"accuracy among a task's own classes is below accuracy among all that compete at {int(lower.sum())} scores, "
        f"the first after step {int(trace.step[look])}: the predictions are wrong"
    ]


def _all_compete(stream: Stream, trace: Trace) -> Mask:
    """Return (K, T) whether all classes of a task compete at an evaluation: in its own head, or among the classes
    seen."""
    own = trace.units == OWN  # (T, C)
    if stream.task_labels:
        competes = np.zeros_like(own)
        for task in stream.tasks:
            competes[task.id, list(task.classes)] = True
        return np.broadcast_to((own <= competes).all(axis=1), trace.score.shape)
    if stream.output == "all":
        return np.ones(trace.score.shape, dtype=bool)
    seen = np.ones((len(stream) + 1, own.shape[1]), dtype=bool)  # the last is the beginning, when all compete
    for position in range(len(stream)):
        seen[position] = seen[position - 1] if position else False
        seen[position, list(stream[position].classes)] = True
    met: Mask = (own <= seen[trace.experience][:, None]).all(axis=2)  # (K, T, C) -> (K, T)
    return met
