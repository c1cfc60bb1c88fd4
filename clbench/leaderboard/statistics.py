"""Statistics of strategies that are compared seed by seed: tests, intervals, groups and power.

These are pure functions of numbers. A statistic of a pair depends on the values of that pair alone. Only Holm's p and
the groups depend on the other rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clbench.metrics.interval import SEEDS_FOR_INTERVAL, half_width

LEVEL = 0.05
"""The level of tests: the largest accepted probability of a false difference."""
POWER = 0.8
"""The probability with which a detectable difference is found."""
EXACT_SEEDS = 16
"""Largest number of seeds for which all patterns of signs are tried; above it, a sample of as many patterns."""
PART = 4096
"""Number of patterns of signs that are tried at once."""
MOST_SEEDS = 1000
"""Largest number of seeds that is searched for one that separates two strategies."""
ROUNDING = 1e-9
"""Smaller differences count as 0: this tolerates rounding, and is far below one sample of any test set."""


@dataclass(frozen=True)
class Pair:
    """Compare two strategies over the seeds that both have.

    Statistics that need an interval are NaN with fewer than three seeds.

    Args:
        difference: Mean of the first minus mean of the other; NaN without a common seed.
        half: Half-width of the 95 % Student-t interval of the difference, paired by seed.
        n: Number of common seeds.
        t_p: Two-sided p value of the paired t test. It is 1 if all differences are 0, and 0 if they are equal, but
            not 0.
        sign_p: Two-sided p value of the mean difference under all changes of signs, which assumes no distribution.
        smallest_sign_p: The smallest such p value that n seeds allow: ``2 / 2**n``; 1 / 65,536 with more than 16 seeds,
            for which a sample of patterns is tried.
        sd: Standard deviation of the differences.
        pairing: ``sd`` divided by the standard deviation of a difference of unpaired seeds. Below 1, pairing helps.
        detectable: The smallest difference that n seeds find with 80 % probability, at this ``sd`` and a level of 5 %.
    """

    difference: float
    half: float
    n: int
    t_p: float
    sign_p: float
    smallest_sign_p: float
    sd: float
    pairing: float
    detectable: float

    @property
    def signs_can_separate(self) -> bool:
        """Return whether so many seeds allow a p value of signs below 5 %."""
        return self.smallest_sign_p < LEVEL

    @property
    def seeds_saved(self) -> float:
        """Return how many times as many unpaired seeds would give the same interval; infinity if ``pairing`` is 0."""
        return math.inf if self.pairing == 0 else 1 / self.pairing**2


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> Pair:
    """Compare two strategies over the seeds that both have.

    Args:
        one: Seed -> score of the first strategy. Scores that are not finite are left out.
        other: Seed -> score of the other strategy.

    Source: Student's paired t test; R. A. Fisher, The Design of Experiments, 1935, section 21, for changes of signs.
    """
    seeds = shared_seeds(one, other)
    own = np.array([one[seed] for seed in seeds], dtype=float)
    others = np.array([other[seed] for seed in seeds], dtype=float)
    difference, n = _differences(own, others), len(seeds)
    mean = float(np.mean(difference)) if n else math.nan
    smallest = 2.0 ** max(min(1 - n, 0), -EXACT_SEEDS)
    if n < SEEDS_FOR_INTERVAL:
        nan = math.nan
        return Pair(mean, nan, n, nan, nan, smallest, nan, nan, nan)
    sd = float(np.std(difference, ddof=1))
    unpaired = math.hypot(float(np.std(own, ddof=1)), float(np.std(others, ddof=1)))
    return Pair(
        difference=mean,
        half=float(half_width(difference)),
        n=n,
        t_p=float(t_test(difference[None])[0]),
        sign_p=sign_test(difference),
        smallest_sign_p=smallest,
        sd=sd,
        pairing=sd / unpaired if unpaired > ROUNDING else math.nan,
        detectable=sd * detectable(n),
    )


def shared_seeds(one: Mapping[int, float], other: Mapping[int, float]) -> list[int]:
    """Return the seeds for which both strategies have a finite score, ascending."""
    return sorted(s for s in one if s in other and math.isfinite(one[s]) and math.isfinite(other[s]))


def _differences(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    found = one - other
    return np.where(np.abs(found) < ROUNDING, 0.0, found)


def t_test(differences: ArrayLike) -> NDArray[Any]:
    """Return the two-sided p values of one-sample t tests.

    Args:
        differences: (k, n) differences of k pairs over n seeds, from 2 seeds.

    Returns:
        Shape (k,): 1 if all differences of a pair are 0, and 0 if they are equal and not 0.
    """
    from scipy.special import stdtr

    differences = np.ascontiguousarray(differences, dtype=float)
    n = differences.shape[1]
    mean, error = differences.mean(axis=1), differences.std(axis=1, ddof=1) / math.sqrt(n)
    flat = error == 0
    t = np.abs(mean) / np.where(flat, 1.0, error)
    p: NDArray[Any] = np.where(flat, (mean == 0).astype(float), 2 * stdtr(n - 1, -t))
    return p


def sign_test(differences: ArrayLike) -> float:
    """Return the two-sided p value of a mean difference under changes of signs.

    Up to 16 seeds all patterns of signs are tried. With more seeds, 65,535 random patterns and the observed one are.

    Args:
        differences: (n,) one difference per seed.
    """
    values = np.asarray(differences, dtype=float)
    if not len(values):
        return math.nan
    signs = _signs(len(values))
    least = abs(values.sum()) - 1e-12 * float(np.abs(values).sum())
    parts = (signs[first : first + PART] for first in range(0, len(signs), PART))  # spares memory with many seeds
    return sum(int(np.sum(np.abs(part @ values) >= least)) for part in parts) / len(signs)


@cache
def _signs(n: int) -> NDArray[Any]:
    """Return (patterns, n) signs, of which the first pattern is the observed one."""
    if n <= EXACT_SEEDS:
        return (1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)).astype(np.int8)
    signs = 2 * np.random.default_rng(n).integers(0, 2, size=(2**EXACT_SEEDS, n), dtype=np.int8) - 1
    signs[0] = 1
    return signs


def holm(p_values: ArrayLike) -> NDArray[Any]:
    """Return p values adjusted by Holm's step-down method. NaN is no test: it stays NaN and does not count.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian J. of Statistics 6, 1979.
    """
    given = np.asarray(p_values, dtype=float)
    tests = np.flatnonzero(~np.isnan(given))
    order = tests[np.argsort(given[tests], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted = np.full(given.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1.0)
    return adjusted


def groups(separated: ArrayLike) -> list[int]:
    """Return the group of each strategy, from 1.

    The best strategy begins group 1, and those that are not separated from it join. The best of the rest begins group
    2, and so on.

    Args:
        separated: (k, k) whether two strategies are separated; strategies are in order from the best to the worst.
    """
    apart = np.asarray(separated, dtype=bool)
    found = [0] * len(apart)
    for place in range(len(apart)):
        if not found[place]:
            number = max(found) + 1
            members = [i for i in range(len(apart)) if not found[i] and (i == place or not apart[place, i])]
            for member in members:
                found[member] = number
    return found


def p_matrix(scores: Sequence[Mapping[int, float]]) -> NDArray[Any]:
    """Return the p values of the paired t tests of all pairs of strategies, each over the seeds that both have.

    Args:
        scores: Seed -> score of each of k strategies.

    Returns:
        Shape (k, k); NaN on the diagonal and for pairs with fewer than three common seeds.
    """
    k = len(scores)
    found = np.full((k, k), np.nan)
    kept = [{seed: value for seed, value in own.items() if math.isfinite(value)} for own in scores]
    for i in range(k):
        later: dict[tuple[int, ...], list[int]] = {}
        for j in range(i + 1, k):
            seeds = tuple(shared_seeds(kept[i], kept[j]))
            if len(seeds) >= SEEDS_FOR_INTERVAL:
                later.setdefault(seeds, []).append(j)
        for seeds, places in later.items():
            own = np.array([kept[i][seed] for seed in seeds])
            others = np.array([[kept[j][seed] for seed in seeds] for j in places])
            found[i, places] = found[places, i] = t_test(_differences(own, others))
    return found


def holm_matrix(p: NDArray[Any]) -> NDArray[Any]:
    """Return a symmetric matrix of p values adjusted by Holm's method over its pairs."""
    upper = np.triu_indices(len(p), 1)
    adjusted = np.full(p.shape, np.nan)
    adjusted[upper] = holm(p[upper])
    adjusted.T[upper] = adjusted[upper]
    return adjusted


def power(effect: float, n: int, level: float = LEVEL) -> float:
    """Return the probability that a two-sided paired t test finds a difference.

    Args:
        effect: The difference, in standard deviations of the difference.
        n: Number of seeds, from 2.
        level: The level of the test.
    """
    from scipy.special import nctdtr, stdtrit

    df, shift = n - 1, abs(effect) * math.sqrt(n)
    bound = float(stdtrit(df, 1 - level / 2))
    missed = float(nctdtr(df, shift, bound)) - _below(df, shift, bound)
    return min(max(1 - missed, 0.0), 1.0)


def _below(df: int, shift: float, bound: float) -> float:
    """Return the probability of a significant difference with the wrong sign."""
    from scipy.special import nctdtr

    found = float(nctdtr(df, shift, -bound))
    return found if math.isfinite(found) else 0.0


@cache
def detectable(n: int, *, level: float = LEVEL, wanted: float = POWER) -> float:
    """Return the smallest difference that n seeds find, in standard deviations of the difference.

    Args:
        n: Number of seeds.
        level: The level of the two-sided paired t test.
        wanted: The probability with which it is found.

    Returns:
        1.68 with 5 seeds and 1.00 with 10; NaN with fewer than two seeds.
    """
    if n < 2:
        return math.nan
    low, high = 0.0, 1.0
    while power(high, n, level) < wanted:
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, n, level) < wanted else (low, middle)
    return high


def seeds_to_separate(difference: float, sd: float, *, level: float = LEVEL, wanted: float = POWER) -> int | None:
    """Return the number of seeds with which a paired t test probably separates two strategies.

    Args:
        difference: Their difference, taken as the true one.
        sd: Standard deviation of their differences.
        level: The level of the test; a smaller one for several comparisons.
        wanted: The probability with which they are separated.

    Returns:
        A number from 3; ``None`` if it is above 1,000 or unknown.
    """
    if not (math.isfinite(difference) and math.isfinite(sd)) or abs(difference) < ROUNDING:
        return None
    if sd < ROUNDING:
        return SEEDS_FOR_INTERVAL
    effect = abs(difference) / sd

    def enough(n: int) -> bool:
        return power(effect, n, level) >= wanted

    if not enough(MOST_SEEDS):
        return None
    low, high = SEEDS_FOR_INTERVAL - 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
