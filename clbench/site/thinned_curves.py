"""Thin curves for a screen without losing a dip: the lowest and the highest point of every pixel column stay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Curve = NDArray[np.float64]

COLUMNS = 800
"""Columns of a drawn curve, about one per pixel."""


def thinned(x: Curve, y: Curve, columns: int = COLUMNS) -> NDArray[np.intp]:
    """Return which points of a curve to draw, as ascending indices.

    In every column these are the lowest and the highest point, and at the ends the first and the last one. Points
    without a value separate parts of a curve; the first of each gap stays.

    Args:
        x: (n,) ascending.
        y: (n,) values, NaN where there is none.
        columns: Number of columns of equal width between the first and the last x.
    """
    if len(x) <= columns:
        return np.arange(len(x))
    column = _columns(x, columns)
    known = ~np.isnan(y)
    kept = np.zeros(len(x), dtype=bool)
    kept[[0, -1]] = True
    kept[~known & np.concatenate([[True], known[:-1]])] = True
    place = np.flatnonzero(known)
    order = place[np.lexsort((place, y[place], column[place]))]  # by column, then by value
    begins = np.diff(column[order], prepend=-1) > 0
    kept[order[begins]] = True
    kept[order[np.roll(begins, -1)]] = True  # the last one of a column stands before the first one of the next
    return np.flatnonzero(kept)


def lowest_points(x: Curve, y: Curve, columns: int = COLUMNS) -> NDArray[np.intp]:
    """Return the lowest point of every column of a cloud of points, as indices ascending in x.

    Args:
        x: (n,) in any order.
        y: (n,) values without NaN.
        columns: Number of columns of equal width between the smallest and the largest x; at fewer different x, each is
            a column.
    """
    different, place = np.unique(x, return_inverse=True)
    column = place if len(different) <= columns else _columns(x, columns)
    order = np.lexsort((x, y, column))
    return order[np.diff(column[order], prepend=-1) > 0]


def _columns(x: Curve, columns: int) -> NDArray[np.intp]:
    """Return the column of each point."""
    share = (x - x.min()) / ((x.max() - x.min()) or 1.0)
    found: NDArray[np.intp] = np.minimum((share * columns).astype(np.intp), columns - 1)
    return found
