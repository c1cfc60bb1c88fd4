"""Statistics that are pooled over benchmarks: interquartile means, probabilities of improvement, wins and losses.

These are pure functions of the scores of runs. Intervals are percentiles of a stratified bootstrap: the runs of each
benchmark are drawn again, never the benchmarks. It covers too little with few runs, so one benchmark alone has
Student's intervals instead.

Source: R. Agarwal and others, Deep Reinforcement Learning at the Edge of the Statistical Precipice, NeurIPS 2021;
A. Ismail-Fawaz and others, An Approach to Multiple Comparison Benchmark Evaluations that is Stable Under Manipulation
of the Comparate Set, 2023.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clbench.leaderboard.statistics import ROUNDING

DRAWS = 2000
"""Number of bootstrap samples."""
CONFIDENCE = 0.95

Scores = Sequence[NDArray[Any]]
"""The scores of a strategy: for each benchmark, one score per run."""


@dataclass(frozen=True)
class Pooled:
    """Hold a statistic that is pooled over benchmarks.

    Args:
        value: Its value.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PooledPair:
    """Compare two strategies over the benchmarks on which both are complete.

    Args:
        benchmarks: Number of these benchmarks.
        difference: Mean over benchmarks of the difference of their mean scores.
        wins: Benchmarks on which the first strategy has the higher mean.
        ties: Benchmarks on which the means are equal.
        losses: Benchmarks on which the other strategy has the higher mean.
        wilcoxon_p: Two-sided p value of Wilcoxon's signed rank test over benchmarks; NaN with fewer than two.
        improvement: Probability that a run of the first strategy scores higher than one of the other on the same
            benchmark; ties count half.
    """

    benchmarks: int
    difference: float
    wins: int
    ties: int
    losses: int
    wilcoxon_p: float
    improvement: Pooled


def interquartile_mean(scores: ArrayLike) -> NDArray[Any]:
    """Return the mean of the middle half of values: the lowest and the highest quarter, rounded down, are left out.

    Args:
        scores: (..., n) values; the mean is over the last axis.
    """
    ordered = np.sort(np.asarray(scores, dtype=float), axis=-1)
    n = ordered.shape[-1]
    cut = n // 4
    mean: NDArray[Any] = ordered[..., cut : n - cut].mean(axis=-1)
    return mean


def pooled_mean(scores: Scores, *, seed: int = 0) -> Pooled:
    """Return the interquartile mean of all runs of a strategy on all benchmarks, with its interval.

    Args:
        scores: For each benchmark, one score per run.
        seed: Seed of the bootstrap.
    """
    if not scores:
        return Pooled(math.nan, math.nan, math.nan)
    value = float(interquartile_mean(np.concatenate(scores)))
    drawn = np.concatenate([_drawn(own, seed, place) for place, own in enumerate(scores)], axis=1)
    return _interval(value, interquartile_mean(drawn))


def probability_of_improvement(one: Scores, other: Scores, *, seed: int = 0) -> Pooled:
    """Return how probably a run of one strategy scores higher than one of another, on average over benchmarks.

    Args:
        one: For each benchmark, one score per run of the first strategy.
        other: Likewise for the other strategy, on the same benchmarks.
        seed: Seed of the bootstrap.
    """
    if not one:
        return Pooled(math.nan, math.nan, math.nan)
    value = float(np.mean([_above(own[None], others[None])[0] for own, others in zip(one, other, strict=True)]))
    drawn = [
        _above(_drawn(own, seed, 2 * place), _drawn(others, seed, 2 * place + 1))
        for place, (own, others) in enumerate(zip(one, other, strict=True))
    ]
    return _interval(value, np.mean(drawn, axis=0))


def _above(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Return the share of pairs of runs in which the first scores higher; (draws, n) and (draws, m) give (draws,)."""
    difference = one[:, :, None] - other[:, None, :]
    higher = (difference > ROUNDING) + 0.5 * (np.abs(difference) <= ROUNDING)
    share: NDArray[Any] = higher.mean(axis=(1, 2))
    return share


def _drawn(scores: NDArray[Any], seed: int, place: int) -> NDArray[Any]:
    """Return (draws, n) scores of runs that are drawn again from those of one benchmark."""
    generator = np.random.default_rng([seed, place])
    found: NDArray[Any] = np.asarray(scores, dtype=float)[generator.integers(0, len(scores), (DRAWS, len(scores)))]
    return found


def _interval(value: float, drawn: NDArray[Any]) -> Pooled:
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Pooled(value, float(low), float(high))


def performance_profile(scores: Scores, thresholds: ArrayLike) -> NDArray[Any]:
    """Return the share of all runs of a strategy that score above each threshold.

    Args:
        scores: For each benchmark, one score per run.
        thresholds: (k,) scores.
    """
    values = np.concatenate([np.asarray(own, dtype=float) for own in scores])
    share: NDArray[Any] = (values > np.asarray(thresholds, dtype=float)[:, None]).mean(axis=1)
    return share


def pooled_pair(one: Scores, other: Scores) -> PooledPair:
    """Compare two strategies over the benchmarks on which both are complete.

    Args:
        one: For each benchmark, one score per run of the first strategy.
        other: Likewise for the other strategy, on the same benchmarks.
    """
    differences = np.array(
        [np.mean(own) - np.mean(others) for own, others in zip(one, other, strict=True)], dtype=float
    )
    differences = np.where(np.abs(differences) < ROUNDING, 0.0, differences)
    return PooledPair(
        benchmarks=len(differences),
        difference=float(differences.mean()) if len(differences) else math.nan,
        wins=int(np.sum(differences > 0)),
        ties=int(np.sum(differences == 0)),
        losses=int(np.sum(differences < 0)),
        wilcoxon_p=wilcoxon_p(differences),
        improvement=probability_of_improvement(one, other),
    )


def wilcoxon_p(differences: ArrayLike) -> float:
    """Return the two-sided p value of Wilcoxon's signed rank test.

    Args:
        differences: (n,) one difference per benchmark. Differences of 0 are left out.

    Returns:
        1 if all differences are 0; NaN with fewer than two differences.
    """
    from scipy.stats import wilcoxon

    values = np.asarray(differences, dtype=float)
    if len(values) < 2:
        return math.nan
    values = values[values != 0]
    test: Callable[..., Any] = wilcoxon
    return float(test(values).pvalue) if len(values) else 1.0
