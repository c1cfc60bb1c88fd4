"""Metrics of looks during training: anytime accuracy, minima while absent, windowed forgetting and plasticity.

A task is *absent* at a look if the experience then running holds none of its rows; so minima are defined per visit.
All of these depend on the period of the looks: report it with the number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clbench.metrics.core import Metric, Undefined
from clbench.metrics.ends import Scores, end_looks, end_scores, visited
from clbench.parameters import Refused
from clbench.record import Kind, Trace
from clbench.types import Index, Mask

ENDS_ONLY = "there are no looks between ends; set evaluation.every to 1 or more"
SEEN = "set evaluation.tasks to seen"


@dataclass(frozen=True, eq=False)
class StepLooks:
    """The step looks of a finished run.

    Args:
        step: (k,) iterations done before each.
        experience: (k,) experience that was running.
        score: (k, T) scores; NaN only where ``seen`` is false, or where not all seen tasks were asked for.
        seen: (k, T) whether the task had been visited by then.
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
        seen=trace.first_visit <= trace.experience[at][:, None],
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
    return np.where(absent & ~np.isnan(trace.score), trace.score, np.inf).min(axis=0, initial=np.inf)


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


def _refuse_uneven(looks: StepLooks, every: int) -> None:
    """Windows count looks, so a window means one number of iterations only where the period is one number.

    Allowed: ``every`` inside an experience, its last look sooner, and less than twice ``every`` over a boundary (where
    the count starts again).
    """
    if every < 1:
        raise Undefined("looks are uneven (evaluation.schedule), so a window of looks means no fixed time")
    gap = np.diff(looks.step)
    inside = np.diff(looks.experience) == 0
    last = np.append(~inside[1:], True)
    uneven = np.where(inside, np.where(last, gap > every, gap != every), gap >= 2 * every)
    if uneven.any():
        at = int(np.argmax(uneven))
        raise Undefined(
            f"looks are uneven (iterations {looks.step[at]} and {looks.step[at + 1]}, period {every}), so a window of "
            "looks means no fixed number of iterations"
        )


def _largest_change(trace: Trace, window: int, sign: int) -> float:
    """Mean over tasks of the largest fall (sign 1) or rise (sign -1) inside any window of step looks."""
    from scipy.ndimage import maximum_filter1d

    looks = step_looks(trace)
    _refuse_uneven(looks, trace.every)
    values = np.where(looks.seen, sign * looks.score, -np.inf).T.copy()  # (T, k), a task's looks side by side in memory
    # The origin shifts the centred filter so that it covers the current look and the window - 1 before it.
    best = maximum_filter1d(values, window, axis=1, mode="constant", cval=-np.inf, origin=(window - 1) // 2)
    seen = looks.seen.T
    change = np.subtract(best, values, out=np.zeros_like(values), where=seen).max(axis=1)
    return float(change[seen.any(axis=1)].mean())


def _windowed(window: int, sign: int) -> Callable[[Trace], float]:
    if window < 2:
        raise Refused(f"a window of {window} looks shows no change; use 2 or more")
    return lambda trace: _largest_change(trace, window, sign)


def wf(window: int) -> Metric:
    """Windowed forgetting: the largest fall of a task's accuracy inside any ``window`` consecutive step looks.

    Each task counts from its first visit on, the one being learned included; tasks that no step look reached do not.

    Args:
        window: Number of looks, the current one included, at least 2; pairs are at most ``window - 1`` looks apart.

    Raises:
        Refused: ``window`` is below 2.

    Source: De Lange et al. 2023, WF.
    """
    return Metric(
        name=f"wf{window}",
        title=f"WF{window}",
        function=_windowed(window, 1),
        formula=f"mean over tasks of max of A[m] − A[n] over looks m < n at most {window - 1} apart",
        low=0,
        high=1,
        higher_is_better=False,
        source="De Lange et al. 2023",
        needs="evenly spaced step looks",
    )


def wp(window: int) -> Metric:
    """Windowed plasticity: the largest rise of a task's accuracy inside any ``window`` consecutive step looks.

    It counts tasks as :func:`wf` does, so it mostly measures how fast new tasks are learned.

    Args:
        window: Number of looks, the current one included, at least 2.

    Raises:
        Refused: ``window`` is below 2.

    Source: De Lange et al. 2023, WP.
    """
    return Metric(
        name=f"wp{window}",
        title=f"WP{window}",
        function=_windowed(window, -1),
        formula=f"mean over tasks of max of A[n] − A[m] over looks m < n at most {window - 1} apart",
        low=0,
        high=1,
        higher_is_better=True,
        source="De Lange et al. 2023",
        needs="evenly spaced step looks",
    )


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
WF10, WF100, WP10, WP100 = wf(10), wf(100), wp(10), wp(100)
