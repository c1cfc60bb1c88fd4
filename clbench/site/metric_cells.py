"""The metrics of a row as the cells of the site's tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clbench.core.measure import ACCURACY
from clbench.leaderboard.board import Board, Table
from clbench.leaderboard.board_rows import Row
from clbench.leaderboard.column_type import metric_cell


@dataclass(frozen=True)
class Cell:
    """Hold a metric of a row as a page shows it.

    Args:
        main: The mean as text.
        half: The half-width of its interval as text; empty if there is none.
        more: The number of seeds if it is not the row's, and the sign of values that are not separated from the best.
        sort: The mean in full, by which a table sorts; empty if there is none.
        is_best: Whether it is the best of its table.
        reason: Why there is no value, if there is none.
        bar: The interval as (from, to) and the mean, in percent of the range of scores; ``None`` if it has no bar.
    """

    main: str
    half: str
    more: str
    sort: str
    is_best: bool
    reason: str
    bar: tuple[int, int, int] | None = None


def cells(board: Board, table: Table, row: Row, names: Sequence[str]) -> list[Cell]:
    """Return the cells of some metrics of a row."""
    return [cell(board, table, row, name) for name in names]


def cell(board: Board, table: Table, row: Row, name: str, *, decimals: int = 2) -> Cell:
    """Return the cell of a metric of a row, with some decimals of percentages."""
    summary = row.metrics[name]
    shown = metric_cell(board, table, row, name, expected=len(row.finished), decimals=decimals)
    return Cell(
        main=shown.main,
        half=shown.half,
        more=" ".join(filter(None, (shown.count, shown.sign))),
        sort="" if math.isnan(summary.mean) else f"{summary.mean:.5g}",
        is_best=shown.is_best,
        reason=summary.reason,
        bar=_bar(table, summary.mean, summary.half),
    )


def _bar(table: Table, mean: float, half: float) -> tuple[int, int, int] | None:
    if table.measure != ACCURACY or math.isnan(mean):
        return None
    half = 0.0 if math.isnan(half) else half
    low, high, middle = (round(100 * min(1.0, max(0.0, x))) for x in (mean - half, mean + half, mean))
    return low, high, middle
