"""Curves of accuracy over iterations and after switches, and their means over seeds, as data for plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clbench.core.record import Kind, Trace
from clbench.metrics.accuracy_matrix import end_looks, end_scores
from clbench.metrics.anytime import step_looks
from clbench.metrics.interval import half_width
from clbench.metrics.metric import Undefined

Curve = NDArray[np.float64]
Tasks = Literal["first", "seen"]


class Series(NamedTuple):
    """Hold the curve of one seed.

    Args:
        x: (n,) ascending.
        y: (n,) values.
        error: (n,) standard error of ``y`` from the number of evaluation samples; NaN if unknown.
    """

    x: Curve
    y: Curve
    error: Curve


@dataclass(frozen=True, eq=False)
class Line:
    """Hold the mean curve over seeds on a common axis.

    Args:
        x: (n,) ascending.
        mean: (n,) mean over seeds.
        half: (n,) half-width of the band: of the 95 % interval over seeds; for one seed, the standard error from its
            evaluation samples.
        seeds: Number of seeds.
    """

    x: Curve
    mean: Curve
    half: Curve
    seeds: int


def experience_boundaries(trace: Trace) -> Curve:
    """Return the number of iterations before each experience, and at the end, (E + 1,)."""
    return np.concatenate([[0], trace.step[end_looks(trace)]]).astype(float)


def series(trace: Trace, tasks: NDArray[np.bool_]) -> Series:
    """Return the mean score over ``tasks`` (K, T) at each evaluated iteration; of several evaluations the last one
    counts.

    Evaluations at switches are left out: they would replace the end before them, which has the same iteration. The
    standard error treats the samples of different tasks as independent draws.
    """
    tasks = tasks & (trace.kind != Kind.SWITCH)[:, None]
    count = tasks.sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = np.where(tasks, trace.score, 0.0).sum(axis=1) / count
        error = np.sqrt((np.where(tasks, np.square(trace.standard_error), 0.0)).sum(axis=1)) / count
    known = ~np.isnan(mean)
    step, mean, error = trace.step[known], mean[known], error[known]
    last = np.diff(step, append=step[-1:] + 1) > 0
    return Series(step[last].astype(float), mean[last], error[last])


def selected(trace: Trace, tasks: Tasks) -> NDArray[np.bool_]:
    """Return a mask (K, T) of the scores to average: the first task of the first experience, or the tasks seen so
    far."""
    if tasks == "first":
        return np.broadcast_to(np.arange(trace.n_tasks) == trace.present[0].argmax(), trace.score.shape)
    return trace.seen


def one_task(trace: Trace, task: int) -> Series:
    """Return the accuracy on a task from the switch into its first visit; empty if the task is never visited."""
    first = trace.first_visit[task]
    begun = (trace.experience >= first) | ((trace.experience == first - 1) & (trace.kind != Kind.STEP))
    shown = np.zeros(trace.score.shape, dtype=bool)
    if first < trace.n_experiences:
        shown[begun, task] = True
    return series(trace, shown)


def since_switch(trace: Trace, *, before: int, after: int) -> Series:
    """Return the change of accuracy after a switch, as mean over pairs of an old task and an experience without it.

    Values between evaluations are interpolated linearly, so that switches with evaluations at different iterations can
    be averaged. There is no standard error, since the change compares the same samples.

    Args:
        trace: The trace of a finished run.
        before: Number of iterations before the switch, at most the length of any experience.
        after: Number of iterations after the switch, at most the length of any experience.

    Raises:
        Undefined: There are no evaluations after steps, or no task is ever absent after its first visit.
    """
    step_looks(trace)
    scores, start = end_scores(trace), experience_boundaries(trace)
    found = []
    for experience in switched(trace):
        old = np.flatnonzero((trace.first_visit < experience) & ~trace.present[experience])
        near = (trace.experience == experience) | (trace.experience == experience - 1)
        looks = np.flatnonzero(near & np.isin(trace.kind, (Kind.STEP, Kind.END)))
        change = (trace.score[np.ix_(looks, old)] - scores[experience - 1, old]).sum(axis=1)
        found.append((trace.step[looks] - start[experience], change, len(old)))
    offsets = np.unique(np.concatenate([x for x, _, _ in found]))
    inside = offsets[(offsets >= -before) & (offsets <= after)]
    x = np.unique([-before, *inside, after]).astype(float)  # with few evaluations, the curve still fills its window
    total = np.sum([np.interp(x, own, change) for own, change, _ in found], axis=0)
    return Series(x, total / sum(n for _, _, n in found), np.full(len(x), np.nan))


def arrival(trace: Trace, switch: int, tasks: NDArray[np.bool_]) -> float:
    """Return the mean change of accuracy on some tasks (T,) from the end before a switch to the evaluation at it.

    The value is NaN if that evaluation was not made.
    """
    at = np.flatnonzero((trace.kind == Kind.SWITCH) & (trace.experience == switch))
    if not len(at) or not tasks.any():
        return np.nan
    return float((trace.score[at[0]] - end_scores(trace)[switch - 1])[tasks].mean())


def switched(trace: Trace) -> list[int]:
    """Return the experiences in which a task that was seen before is absent.

    Raises:
        Undefined: There is none.
    """
    found = [k for k in range(1, trace.n_experiences) if ((trace.first_visit < k) & ~trace.present[k]).any()]
    if not found:
        raise Undefined("no task was ever absent after its first visit")
    return found


def over_seeds(seeds: Sequence[Series]) -> Line:
    """Interpolate the curves of all seeds to their common x values, and return the mean."""
    x = np.unique(np.concatenate([each.x for each in seeds]))
    values = np.array([np.interp(x, each.x, each.y) for each in seeds])  # (seeds, n)
    half = half_width(values) if len(seeds) > 1 else np.interp(x, seeds[0].x, seeds[0].error)
    return Line(x, values.mean(axis=0), half, len(seeds))
