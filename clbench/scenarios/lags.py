"""Lags between visits of a task: their weights, schedules from weights, and the fitted exponent of a power law.

Letters: T tasks, E experiences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.core.types import Index, Stream
from clbench.scenarios.schedules import Floats

Schedule = Literal["power_law", "exponential", "uniform", "last", "first", "log_uniform", "none"]
DECAYING = ("power_law", "exponential", "uniform")
"""Schedules that can decide by themselves which task comes next."""
STEEPEST = 200.0
"""Largest exponent that is distinguished from an infinite one."""


@dataclass(frozen=True)
class Weights:
    """Compute the weight of a lag; see ``clbench.scenarios.power_law``.

    Args:
        schedule: Name of the weight function.
        alpha, t0: Parameters of the power law.
        beta: Parameter of the exponential.

    Raises:
        Refused: A parameter is out of range.
    """

    schedule: str
    alpha: float = 1.0
    t0: float = 0.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        for name, low in (("alpha", "at least"), ("t0", "at least"), ("beta", "above")):
            value = getattr(self, name)
            if not (np.isfinite(value) and (value > 0 or (value == 0 and low == "at least"))):
                raise Refused(f"{name} = {value} is out of range; give a number {low} 0", name)

    def __call__(self, lags: Index) -> Floats:
        """Return weights (n,) of lags (n,) of at least 1; the largest weight is 1."""
        weights: Floats
        if self.schedule == "power_law":
            weights = ((lags + self.t0) / (lags.min() + self.t0)) ** -self.alpha
        elif self.schedule == "exponential":
            weights = np.exp((lags.min() - lags) / self.beta)
        elif self.schedule == "log_uniform":
            weights = np.log1p(1 / lags)
            weights = weights / weights.max()
        else:
            chosen = {"last": lags == lags.min(), "first": lags == lags.max()}
            weights = chosen.get(self.schedule, np.ones(len(lags))).astype(np.float64)
        return weights

    def describe(self) -> dict[str, Any]:
        """Return the schedule and the parameters that it uses."""
        used = {"power_law": {"alpha": self.alpha, "t0": self.t0}, "exponential": {"beta": self.beta}}
        return {"schedule": self.schedule, **used.get(self.schedule, {})}


def largest_remainder(weights: Floats, total: int) -> Index:
    """Round weights to integers that add up to ``total`` and differ from exact proportions by less than 1.

    Args:
        weights: (n,) non-negative, not all zero.
        total: Sum of the integers, at least 0.

    Returns:
        (n,) int64. Among equal remainders, later entries are rounded up first.

    Source: Hamilton's method of apportionment.
    """
    share = total * (weights / weights.sum())
    # Rounded to 9 decimals, so that the last bit of a power, which differs between libraries, has no effect.
    whole: Index = np.floor(share + 1e-9).astype(np.int64)
    remainder = np.round(share - whole, 9)
    last_first = np.lexsort((-np.arange(len(share)), -remainder))
    whole[last_first[: total - int(whole.sum())]] += 1
    return whole


def perform(seed: int, weights: Weights, *, tasks: int, blocks: int, enter_every: int, floor: float) -> Index:
    """Draw the task of each block, (blocks,), from one uniform number per block. See
    ``clbench.scenarios.power_law``."""
    uniforms = Generator(seed, "stream/schedule").uniform(blocks)
    performed = np.empty(blocks, dtype=np.int64)
    last = np.empty(tasks, dtype=np.int64)
    for b in range(blocks):
        entering = b // enter_every
        if b % enter_every == 0 and entering < tasks:
            task = entering
        else:
            p = weights(b - last[: min(tasks, entering + 1)])
            cumulative = np.cumsum((1 - floor) * p / p.sum() + floor / len(p))
            task = min(int(np.searchsorted(cumulative, uniforms[b] * cumulative[-1], side="right")), len(p) - 1)
        performed[b], last[task] = task, b
    return performed


# ------------------------------------------------------------------------------------------- what was realised


def frequency_by_lag(stream: Stream) -> tuple[Index, Floats]:
    """Return how often tasks recur at each lag, as a multiple of how often they recur at lag 1.

    Each lag is compared with lag 1 over the experiences in which a task has that lag. The number of competing tasks,
    which changes along the stream, then cancels. Under a schedule with weights w the expectation is w(l) / w(1).

    Args:
        stream: A stream of scenario ``power_law``. The lag of a task is the number of phases since its introduction, or
            of blocks since its last visit.

    Returns:
        Lags (L,) that occurred, ascending, and frequencies (L,); NaN if lag 1 itself was never chosen.

    Raises:
        Refused: The stream has another scenario.
    """
    lags, chosen = _occasions(stream)
    nearest = np.where(lags == 1, chosen, 0).sum(axis=1, keepdims=True)  # (E, 1)
    stood = lags > 0
    own = np.bincount(lags[stood], weights=chosen[stood])
    reference = np.bincount(lags[stood], weights=np.broadcast_to(nearest, lags.shape)[stood])
    occurred = np.unique(lags[stood])
    own, reference = own[occurred], reference[occurred]
    return occurred, np.where(reference > 0, own / np.maximum(reference, 1), np.nan)


def fitted_exponent(stream: Stream) -> float:
    """Return the exponent alpha that maximises the likelihood of the tasks that a stream rehearsed or visited.

    It maximises the sum over experiences and recurring samples of log((l + t0)^-alpha / Σ over old tasks of (l +
    t0)^-alpha). t0 is the stream's own, or 0 if its schedule has none.

    Args:
        stream: A stream of scenario ``power_law``, with any schedule.

    Returns:
        alpha; infinite if only the smallest lag recurs, NaN if there was never a choice.

    Raises:
        Refused: The stream has another scenario.
    """
    from scipy.optimize import brentq

    lags, chosen = _occasions(stream)
    x = np.log(np.maximum(lags, 1) + stream.description.get("t0", 0.0))  # (E, T)
    old = lags > 0
    total = chosen.sum(axis=1)  # (E,)

    def slope(alpha: float) -> float:
        """Return the derivative of the log-likelihood: expected minus observed logarithms of lags. It decreases with
        alpha."""
        shifted = -alpha * x
        shifted = np.where(old, shifted - np.where(old, shifted, -np.inf).max(axis=1, initial=-1e9)[:, None], -np.inf)
        p = np.exp(shifted)
        expected = (p * x).sum(axis=1) / np.maximum(p.sum(axis=1), 1e-300)
        return float((total * expected).sum() - (chosen * x).sum())

    if not (total[old.sum(axis=1) > 1]).any():
        return float("nan")
    if slope(STEEPEST) >= 0 or slope(-STEEPEST) <= 0:
        return float("inf") if slope(STEEPEST) >= 0 else -float("inf")
    return float(brentq(slope, -STEEPEST, STEEPEST, xtol=1e-9))


def _occasions(stream: Stream) -> tuple[Index, Index]:
    """Return the lag of each task in each experience, 0 if it could not recur, and its amount, both (E, T)."""
    of = getattr(stream.build, "occasions", None)
    if of is None:
        raise Refused(f"lags are defined on streams of scenario 'power_law', and this one is {stream.name!r}")
    occasions: tuple[Index, Index] = of()
    return occasions
