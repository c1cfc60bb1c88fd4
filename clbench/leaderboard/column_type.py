"""What a column of a leaderboard is: what people read in it, and what it holds for programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from clbench.core.measure import ACCURACY, Measure
from clbench.core.shown_text import shown
from clbench.leaderboard.board_rows import Row
from clbench.leaderboard.numbers import NOTHING, Number, amount, number
from clbench.leaderboard.summaries import Summary
from clbench.metrics import get as get_metric

if TYPE_CHECKING:
    from clbench.leaderboard.board import Board, Table

PEOPLE = ("table", "md", "latex", "html", "notebook")
"""Formats for people."""
FLAT = ("csv", "parquet")
"""Files with a line per row. ``flat across`` are those with a line per strategy and columns for each benchmark."""
MACHINES = (*FLAT, "flat across", "json")
"""Files for programs."""
COST = "cost_"
"""Beginning of the name of a column with an entry of the records' cost."""
ABSENT: Final = object()
"""The value of a row that has no such entry in JSON."""


NO_COST = Summary(math.nan, math.nan, 0)
"""The cost of a row without finished seeds, or of records without this entry."""


@dataclass(frozen=True)
class Context:
    """Say where a cell is shown.

    Args:
        board: The leaderboard.
        table: The table of the row.
        names: The columns that are shown with it.
        decimals: Decimals of percentages unless the user chose others.
        format: The format.
    """

    board: Board
    table: Table
    names: Sequence[str]
    decimals: int
    format: str


def everywhere(_: Board, __: str) -> bool:
    """Return that every format shows a column."""
    return True


def only(*formats: str) -> Callable[[Board, str], bool]:
    """Return the condition that these formats alone show a column."""
    return lambda _, format: format in formats


@dataclass(frozen=True)
class Column:
    """Describe a column.

    Args:
        name: Its name in files for programs, and for users who choose columns.
        heading: Table -> its title for people.
        text: Context and row -> its cell as people read it.
        value: Table and row -> its value for programs: a text, a number, a summary, or plain data in lists and
            mappings. ``None`` is an empty cell.
        help: A sentence that says what it holds, without a full stop.
        is_text: Whether it holds words, which stand on the left; numbers stand on the right.
        most: The largest number of letters of its text in CSV; ``None`` for all.
        ascending: Whether a reader who sorts by it expects its smallest value first.
        is_last: Whether it stands behind the metrics.
        shown_in: Board and format -> whether the format shows it unless the user chose columns.
    """

    name: str
    heading: Callable[[Table], str]
    text: Callable[[Context, Row], Number]
    value: Callable[[Table, Row], Any]
    help: str
    is_text: bool = False
    most: int | None = None
    ascending: bool = False
    is_last: bool = False
    shown_in: Callable[[Board, str], bool] = everywhere


def titled(text: str) -> Callable[[Table], str]:
    """Return a heading that is the same for all tables."""
    return lambda _: text


def metric_column(name: str) -> Column:
    """Return the column of a metric; its value is the summary over the row's finished seeds."""
    metric = get_metric(name)
    return Column(
        name,
        lambda table: metric_heading(name, table.measure),
        lambda context, row: _metric_cell(context, row, name),
        lambda _, row: row.metrics[name],
        f"{metric.title}: {metric.formula} ({metric.better})",
        ascending=not metric.higher_is_better,
    )


def metric_heading(name: str, measure: Measure = ACCURACY) -> str:
    """Return the title of a metric with its better direction, if there is one: ``ACC ↑``."""
    metric = get_metric(name).under(measure)
    return f"{metric.title} {metric.arrow}".rstrip()


def _metric_cell(context: Context, row: Row, name: str) -> Number:
    board, table = context.board, context.table
    fewer = board.across and row.covered[0] < row.covered[1] and "seeds" not in context.names
    expected = len(table.wanted if fewer else row.finished)
    return metric_cell(board, table, row, name, expected=expected, decimals=context.decimals)


def metric_cell(board: Board, table: Table, row: Row, name: str, *, expected: int, decimals: int) -> Number:
    """Return a metric of a row as people read it.

    Args:
        board: The leaderboard.
        table: The table of the row.
        row: The row.
        name: Name of the metric.
        expected: The number of seeds that is not printed.
        decimals: Decimals of percentages unless the user chose others.
    """
    return number(
        row.metrics[name],
        name,
        expected=expected,
        decimals=decimals if board.decimals is None else board.decimals,
        exact=board.decimals is not None,
        measure=table.measure,
        mark=row.marks.get(name, ""),
    )


def cost_column(name: str) -> Column:
    """Return the column of an entry of the records' cost, whose name begins with ``cost_``."""
    entry = name.removeprefix(COST)

    def text(_: Context, row: Row) -> Number:
        cost = row.cost.get(entry)
        return Number(amount(cost.mean) if cost else NOTHING)

    title = shown(entry.replace("_", " "))
    return Column(
        name,
        titled(title),
        text,
        lambda _, row: row.cost.get(entry, NO_COST),
        f"{title}, mean over finished seeds",
        ascending=True,
    )
