"""Metrics of evaluations during training: anytime accuracy, and minima while tasks are absent.

A task is *absent* at an evaluation if the running experience has no samples of it; minima are therefore defined per
visit. All of these metrics depend on the period of evaluations: report it with the number. Windowed metrics are in
``windows.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clbench.core.record import Kind, Trace
from clbench.core.types import Index, Mask
from clbench.metrics.accuracy_matrix import Scores, end_looks, end_scores, visited
from clbench.metrics.metric import Metric, Undefined
from clbench.metrics.once_per_trace import once_per_trace

ENDS_ONLY = "there are no evaluations between ends; set evaluation.every to 1 or more"
SEEN = "set evaluation.tasks to seen"


@dataclass(frozen=True, eq=False)
class StepLooks:
    """Hold the evaluations after steps of a finished run.

    Args:
        step: (k,) number of iterations before each.
        experience: (k,) running experience.
        score: (k, T) scores; NaN only if ``seen`` is false, or if not all seen tasks were required.
        seen: (k, T) whether the task had been met, see :attr:`clbench.core.record.Trace.seen`.
    """

    step: Index
    experience: Index
    score: Scores
    seen: Mask


@once_per_trace
def step_looks(trace: Trace, *, with_ends: bool = False, all_seen: bool = True) -> StepLooks:
    """Return the evaluations after steps.

    Args:
        trace: The trace of a finished run.
        with_ends: Whether to include evaluations at ends, so that every experience is closed by one.
        all_seen: Whether each evaluation must cover all tasks seen so far.

    Raises:
        Undefined: There is none, the run stopped early, or an evaluation left out a required task.
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
        raise Undefined(f"task {task} was not evaluated after iteration {looks.step[look]}; {SEEN}")
    return looks


def aaa(trace: Trace) -> float:
    """Return the anytime accuracy: the mean over evaluations after steps of the mean accuracy on the tasks seen so far.

    An evaluation is weighted by the iterations since the one before it, which matters only if the period varies. With
    an uneven schedule the evaluation at an experience's end closes it, so that no weight crosses a boundary.
    """
    looks = step_looks(trace, with_ends=trace.every < 1)
    count = looks.seen.sum(axis=1)
    begun = count > 0
    means = np.where(looks.seen, looks.score, 0.0).sum(axis=1)[begun] / count[begun]
    return float(np.average(means, weights=np.diff(looks.step, prepend=0)[begun]))


@once_per_trace
def absent_minima(trace: Trace) -> Scores:
    """Return the lowest score of each task while it was absent after its first visit, (T,).

    Returns:
        Values in [0, 1]; infinity for a task that was never absent.
    """
    running = np.maximum(trace.experience, 0)
    after = np.isin(trace.kind, (Kind.STEP, Kind.END))[:, None]
    absent = after & (trace.first_visit < trace.experience[:, None]) & ~trace.present[running]  # (K, T)
    scores = np.where(absent & ~np.isnan(trace.score), trace.score, np.inf)
    lowest: NDArray[np.float64] = scores.min(axis=0, initial=np.inf)
    return lowest


def _minima(trace: Trace, tasks: Index) -> Scores:
    """Return the lowest scores of some tasks while absent, and require evaluations between ends that cover all of them.

    Raises:
        Undefined: There is no evaluation between ends, or one left out such a task: the minimum would be that of ends
            alone.
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
            f"task {tasks[place]} was absent and not evaluated after iteration {looks.step[look]}, so its lowest "
            f"accuracy is not known; {SEEN}"
        )
    return absent_minima(trace)[tasks]


def min_acc(trace: Trace) -> float:
    """Return min-ACC: the mean over tasks of their lowest accuracy while absent.

    Raises:
        Undefined: No task was ever absent, or there are no evaluations of the absent tasks between ends.
    """
    end_looks(trace)
    absent = np.flatnonzero(np.isfinite(absent_minima(trace)))
    if not len(absent):
        raise Undefined("no task was ever absent after its first visit")
    return float(_minima(trace, absent).mean())


def wc_acc(trace: Trace) -> float:
    """Return WC-ACC, the worst-case accuracy: final accuracy of present tasks, lowest accuracy of absent ones.

    The evaluation at the last end covers the absent tasks too, so the value never exceeds ACC.

    Raises:
        Undefined: A task is absent at the end, and there are no evaluations of the absent tasks between ends: ends
            alone do not show the worst case.
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
    formula="mean over evaluations after steps of the mean accuracy on the tasks seen so far",
    low=0,
    high=1,
    higher_is_better=True,
    source="Caccia et al. 2020; Soutif-Cormerais et al. 2023; weighted by iterations where the period varies",
    needs="evaluations after steps",
    unit="score",
)
MIN_ACC = Metric(
    name="min_acc",
    title="min-ACC",
    function=min_acc,
    formula="mean over tasks i of the minimum of A[i] over evaluations at which i is absent",
    low=0,
    high=1,
    higher_is_better=True,
    source="De Lange et al. 2023; per visit, so that it is defined under recurrence",
    needs="evaluations of all tasks seen after steps, and at ends",
    unit="score",
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
    needs="evaluations of all tasks seen after steps, and at ends",
    unit="score",
)
