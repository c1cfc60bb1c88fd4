"""Windowed forgetting and plasticity: the largest fall and rise of a task's accuracy within a window of evaluations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clbench.core.errors import Refused
from clbench.core.record import Trace
from clbench.metrics.anytime import StepLooks, step_looks
from clbench.metrics.metric import Metric, Undefined
from clbench.metrics.switches import before_first


def _refuse_uneven(looks: StepLooks, every: int) -> None:
    """Refuse uneven evaluations: a window counts evaluations, so it means a number of iterations only for a single
    period.

    Allowed are: ``every`` iterations inside an experience, a shorter interval before its last evaluation, and less than
    twice ``every`` over a boundary (where the count starts again).
    """
    if every < 1:
        raise Undefined("evaluations are uneven (evaluation.schedule), so a window of them has no fixed length")
    gap = np.diff(looks.step)
    inside = np.diff(looks.experience) == 0
    last = np.append(~inside[1:], True)
    uneven = np.where(inside, np.where(last, gap > every, gap != every), gap >= 2 * every)
    if uneven.any():
        at = int(np.argmax(uneven))
        raise Undefined(
            f"evaluations are uneven (iterations {looks.step[at]} and {looks.step[at + 1]}, period {every}), so a "
            "window of them has no fixed length"
        )


def _with_initial(trace: Trace, looks: StepLooks) -> StepLooks:
    """Return the same evaluations after the one before the first step, for the tasks that count from there.

    These are the tasks of the first experience or, if boundaries are hidden, of the first batch.
    """
    at = before_first(trace)
    first = trace.counted == 0 if trace.counted.size else trace.first_visit == 0  # (T,)
    score = np.where(first, trace.score[at], np.nan)
    return StepLooks(
        step=np.append(trace.step[at], looks.step),
        experience=np.append(0, looks.experience),
        score=np.vstack([score, looks.score]),
        seen=np.vstack([first, looks.seen]),
    )


def _largest_change(trace: Trace, window: int, sign: int, *, initial: bool) -> float:
    """Return the mean over tasks of the largest fall (sign 1) or rise (sign -1) within any window of evaluations."""
    from scipy.ndimage import maximum_filter1d

    looks = step_looks(trace)
    _refuse_uneven(looks, trace.every)
    if initial:
        looks = _with_initial(trace, looks)
    values = np.where(looks.seen, sign * looks.score, -np.inf).T.copy()  # (T, k), contiguous per task
    # The origin shifts the centred filter so that it covers the current evaluation and the window - 1 before it.
    best = maximum_filter1d(values, window, axis=1, mode="constant", cval=-np.inf, origin=(window - 1) // 2)
    seen = looks.seen.T
    change = np.subtract(best, values, out=np.zeros_like(values), where=seen).max(axis=1)
    return float(change[seen.any(axis=1)].mean())


def _windowed(window: int, sign: int, *, initial: bool) -> Callable[[Trace], float]:
    if window < 2:
        raise Refused(f"a window of {window} evaluations shows no change; use 2 or more")
    return lambda trace: _largest_change(trace, window, sign, initial=initial)


_INITIAL = "as in the authors' code, whose first evaluation comes before the first update of the first experience"


def wf(window: int, *, initial: bool = False) -> Metric:
    """Return windowed forgetting: the largest fall of a task's accuracy within ``window`` consecutive evaluations.

    Each task counts from its first visit on, including the task being learned. A task without an evaluation after a
    step does not count.

    Args:
        window: Number of evaluations including the current one, at least 2; pairs are at most ``window - 1`` apart.
        initial: Whether the evaluation before the first step counts too, as in the authors' code.

    Raises:
        Refused: ``window`` is below 2.

    Source: De Lange et al. 2023, WF.
    """
    return Metric(
        name=f"wf_initial{window}" if initial else f"wf{window}",
        title=f"WF{window} (initial)" if initial else f"WF{window}",
        function=_windowed(window, 1, initial=initial),
        formula=f"mean over tasks of max of A[m] − A[n] over evaluations m < n at most {window - 1} apart",
        low=0,
        high=1,
        higher_is_better=False,
        source="De Lange et al. 2023" + (f", {_INITIAL}" if initial else ""),
        needs="evenly spaced evaluations after steps" + (", the evaluation at the first switch" if initial else ""),
        unit="change",
    )


def wp(window: int, *, initial: bool = False) -> Metric:
    """Return windowed plasticity: the largest rise of a task's accuracy within ``window`` consecutive evaluations.

    It counts tasks as :func:`wf` does, so it mostly measures the speed of learning new tasks.

    Args:
        window: Number of evaluations including the current one, at least 2.
        initial: Whether the evaluation before the first step counts too, as in the authors' code. The tasks of the
            first experience then rise from the accuracy of the initial weights.

    Raises:
        Refused: ``window`` is below 2.

    Source: De Lange et al. 2023, WP.
    """
    return Metric(
        name=f"wp_initial{window}" if initial else f"wp{window}",
        title=f"WP{window} (initial)" if initial else f"WP{window}",
        function=_windowed(window, -1, initial=initial),
        formula=f"mean over tasks of max of A[n] − A[m] over evaluations m < n at most {window - 1} apart",
        low=0,
        high=1,
        higher_is_better=True,
        source="De Lange et al. 2023" + (f", {_INITIAL}" if initial else ""),
        needs="evenly spaced evaluations after steps" + (", the evaluation at the first switch" if initial else ""),
        unit="change",
        comparable=False,
    )


WF10, WF100, WP10, WP100 = wf(10), wf(100), wp(10), wp(100)
