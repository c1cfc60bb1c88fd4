"""Confidence intervals over seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

SEEDS_FOR_INTERVAL = 3
"""Smallest number of seeds for which tables show an interval. With two seeds its half-width is six times their
distance."""


def half_width(values: ArrayLike, *, confidence: float = 0.95, fewest: int = 2) -> NDArray[Any]:
    """Return half the width of the Student-t confidence interval of a mean, over the first axis.

    Args:
        values: (n, ...) one finite value per seed.
        confidence: Confidence level in (0, 1).
        fewest: Smallest number of values that get an interval, from 2.

    Returns:
        Shape (...): ``t * s / sqrt(n)`` with n - 1 degrees of freedom; NaN for fewer values than ``fewest``.
    """
    from scipy.special import stdtrit

    values = np.asarray(values, dtype=float)
    n = len(values)
    if n < fewest:
        return np.full(values.shape[1:], np.nan)
    half_width: NDArray[Any] = stdtrit(n - 1, (1 + confidence) / 2) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return half_width
