"""Generalisation of a perceptron with binary weights: the error of an overlap, and its theory for one task.

A teacher and a student with N weights ±1 and overlap R give different labels to a random pattern with probability
arccos(R) / π. Letters: α, training patterns as a multiple of N; q, overlap of a typical student with the teacher.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from clbench.core.record import Trace
from clbench.metrics.accuracy_matrix import end_looks
from clbench.metrics.metric import Metric, Undefined
from clbench.metrics.plasticity import reading_of

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


# ------------------------------------------------------------------------------------------------ metrics of a run


def _of_the_last_reading(trace: Trace, row: int) -> NDArray[np.float64]:
    """Return a row of the last reading ``overlap``, for the tasks that the stream has visited, (tasks,).

    Raises:
        Undefined: The run stopped early, or the reading has no value.
    """
    end_looks(trace)
    values = reading_of(trace, "overlap").values[-1, row].astype(np.float64)  # (T,)
    visited: NDArray[np.float64] = values[trace.present.any(0)]
    if np.isnan(visited).any():
        raise Undefined(
            "the reading 'overlap' has no value: it needs scenario teacher and a model of a single layer without a "
            "bias, such as perceptron"
        )
    return visited


def generalisation_error(trace: Trace) -> float:
    """Return the mean over visited tasks of arccos(R) / π at the end, for the overlaps R of student and teachers."""
    return float(error_of_overlap(_of_the_last_reading(trace, 0)).mean())


def analytic_error(trace: Trace) -> float:
    """Return the mean over visited tasks of the error of a typical student that learned each of them alone."""
    return float(_of_the_last_reading(trace, 1).mean())


GENERALISATION_ERROR = Metric(
    name="generalisation_error",
    title="Generalisation error",
    function=generalisation_error,
    formula="mean over visited tasks of arccos(R) / π at the end, R the overlap of student and teacher",
    low=0,
    high=1,
    higher_is_better=False,
    source="Li et al. 2023, arXiv 2212.02846",
    needs="scenario teacher, evaluation.readings with overlap",
)
ANALYTIC_ERROR = Metric(
    name="analytic_error",
    title="Analytic error",
    function=analytic_error,
    formula="mean over visited tasks of the error of a typical binary perceptron that fits the task's samples alone",
    low=0,
    high=0.5,
    higher_is_better=None,
    source="Györgyi 1990, Physical Review A 41, 7097",
    needs="scenario teacher, evaluation.readings with overlap",
    comparable=False,
)
