"""Generalisation of a perceptron with binary weights: the error of an overlap, and its theory for one task.

A teacher and a student with N weights ±1 and overlap R give different labels to a random pattern with probability
arccos(R) / π. Letters: α, training patterns as a multiple of N; q, overlap of a typical student with the teacher.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

POINTS = 4001
"""Points of the integrals over a standard normal number."""
WIDTH = 10.0
"""Half the range of these integrals."""
SWEEPS = 20_000
"""Most iterations of the fixed point."""


def error_of_overlap(overlap: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return arccos(R) / π, the generalisation error of students with overlaps R (...) with their teacher.

    Rounding may bring an overlap beyond ±1; it then counts as ±1.
    """
    error: NDArray[np.float64] = np.arccos(np.clip(overlap, -1.0, 1.0)) / np.pi
    return error


@cache
def typical_error(alpha: float) -> float:
    """Return the generalisation error of a typical student that classifies all α N patterns of its teacher correctly.

    The overlap q of such a student, of teacher and student with binary weights and without noise, solves q = ∫ Dz
    tanh(q̂ + √q̂ z) and q̂ = 2 α / (1 - q) ∫ Dt φ(u)² / Φ(u), with u = t √(q / (1 - q)). Above α = 1.245 the entropy of
    this solution is below 0: then the teacher is the only student, and the error is 0.

    Args:
        alpha: α, at least 0.

    Source: Györgyi 1990, Physical Review A 41, 7097; Seung, Sompolinsky and Tishby 1992, Physical Review A 45, 6056.
    """
    q = typical_overlap(alpha)
    return 0.0 if q is None else float(error_of_overlap(np.array(q)))


def typical_overlap(alpha: float) -> float | None:
    """Return q of students that are not the teacher; ``None`` if their entropy is below 0, or if there are none."""
    q, hat = 0.0, 0.0
    for _ in range(SWEEPS):
        hat = 2 * alpha / (1 - q) * _gauss(_slope(q))
        new = _gauss(np.tanh(hat + np.sqrt(hat) * NORMAL))
        if 1 - new < 1e-6:
            return None
        if abs(new - q) < 1e-12:
            break
        q = new
    return q if entropy(alpha, q, hat) > 0 else None


def entropy(alpha: float, q: float, hat: float) -> float:
    """Return the logarithm of the number of students, over N, at a fixed point q, q̂; the teacher alone has 0."""
    field = hat + np.sqrt(hat) * NORMAL
    weights = _gauss(np.logaddexp(field, -field)) - hat / 2 * (1 + q)
    log_share = _log_share(q)
    return weights + alpha * 2 * _gauss(np.exp(log_share) * log_share)


NORMAL = np.linspace(-WIDTH, WIDTH, POINTS)
_DENSITY = np.exp(-(NORMAL**2) / 2)
_DENSITY /= _DENSITY.sum()


def _gauss(values: NDArray[np.float64]) -> float:
    """Return the mean of a function's values at :data:`NORMAL` over a standard normal number."""
    return float((_DENSITY * values).sum())


def _slope(q: float) -> NDArray[np.float64]:
    """Return φ(u)² / Φ(u) at u = t √(q / (1 - q)) for all points t."""
    u = NORMAL * np.sqrt(q / (1 - q))
    slope: NDArray[np.float64] = np.exp(-(u**2) - np.log(2 * np.pi) - _log_share(q))
    return slope


def _log_share(q: float) -> NDArray[np.float64]:
    """Return ln Φ(u) at u = t √(q / (1 - q)) for all points t."""
    from scipy.special import log_ndtr

    share: NDArray[np.float64] = log_ndtr(NORMAL * np.sqrt(q / (1 - q)))
    return share
