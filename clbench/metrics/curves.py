"""Curves of accuracy over iterations, and their means over seeds: what pictures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clbench.metrics.ends import end_looks
from clbench.metrics.interval import half_width
from clbench.types import Trace

Curve = NDArray[np.float64]
Tasks = Literal["first", "seen"]


@dataclass(frozen=True, eq=False)
class Line:
    """Mean over seeds and half-width of its 95 % interval (NaN for one seed), on a common axis of (n,) iterations."""

    x: Curve
    mean: Curve
    half: Curve


def bounds(trace: Trace) -> Curve:
    """Iterations done when each experience began, and at the end, (E + 1,)."""
    return np.concatenate([[0], trace.step[end_looks(trace)]]).astype(float)


def series(trace: Trace, tasks: NDArray[np.bool_]) -> tuple[Curve, Curve]:
    """Iterations (n,) without repeats and mean score (n,) over ``tasks`` (K, T); looks at one step count once."""
    with np.errstate(invalid="ignore"):
        mean = np.where(tasks, trace.score, 0.0).sum(axis=1) / tasks.sum(axis=1)
    known = ~np.isnan(mean)
    step, mean = trace.step[known], mean[known]
    last = np.append(np.diff(step) > 0, True)
    return step[last].astype(float), mean[last]


def selected(trace: Trace, tasks: Tasks) -> NDArray[np.bool_]:
    """(K, T) scores to average: of the first task of the first experience, or of the tasks seen by each look."""
    if tasks == "first":
        return np.broadcast_to(np.arange(trace.n_tasks) == trace.present[0].argmax(), trace.score.shape)
    return trace.first_visit <= trace.experience[:, None]


def over_seeds(seeds: Sequence[tuple[Curve, Curve]]) -> Line:
    """Curves of seeds, interpolated onto the iterations that any of them has."""
    x = np.unique(np.concatenate([x for x, _ in seeds]))
    values = np.array([np.interp(x, own, y) for own, y in seeds])  # (seeds, n)
    return Line(x, values.mean(axis=0), half_width(values))
