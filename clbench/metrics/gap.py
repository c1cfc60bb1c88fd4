"""The stability gap, one switch and one old task at a time: how deep, how long, and how much is left."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from clbench.metrics.core import Metric, Undefined
from clbench.metrics.ends import Scores, end_looks, end_scores
from clbench.metrics.looks import step_looks
from clbench.parameters import Refused
from clbench.record import Kind, Trace
from clbench.types import Index, Mask

# Accuracies are multiples of 1/rows: this forgives the rounding of a level that one of them should reach exactly.
TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Switches:
    """What happened to each old task in each experience that held none of its rows; n pairs, arrays of shape (n,).

    Args:
        task: The old task.
        experience: The experience that began with the switch.
        iteration: Iterations done when it began.
        length: Its length in iterations.
        before: Accuracy on the task at the end of the experience before, in [0, 1].
        lowest: Smallest accuracy over the looks of the experience.
        lowest_after: Iterations from the switch to it.
        depth: ``max(0, before - lowest)``.
        residual: ``before`` minus the accuracy at the end of the experience; negative after a gain.
        transient: The part of the depth that was regained by the end, ``depth - max(0, residual)``.
        area: Mean accuracy missing below ``before``, over the iterations of the experience.
        recovery: Iterations from the switch to the recovery; the length where censored, NaN where nothing fell.
        censored: Whether accuracy fell and had not recovered when the experience ended.
    """

    task: Index
    experience: Index
    iteration: Index
    length: Index
    before: Scores
    lowest: Scores
    lowest_after: Index
    depth: Scores
    residual: Scores
    transient: Scores
    area: Scores
    recovery: Scores
    censored: Mask

    def __len__(self) -> int:
        return len(self.task)


def switches(trace: Trace, *, level: float = 0.9) -> Switches:
    """All pairs of an old task and an experience in which it is absent.

    Recovery is the first look after the minimum at which accuracy, smoothed by the median of three looks, is back at
    ``lowest + level * (before - lowest)``. Depth is never smoothed.

    Args:
        trace: Of a finished run.
        level: Share of the depth that has to be regained, in (0, 1].

    Raises:
        Refused: ``level`` is outside.
        Undefined: There is no such pair, there are no step looks, or the run stopped early.

    Source: our definition, after the variants of the stability-gap literature (De Lange et al. 2023; Hess et al. 2023).
    """
    if not 0 < level <= 1:
        raise Refused(f"a recovery to {level} of the depth means nothing; use a level above 0 and at most 1")
    step_looks(trace)
    ends, scores = end_looks(trace), end_scores(trace)
    experience = np.arange(trace.n_experiences)[:, None]
    old = (trace.first_visit < experience) & ~trace.present  # (E, T)
    if not old.any():
        raise Undefined("no task was ever absent after its first visit")
    finish = trace.step[ends]
    begin = np.append(0, finish[:-1])
    before = np.vstack([scores[:1], scores[:-1]])  # (E, T); nothing is old in the first experience
    details = _details(trace, before, begin=begin, level=level)
    shared = {"experience": experience, "iteration": begin[:, None], "length": (finish - begin)[:, None]}
    pairs = {"task": np.arange(trace.n_tasks), **shared, "before": before, **details}
    return Switches(**{name: np.broadcast_to(values, old.shape)[old] for name, values in pairs.items()})


def _details(trace: Trace, before: Scores, *, begin: Index, level: float) -> dict[str, NDArray[np.generic]]:
    """Depth, recovery and so on of each experience and task, (E, T), all experiences at once.

    Looks are put side by side, each experience a segment; what belongs to tasks that are not old in it means nothing.
    """
    looks = np.flatnonzero(np.isin(trace.kind, (Kind.STEP, Kind.END)))
    looks = looks[np.argsort(trace.experience[looks], kind="stable")]
    experience, place = trace.experience[looks], np.arange(len(looks))[:, None]
    first = np.searchsorted(experience, np.arange(trace.n_experiences))  # (E,) where segments begin
    last = np.append(first[1:], len(looks)) - 1
    score = np.nan_to_num(trace.score[looks])
    since = trace.step[looks] - begin[experience]
    length = since[last][:, None]
    passed = np.diff(since, prepend=0)
    passed[first] = since[first]

    def first_where(condition: Mask) -> Index:
        return np.minimum.reduceat(np.where(condition, place, len(looks)), first)

    lowest = np.minimum.reduceat(score, first)
    lowest_at = first_where(score == lowest[experience])
    depth = np.maximum(0.0, before - lowest)
    residual = before - score[last]
    missing = np.maximum(0.0, before[experience] - score) * passed[:, None]
    left, right = np.maximum(place[:, 0] - 1, first[experience]), np.minimum(place[:, 0] + 1, last[experience])
    back = _median(score[left], score, score[right]) >= (lowest + level * depth - TOLERANCE)[experience]
    back_at = first_where(back & (place > lowest_at[experience]))
    fell, never = depth > 0, back_at == len(looks)
    return {
        "lowest": lowest,
        "lowest_after": since[lowest_at],
        "depth": depth,
        "residual": residual,
        "transient": depth - np.maximum(0.0, residual),
        "area": np.add.reduceat(missing, first) / np.maximum(length, 1),
        "recovery": np.where(fell, np.where(never, length, since[np.minimum(back_at, len(looks) - 1)]), np.nan),
        "censored": fell & never,
    }


def _median(a: Scores, b: Scores, c: Scores) -> Scores:
    return np.maximum(np.minimum(a, c), np.minimum(np.maximum(a, c), b))


def gap_depth(trace: Trace) -> float:
    """Mean depth of the stability gap over pairs of an old task and an experience in which it is absent."""
    return float(switches(trace).depth.mean())


def gap_residual(trace: Trace) -> float:
    """Mean over the same pairs of what is still missing when the experience ends; negative after gains."""
    return float(switches(trace).residual.mean())


def gap_transient(trace: Trace) -> float:
    """Mean over the same pairs of the part of the depth that was regained by the end of the experience."""
    return float(switches(trace).transient.mean())


def gap_area(trace: Trace) -> float:
    """Mean over the same pairs of the accuracy missing below that before the switch, over the experience."""
    return float(switches(trace).area.mean())


def _fallen(trace: Trace, level: float) -> tuple[Scores, Mask]:
    found = switches(trace, level=level)
    fell = found.depth > 0
    if not fell.any():
        raise Undefined("accuracy on old tasks never fell after a switch")
    return found.recovery[fell], found.censored[fell]


def recovery(trace: Trace, *, level: float = 0.9) -> float:
    """Mean iterations to regain ``level`` of the depth, over the pairs that fell.

    A lower bound: a pair that had not recovered counts with the length of its experience; see ``recovery_censored``.
    """
    return float(_fallen(trace, level)[0].mean())


def recovery_censored(trace: Trace, *, level: float = 0.9) -> float:
    """Fraction of the pairs that fell which had not regained ``level`` of the depth when the experience ended."""
    return float(_fallen(trace, level)[1].mean())


_OURS = "our definition, after De Lange et al. 2023 and Hess et al. 2023"


def _gap(name: str, title: str, function: Callable[[Trace], float], formula: str, *, low: float = 0) -> Metric:
    return Metric(
        name=name,
        title=title,
        function=function,
        formula=f"mean over old tasks i absent in experience k of {formula}",
        low=low,
        high=1,
        higher_is_better=False,
        source=_OURS,
        needs="step and end looks",
    )


def _recovery(name: str, titles: tuple[str, str], level: float) -> tuple[Metric, Metric]:
    """Iterations until ``level`` of the depth is regained, and the fraction of pairs for which that never happened."""
    back = f"{100 * level:g} % of the depth"
    iterations = Metric(
        name=name,
        title=titles[0],
        function=partial(recovery, level=level),
        formula=f"mean iterations from the switch until {back} is regained; unrecovered ones count as k's length",
        low=0,
        high=math.inf,
        higher_is_better=False,
        source=_OURS + "; a lower bound where some did not recover",
        needs="step and end looks",
        unit="iterations",
    )
    censored = Metric(
        name=f"{name}_censored",
        title=titles[1],
        function=partial(recovery_censored, level=level),
        formula=f"fraction of the pairs that fell which had not regained {back} when the experience ended",
        low=0,
        high=1,
        higher_is_better=False,
        source=_OURS,
        needs="step and end looks",
    )
    return iterations, censored


GAP_DEPTH = _gap("gap_depth", "Gap depth", gap_depth, "max(0, R[k−1, i] − min of A[i] during k)")
GAP_RESIDUAL = _gap("gap_residual", "Gap residual", gap_residual, "R[k−1, i] − R[k, i]", low=-1)
GAP_TRANSIENT = _gap("gap_transient", "Gap transient", gap_transient, "depth − max(0, residual)")
GAP_AREA = _gap("gap_area", "Gap area", gap_area, "the mean over k's iterations of max(0, R[k−1, i] − A[i])")
RECOVERY, RECOVERY_CENSORED = _recovery("recovery", ("Recovery", "Unrecovered"), 0.9)
RECOVERY50, RECOVERY50_CENSORED = _recovery("recovery50", ("Recovery (half)", "Unrecovered (half)"), 0.5)
