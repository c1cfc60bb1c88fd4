"""What occurs when in a stream, and after what lags: the numbers behind its pictures.

A stream of thousands of experiences is sampled. Letters: E experiences, N rows of one, R rows of the raster, K
columns, L lags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clbench.core.types import Experience, Index, Stream
from clbench.scenarios.lags import fitted_exponent

By = Literal["auto", "class", "task", "concept"]
Floats = NDArray[np.float64]

COLUMNS = 200
SAMPLED = 4
"""Experiences looked at for a column, where a column stands for more."""
LAG_EXPERIENCES = 2000
"""Experiences, from the first one on, from which lags are counted."""
RECURRING = 0.02
"""A stream recurs where more than this share of its visits comes after an absence."""
LAG_BINS = 24
"""Lags are told one by one up to so many, and in bins of equal logarithmic width beyond."""


@dataclass(frozen=True, eq=False)
class Raster:
    """What occurs when.

    Args:
        by: What its rows are: ``class``, ``task`` or ``concept``.
        names: One per row, R of them.
        edges: (K + 1,) where columns begin and end, in experiences.
        share: (R, K) share of the training rows of a column; columns sum to 1.
    """

    by: str
    names: tuple[str, ...]
    edges: Floats
    share: Floats


def raster(stream: Stream, *, columns: int = COLUMNS, by: By = "auto") -> Raster:
    """Which class, task or concept occurs when.

    Experiences that keep the order of their rows are cut into several columns where there is room. With more
    experiences than columns, a column is the mean over up to four experiences spread over its stretch.

    Args:
        stream: Any.
        columns: At most so many, at least 1.
        by: Rows are classes of the data set, evaluation tasks, or concepts (which label map holds). ``auto`` takes
            concepts where the world drifts, tasks where they are different views, else classes.
    """
    by = _choose(stream) if by == "auto" else by
    names = _names(stream, by)
    if len(stream) > columns:
        stops = np.linspace(0, len(stream), columns + 1).astype(np.int64)
        share = [_mean_share(stream, by, len(names), *stops[k : k + 2]) for k in range(columns)]
        return Raster(by, names, stops.astype(np.float64), np.stack(share, axis=1))
    pieces = 1 if stream[0].shuffled else columns // len(stream)
    share, edges = [], [0.0]
    for i, experience in enumerate(stream):
        parts = np.array_split(_items(stream, experience, by), max(1, min(pieces, len(experience))))
        share += [_share(part, len(names)) for part in parts]
        edges += [i + (k + 1) / len(parts) for k in range(len(parts))]
    return Raster(by, names, np.array(edges), np.stack(share, axis=1))


def _choose(stream: Stream) -> By:
    if stream.views_at is not None:
        return "concept"
    return "task" if len({task.view for task in stream.tasks}) > 1 else "class"


def _names(stream: Stream, by: str) -> tuple[str, ...]:
    if by == "class":
        return tuple(stream.dataset.class_names)
    if by == "task":
        return tuple(task.name for task in stream.tasks)
    count = 1 + max(int(np.max(stream.task_views(i))) for i in range(len(stream)))
    maps = 0 if stream.label_map is None else len(stream.label_map)
    return tuple(f"concept {i}" for i in range(max(count, maps)))


def _items(stream: Stream, experience: Experience, by: str) -> Index:
    """Row of the raster (N,) of each row of an experience."""
    if by == "class":
        return stream.dataset.train.y[experience.rows]
    return np.broadcast_to(np.asarray(experience.task if by == "task" else experience.view), len(experience))


def _share(items: Index, count: int) -> Floats:
    return np.bincount(items, minlength=count) / len(items)


def _mean_share(stream: Stream, by: str, count: int, start: int, stop: int) -> Floats:
    """Mean share (R,) over up to four experiences of a stretch."""
    chosen = np.unique(np.linspace(start, stop - 1, min(SAMPLED, stop - start)).round().astype(int))
    mean: Floats = np.mean([_share(_items(stream, stream.build(int(i)), by), count) for i in chosen], axis=0)
    return mean


# ------------------------------------------------------------------------------------------- lags


@dataclass(frozen=True, eq=False)
class Lags:
    """How often classes or tasks come back after how long.

    Args:
        lag: (L,) lags, at least 1; means of bins where there are many.
        frequency: (L,) how often they come back at it, as a multiple of how often at lag 1 in the same experiences.
        exponent: alpha of the most likely power law (lag + t0)^-alpha; infinite where only lag 1 comes back.
        t0: The stream's own, 0 where it has none.
    """

    lag: Floats
    frequency: Floats
    exponent: float
    t0: float


def lags(stream: Stream, *, by: By = "auto") -> Lags | None:
    """How often classes, tasks or concepts come back after how long; ``None`` where nothing recurs.

    Where the scenario does not say itself what a lag is, it is the number of experiences since a class (task, concept)
    last had rows, over the first 2000 experiences; and nothing recurs where at most 2 % of the visits comes after
    an absence. A frequency compares a lag with lag 1 in the same experiences, so that the number of competitors
    cancels: under a schedule of weights w, where one comes back at a time, the expectation is w(l) / w(1).
    """
    of = getattr(stream.build, "occasions", None)
    waited, came = _observed(stream, by) if of is None else of()
    if (came * (waited > 1)).sum() <= (RECURRING * came.sum() if of is None else 0):
        return None
    near = waited == 1
    rate = (came * near).sum(axis=1) / np.maximum(near.sum(axis=1), 1)  # (E,)
    stood = waited > 0
    observed = replace(stream, build=_Observed(stream.build, waited, came))
    lag, frequency = _binned(waited[stood], came[stood], np.broadcast_to(rate[:, None], waited.shape)[stood])
    return Lags(lag, frequency, fitted_exponent(observed), float(stream.description.get("t0", 0.0)))


def _observed(stream: Stream, by: By) -> tuple[Index, Index]:
    """Experiences since each row of the raster last occurred, 0 before it first did, and whether it does, (E, R)."""
    by = _choose(stream) if by == "auto" else by
    count = len(_names(stream, by))
    length = min(len(stream), LAG_EXPERIENCES)
    present = np.stack([_share(_items(stream, stream.build(i), by), count) > 0 for i in range(length)])  # (E, R)
    position = np.arange(length)[:, None]
    last = np.maximum.accumulate(np.where(present, position, -1), axis=0)
    waited = np.zeros_like(last)
    waited[1:] = np.where(last[:-1] >= 0, position[1:] - last[:-1], 0)
    return waited, (present & (waited > 0)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Observed:
    """Builds like the base, and tells the lags that were counted."""

    base: Callable[[int], Experience]
    waited: Index  # (E, R)
    came: Index  # (E, R)

    def __call__(self, i: int) -> Experience:
        return self.base(i)

    def occasions(self) -> tuple[Index, Index]:
        return self.waited, self.came


def _binned(waited: Index, came: Index, rate: Floats) -> tuple[Floats, Floats]:
    """Lags (L,) and their frequency: what came back at each, over what would have at the rate of lag 1; (n,) each."""
    reference = np.bincount(waited, weights=rate)
    lag = np.flatnonzero(reference > 0)
    place = lag
    if len(lag) > LAG_BINS:
        place = np.digitize(lag, np.unique(np.geomspace(1, lag.max() + 1, LAG_BINS + 1).round()))
    bins = np.unique(place, return_inverse=True)[1]
    middle = np.exp(np.bincount(bins, weights=np.log(lag)) / np.bincount(bins))
    own = np.bincount(waited, weights=came)
    return middle, np.bincount(bins, weights=own[lag]) / np.bincount(bins, weights=reference[lag])
