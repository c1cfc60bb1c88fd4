"""Curves of accuracy over iterations and after switches, and their means over seeds: what pictures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clbench.core.record import Kind, Trace
from clbench.metrics.ends import end_looks, end_scores
from clbench.metrics.interval import half_width
from clbench.metrics.looks import step_looks
from clbench.metrics.metric import Undefined

Curve = NDArray[np.float64]
Tasks = Literal["first", "seen"]


class Series(NamedTuple):
    """One seed's curve.

    Args:
        x: (n,) ascending.
        y: (n,) values.
        error: (n,) standard error of ``y`` that the number of evaluation rows implies; NaN where none is known.
    """

    x: Curve
    y: Curve
    error: Curve


@dataclass(frozen=True, eq=False)
class Line:
    """A curve over seeds, on a common axis.

    Args:
        x: (n,) ascending.
        mean: (n,) mean over seeds.
        half: (n,) half-width of the band: of the 95 % interval over seeds, or, for one seed, the standard error of its
            evaluation rows.
        seeds: How many.
    """

    x: Curve
    mean: Curve
    half: Curve
    seeds: int


def experience_boundaries(trace: Trace) -> Curve:
    """Iterations done when each experience began, and at the end, (E + 1,)."""
    return np.concatenate([[0], trace.step[end_looks(trace)]]).astype(float)


def series(trace: Trace, tasks: NDArray[np.bool_]) -> Series:
    """Mean score over ``tasks`` (K, T) at each iteration looked at; of looks at one step count the last one counts.

    Looks at switches are left out: they would stand in the place of the end before them, at the same iteration.
    The standard error takes the rows of different tasks as independent draws.
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
    """(K, T) scores to average: of the first task of the first experience, or of the tasks seen by each look."""
    if tasks == "first":
        return np.broadcast_to(np.arange(trace.n_tasks) == trace.present[0].argmax(), trace.score.shape)
    return trace.seen


def one_task(trace: Trace, task: int) -> Series:
    """Accuracy on a task from the switch into its first visit on; empty for a task that was never visited."""
    first = trace.first_visit[task]
    begun = (trace.experience >= first) | ((trace.experience == first - 1) & (trace.kind != Kind.STEP))
    shown = np.zeros(trace.score.shape, dtype=bool)
    if first < trace.n_experiences:
        shown[begun, task] = True
    return series(trace, shown)


def since_switch(trace: Trace, *, before: int, after: int) -> Series:
    """Change of accuracy since a switch, mean over pairs of an old task and an experience in which it is absent.

    Linear between looks, so that switches whose looks fall on different iterations can be averaged. No standard error:
    the change compares a task's rows with themselves.

    Args:
        trace: Of a finished run.
        before: Iterations shown before the switch, at most the length of any experience.
        after: Iterations shown after it, likewise.

    Raises:
        Undefined: There are no step looks, or no task is ever absent after its first visit.
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
    x = np.unique([-before, *inside, after]).astype(float)  # where looks are sparse the curve still fills its window
    total = np.sum([np.interp(x, own, change) for own, change, _ in found], axis=0)
    return Series(x, total / sum(n for _, _, n in found), np.full(len(x), np.nan))


def arrival(trace: Trace, switch: int, tasks: NDArray[np.bool_]) -> float:
    """Mean change of accuracy on some tasks (T,) from the end before a switch to the look at it, before any step.

    NaN where that look was not taken.
    """
    at = np.flatnonzero((trace.kind == Kind.SWITCH) & (trace.experience == switch))
    if not len(at) or not tasks.any():
        return np.nan
    return float((trace.score[at[0]] - end_scores(trace)[switch - 1])[tasks].mean())


def switched(trace: Trace) -> list[int]:
    """The experiences from which a task seen before is absent.

    Raises:
        Undefined: There is none.
    """
    found = [k for k in range(1, trace.n_experiences) if ((trace.first_visit < k) & ~trace.present[k]).any()]
    if not found:
        raise Undefined("no task was ever absent after its first visit")
    return found


def over_seeds(seeds: Sequence[Series]) -> Line:
    """Curves of seeds, interpolated onto the places that any of them has."""
    x = np.unique(np.concatenate([each.x for each in seeds]))
    values = np.array([np.interp(x, each.x, each.y) for each in seeds])  # (seeds, n)
    half = half_width(values) if len(seeds) > 1 else np.interp(x, seeds[0].x, seeds[0].error)
    return Line(x, values.mean(axis=0), half, len(seeds))
