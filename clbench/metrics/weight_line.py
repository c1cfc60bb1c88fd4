"""Scores along a straight line between the weights of two models, and the height of the barrier between them.

Letters: J points of a line, T tasks that were evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clbench.core.measure import ACCURACY, Measure
from clbench.core.types import Index, Mask

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WeightLine:
    """Hold what was evaluated on the line (1 - a) · w_start + a · w_stop of one run.

    Args:
        label: Label of the strategy.
        seed: Seed of the run.
        start: Where the line begins: ``"end 0"``, the end of the first experience.
        stop: Where it ends: ``"end 1"``, or ``"joint"``.
        at: (J,) the points a, from 0 to 1.
        tasks: (T,) numbers of the tasks that were seen at ``stop``.
        old: (T,) bool, tasks that were seen at ``start`` already.
        score: (J, T) mean score of the evaluation samples of each task; of classes, the accuracy in [0, 1].
        loss: (J, T) mean loss of the same samples, over the classes that compete at ``stop``.
        measure: What a score means.
    """

    label: str
    seed: int
    start: str
    stop: str
    at: Values
    tasks: Index
    old: Mask
    score: Values
    loss: Values
    measure: Measure = field(default=ACCURACY)

    @property
    def name(self) -> str:
        """Return the line's name: ``end 0 -> end 1``."""
        return f"{self.start} -> {self.stop}"

    @property
    def barrier(self) -> float:
        """Return the height of the barrier of the mean score over all tasks: the most by which it falls below the
        straight line between its two ends, on the points between them."""
        return height(self.at, -self.score.mean(axis=1))

    @property
    def old_barrier(self) -> float:
        """Return the height of the barrier of the mean score over tasks that were seen at the start; NaN if there is
        none."""
        return height(self.at, -self.score[:, self.old].mean(axis=1)) if self.old.any() else float("nan")

    @property
    def task_barriers(self) -> Values:
        """Return the height of the barrier of the score of each task, (T,)."""
        return np.array([height(self.at, -column) for column in self.score.T])

    @property
    def loss_barrier(self) -> float:
        """Return the height of the barrier of the mean loss over all tasks."""
        return height(self.at, self.loss.mean(axis=1))

    @property
    def instability(self) -> float:
        """Return the instability: the mean of both ends minus the lowest value of the mean score over all tasks."""
        return instability(-self.score.mean(axis=1))


def height(at: Values, error: Values) -> float:
    """Return the height of the barrier: the most by which the error exceeds the straight line between its two ends.

    Only points between the ends count, so that the result can be negative: then a better model lies on every point of
    the way than the ends promise. It is 0 if all points are equal, and at most 0 if the error is convex along the line.

    Args:
        at: (J,) the points in [0, 1], ascending from 0 to 1, three or more.
        error: (J,) the error or loss at each.

    Source: Entezari et al. 2022, arXiv 2110.06296, definition 2.1, there with the maximum over the ends too.
    """
    chord = (1 - at) * error[0] + at * error[-1]
    return float((error - chord)[1:-1].max())


def instability(error: Values) -> float:
    """Return the highest error on the line minus the mean error of its two ends.

    Source: Frankle et al. 2020, arXiv 1912.05671, section 2 (linear interpolation instability).

    Args:
        error: (J,) the error at each point.
    """
    return float(error.max() - (error[0] + error[-1]) / 2)
