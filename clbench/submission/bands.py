"""Compute the band in which the next value of a row is expected: Student's prediction interval.

The values of a row are those of its seeds. If a further run is a draw of the same distribution, its value lies in the
band with the given probability. Normal values are assumed, as in every interval over seeds here.

Source: G. J. Hahn and W. Q. Meeker 1991, Statistical Intervals, section 4.7; several new values at a time by
Bonferroni's inequality (section 4.8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

FEWEST = 2
"""The fewest values from which a band can be computed: one value has no spread."""
LEVEL = 0.95
"""The probability with which all new values lie in their bands."""


@dataclass(frozen=True)
class Band:
    """Hold a band; both ends belong to it.

    Args:
        low: The lower end; minus infinity for a band with an upper end only.
        high: The upper end.
        values: The number of values that it was computed from.
    """

    low: float
    high: float
    values: int

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def band(values: Sequence[float], *, new: int = 1, level: float = LEVEL, grain: float = 0.0) -> Band:
    """Return the band of new values of a row: mean ± t · SD · sqrt(1 + 1/n).

    Args:
        values: The values of n seeds, at least :data:`FEWEST`.
        new: Number of new values that are to lie in it together.
        level: Probability that all of them do.
        grain: The smallest step between two possible values, such as 1/rows for an accuracy. It is added at both ends,
            so that a row whose seeds are all equal has a band too.

    Raises:
        ValueError: There are too few values.
    """
    return _band(values, (1 - level) / (2 * new), grain, two_sided=True)


def band_above(values: Sequence[float], *, new: int = 1, level: float = LEVEL, grain: float = 0.0) -> Band:
    """Return the band of new values of which only low ones are suspicious; arguments are as in :func:`band`.

    Raises:
        ValueError: There are too few values.
    """
    return _band(values, (1 - level) / new, grain, two_sided=False)


def _band(values: Sequence[float], tail: float, grain: float, *, two_sided: bool) -> Band:
    n = len(values)
    if n < FEWEST:
        raise ValueError(f"a band needs {FEWEST} values or more, and there are {n}")
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stdtrit(n - 1, 1 - tail)) * deviation * math.sqrt(1 + 1 / n) + grain
    return Band(mean - half, mean + half if two_sided else math.inf, n)
