"""The raster of a stream (what occurs when) and its lags, as numbers for plots.

A stream of thousands of experiences is sampled. Letters: E experiences, N samples of one experience, R rows of the
raster, K columns, L lags.
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
"""Largest number of experiences that are read for one column."""
LAG_EXPERIENCES = 2000
"""Number of experiences, from the first one on, for which lags are counted."""
RECURRING = 0.02
"""Smallest share of visits that follow an absence, for a stream that recurs."""
LAG_BINS = 24
"""Largest number of single lags; longer lags are put into bins of equal logarithmic width."""


@dataclass(frozen=True, eq=False)
class Raster:
    """Hold the share of each class, task or concept over time.

    Args:
        by: What the rows stand for: ``class``, ``task`` or ``concept``.
        names: Names of the rows, R of them.
        edges: (K + 1,) boundaries of the columns, in experiences.
        share: (R, K) share of the training samples of a column; columns sum to 1.
    """

    by: str
    names: tuple[str, ...]
    edges: Floats
    share: Floats


def raster(stream: Stream, *, columns: int = COLUMNS, by: By = "auto") -> Raster:
    """Return which class, task or concept occurs when.

    An experience that keeps the order of its samples is divided into several columns if there are few experiences. If
    there are more experiences than columns, a column is the mean over up to four of its experiences.

    Args:
        stream: Any stream.
        columns: Largest number of columns, at least 1.
        by: Rows are classes of the data set, evaluation tasks, or concepts (the current label map). ``auto`` takes
            concepts if labels drift, tasks if they are different views, and classes otherwise.
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
    """Return the row of the raster (N,) for each sample of an experience."""
    if by == "class":
        return stream.dataset.train.y[experience.rows]
    return np.broadcast_to(np.asarray(experience.task if by == "task" else experience.view), len(experience))


def _share(items: Index, count: int) -> Floats:
    return np.bincount(items, minlength=count) / len(items)


def _mean_share(stream: Stream, by: str, count: int, start: int, stop: int) -> Floats:
    """Return the mean share (R,) over up to four experiences of a range."""
    chosen = np.unique(np.linspace(start, stop - 1, min(SAMPLED, stop - start)).round().astype(int))
    mean: Floats = np.mean([_share(_items(stream, stream.build(int(i)), by), count) for i in chosen], axis=0)
    return mean


# ------------------------------------------------------------------------------------------- lags


@dataclass(frozen=True, eq=False)
class Lags:
    """Hold how often classes or tasks recur after each lag.

    Args:
        lag: (L,) lags, at least 1; means of bins for long lags.
        frequency: (L,) how often they recur at that lag, as a multiple of how often at lag 1 in the same experiences.
        exponent: alpha of the most likely power law (lag + t0)^-alpha; infinite if only lag 1 recurs.
        t0: The stream's own t0, or 0 if it has none.
    """

    lag: Floats
    frequency: Floats
    exponent: float
    t0: float


def lags(stream: Stream, *, by: By = "auto") -> Lags | None:
    """Return how often classes, tasks or concepts recur after each lag; ``None`` if nothing recurs.

    If the scenario does not define lags, a lag is the number of experiences since a class (task, concept) last had
    samples, within the first 2000 experiences. A stream does not recur if at most 2 % of its visits follow an absence.
    A frequency compares a lag with lag 1 in the same experiences, so that the number of competitors cancels. Under a
    schedule with weights w that draws one at a time, the expectation is w(l) / w(1).
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
    """Return the experiences since each row of the raster last occurred, 0 before its first, and its occurrence; both
    (E, R)."""
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
    """Build the base stream's experiences, and return the lags that were counted."""

    base: Callable[[int], Experience]
    waited: Index  # (E, R)
    came: Index  # (E, R)

    def __call__(self, i: int) -> Experience:
        return self.base(i)

    def occasions(self) -> tuple[Index, Index]:
        return self.waited, self.came


def _binned(waited: Index, came: Index, rate: Floats) -> tuple[Floats, Floats]:
    """Return lags (L,) and frequencies: recurrences at each lag, relative to the number expected at the rate of lag
    1."""
    reference = np.bincount(waited, weights=rate)
    lag = np.flatnonzero(reference > 0)
    place = lag
    if len(lag) > LAG_BINS:
        place = np.digitize(lag, np.unique(np.geomspace(1, lag.max() + 1, LAG_BINS + 1).round()))
    bins = np.unique(place, return_inverse=True)[1]
    middle = np.exp(np.bincount(bins, weights=np.log(lag)) / np.bincount(bins))
    own = np.bincount(waited, weights=came)
    return middle, np.bincount(bins, weights=own[lag]) / np.bincount(bins, weights=reference[lag])
