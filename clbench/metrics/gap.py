"""The stability gap, one switch and one old task at a time: how deep, how long, and how much is left."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from clbench.metrics.core import Metric, Undefined
from clbench.metrics.ends import Scores, end_looks, end_scores
from clbench.metrics.looks import step_looks
from clbench.types import Index, Mask, Trace

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
        Undefined: There is no such pair, there are no step looks, or the run stopped early.

    Source: our definition, after the variants of the stability-gap literature (De Lange et al. 2023; Hess et al. 2023).
    """
    step_looks(trace)
    ends, scores = end_looks(trace), end_scores(trace)
    found = []
    for experience in range(1, trace.n_experiences):
        old = np.flatnonzero((trace.first_visit < experience) & ~trace.present[experience])
        if len(old):
            looks = np.flatnonzero(trace.experience == experience)
            start = trace.step[ends[experience - 1]]
            since, score = trace.step[looks] - start, trace.score[np.ix_(looks, old)]
            details = _pairs(score, scores[experience - 1, old], since=since, level=level)
            same = {"experience": experience, "iteration": start, "length": since[-1]}
            found.append({"task": old, **{k: np.full(len(old), v) for k, v in same.items()}, **details})
    if not found:
        raise Undefined("no task was ever absent after its first visit")
    return Switches(**{field.name: np.concatenate([each[field.name] for each in found]) for field in fields(Switches)})


def _pairs(score: Scores, before: Scores, *, since: Index, level: float) -> dict[str, NDArray[np.generic]]:
    """Depth, recovery and so on from the (k, n) scores of n old tasks, ``since`` (k,) iterations after a switch."""
    length = int(since[-1])
    lowest_at, lowest = score.argmin(axis=0), score.min(axis=0)
    depth = np.maximum(0.0, before - lowest)
    residual = before - score[-1]
    weights = np.diff(since, prepend=0)[:, None] / max(length, 1)
    back = _median_of_three(score) >= lowest + level * depth - TOLERANCE
    back &= np.arange(len(since))[:, None] > lowest_at
    fell = depth > 0
    censored = fell & ~back.any(axis=0)
    return {
        "before": before,
        "lowest": lowest,
        "lowest_after": since[lowest_at],
        "depth": depth,
        "residual": residual,
        "transient": depth - np.maximum(0.0, residual),
        "area": (np.maximum(0.0, before - score) * weights).sum(axis=0),
        "recovery": np.where(fell, np.where(censored, length, since[back.argmax(axis=0)]), np.nan),
        "censored": censored,
    }


def _median_of_three(score: Scores) -> Scores:
    """Median of each look and its two neighbours along the first axis; the ends are as they are."""
    left, right = np.vstack([score[:1], score[:-1]]), np.vstack([score[1:], score[-1:]])
    return np.maximum(np.minimum(left, right), np.minimum(np.maximum(left, right), score))


def gap_depth(trace: Trace) -> float:
    """Mean depth of the stability gap over pairs of an old task and an experience in which it is absent."""
    return float(switches(trace).depth.mean())


def _fallen(trace: Trace) -> tuple[Scores, Mask]:
    found = switches(trace)
    fell = found.depth > 0
    if not fell.any():
        raise Undefined("accuracy on old tasks never fell after a switch")
    return found.recovery[fell], found.censored[fell]


def recovery(trace: Trace) -> float:
    """Mean iterations to regain 90 % of the depth, over the pairs that fell.

    A lower bound: a pair that had not recovered counts with the length of its experience; see ``recovery_censored``.
    """
    return float(_fallen(trace)[0].mean())


def recovery_censored(trace: Trace) -> float:
    """Fraction of the pairs that fell which had not recovered when the experience ended."""
    return float(_fallen(trace)[1].mean())


_OURS = "our definition, after De Lange et al. 2023 and Hess et al. 2023"

GAP_DEPTH = Metric(
    name="gap_depth",
    title="Gap depth",
    function=gap_depth,
    formula="mean over old tasks i absent in experience k of max(0, R[k−1, i] − min of A[i] during k)",
    low=0,
    high=1,
    higher_is_better=False,
    source=_OURS,
    needs="step and end looks",
)
RECOVERY = Metric(
    name="recovery",
    title="Recovery",
    function=recovery,
    formula="mean iterations from the switch until 90 % of the depth is regained; unrecovered ones count as k's length",
    low=0,
    high=math.inf,
    higher_is_better=False,
    source=_OURS + "; a lower bound where some did not recover",
    needs="step and end looks",
    unit="iterations",
)
RECOVERY_CENSORED = Metric(
    name="recovery_censored",
    title="Unrecovered",
    function=recovery_censored,
    formula="fraction of the pairs that fell which had not regained 90 % of the depth when the experience ended",
    low=0,
    high=1,
    higher_is_better=False,
    source=_OURS,
    needs="step and end looks",
)
