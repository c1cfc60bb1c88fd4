"""Metrics of looks during training: anytime accuracy and minima while absent; windows have a file of their own.

A task is *absent* at a look if the experience then running holds none of its rows; so minima are defined per visit.
All of these depend on the period of the looks: report it with the number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clbench.core.record import Kind, Trace
from clbench.core.types import Index, Mask
from clbench.metrics.ends import Scores, end_looks, end_scores, visited
from clbench.metrics.metric import Metric, Undefined

ENDS_ONLY = "there are no looks between ends; set evaluation.every to 1 or more"
SEEN = "set evaluation.tasks to seen"


@dataclass(frozen=True, eq=False)
class StepLooks:
    """The step looks of a finished run.

    Args:
        step: (k,) iterations done before each.
        experience: (k,) experience that was running.
        score: (k, T) scores; NaN only where ``seen`` is false, or where not all seen tasks were asked for.
        seen: (k, T) whether the task had been met by then, see :attr:`clbench.core.record.Trace.seen`.
    """

    step: Index
    experience: Index
    score: Scores
    seen: Mask


def step_looks(trace: Trace, *, with_ends: bool = False, all_seen: bool = True) -> StepLooks:
    """The looks taken after steps.

    Args:
        trace: Of a finished run.
        with_ends: Whether looks at ends count too, so that every experience is closed by one.
        all_seen: Whether each has to be a look at all tasks seen by then.

    Raises:
        Undefined: There is none, the run stopped early, or a look left out a task seen by then and must not.
    """
    end_looks(trace)
    if not (trace.kind == Kind.STEP).any():
        raise Undefined(ENDS_ONLY)
    at = np.flatnonzero((trace.kind == Kind.STEP) | (with_ends & (trace.kind == Kind.END)))
    looks = StepLooks(
        step=trace.step[at],
        experience=trace.experience[at],
        score=trace.score[at],
        seen=trace.seen[at],
    )
    left_out = np.argwhere(np.isnan(looks.score) & looks.seen)
    if all_seen and len(left_out):
        look, task = left_out[0]
        raise Undefined(f"task {task} was not looked at after iteration {looks.step[look]}; {SEEN}")
    return looks


def aaa(trace: Trace) -> float:
    """Anytime accuracy: the mean over step looks of the mean accuracy on the tasks seen so far.

    A look weighs as many iterations as passed since the one before it, which matters only where the period varies.
    Under an uneven schedule the look at an experience's end closes it, so that no weight crosses a boundary.
    """
    looks = step_looks(trace, with_ends=trace.every < 1)
    count = looks.seen.sum(axis=1)
    begun = count > 0
    means = np.where(looks.seen, looks.score, 0.0).sum(axis=1)[begun] / count[begun]
    return float(np.average(means, weights=np.diff(looks.step, prepend=0)[begun]))


def absent_minima(trace: Trace) -> Scores:
    """Lowest score of each task over the step and end looks at which it was absent after its first visit, (T,).

    Returns:
        Values in [0, 1]; infinity for a task that never was absent.
    """
    running = np.maximum(trace.experience, 0)
    after = np.isin(trace.kind, (Kind.STEP, Kind.END))[:, None]
    absent = after & (trace.first_visit < trace.experience[:, None]) & ~trace.present[running]  # (K, T)
    scores = np.where(absent & ~np.isnan(trace.score), trace.score, np.inf)
    lowest: NDArray[np.float64] = scores.min(axis=0, initial=np.inf)
    return lowest


def _minima(trace: Trace, tasks: Index) -> Scores:
    """The lowest scores of some tasks while absent, of which there have to be looks between ends at all of them.

    Raises:
        Undefined: There is no look between ends, or one left out such a task: the minimum would be that of ends alone.
    """
    end_looks(trace)
    if not len(tasks):
        return np.zeros(0)
    looks = step_looks(trace, all_seen=False)
    absent = (trace.first_visit < looks.experience[:, None]) & ~trace.present[looks.experience]  # (k, T)
    left_out = np.argwhere((absent & np.isnan(looks.score))[:, tasks])
    if len(left_out):
        look, place = left_out[0]
        raise Undefined(
            f"task {tasks[place]} was absent and not looked at after iteration {looks.step[look]}, so its lowest "
            f"accuracy is not known; {SEEN}"
        )
    return absent_minima(trace)[tasks]


def min_acc(trace: Trace) -> float:
    """min-ACC: the mean over tasks of their lowest accuracy while absent.

    Raises:
        Undefined: No task was ever absent, or there are no looks between ends at the absent tasks.
    """
    end_looks(trace)
    absent = np.flatnonzero(np.isfinite(absent_minima(trace)))
    if not len(absent):
        raise Undefined("no task was ever absent after its first visit")
    return float(_minima(trace, absent).mean())


def wc_acc(trace: Trace) -> float:
    """WC-ACC: worst-case accuracy, the present tasks as they ended and the absent ones at their lowest.

    The last end look is a look at the absent tasks too, so the value never exceeds ACC.

    Raises:
        Undefined: A task is absent at the end, and there are no looks between ends at the absent tasks: what ends alone
            show is no worst case.
    """
    tasks, final = visited(trace), end_scores(trace)[-1]
    worst = final.copy()
    absent = tasks[~trace.present[-1, tasks]]
    worst[absent] = _minima(trace, absent)
    return float(worst[tasks].mean())


AAA = Metric(
    name="aaa",
    title="AAA",
    function=aaa,
    formula="mean over step looks of the mean accuracy on the tasks seen so far",
    low=0,
    high=1,
    higher_is_better=True,
    source="Caccia et al. 2020; Soutif-Cormerais et al. 2023; weighted by iterations where the period varies",
    needs="step looks",
)
MIN_ACC = Metric(
    name="min_acc",
    title="min-ACC",
    function=min_acc,
    formula="mean over tasks i of the minimum of A[i] over looks at which i is absent",
    low=0,
    high=1,
    higher_is_better=True,
    source="De Lange et al. 2023; per visit, so that it is defined under recurrence",
    needs="step looks at all tasks seen, end looks",
)
WC_ACC = Metric(
    name="wc_acc",
    title="WC-ACC",
    function=wc_acc,
    formula="mean over tasks: final accuracy where present at the end, else minimum while absent",
    low=0,
    high=1,
    higher_is_better=True,
    source="De Lange et al. 2023; per visit, so that it is defined under recurrence",
    needs="step looks at all tasks seen, end looks",
)
