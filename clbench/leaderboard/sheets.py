"""Sheets: the tables of a leaderboard as people read them. Text formats print them and decide nothing themselves.

A sheet is one benchmark, or all benchmarks side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clbench.core.measure import ACCURACY, Measure
from clbench.core.shown_text import shown
from clbench.leaderboard.best_values import note as marks
from clbench.leaderboard.board import Board, Table
from clbench.leaderboard.board_rows import Row, coverage, group_problems, seed_words
from clbench.leaderboard.columns import COST, is_metric
from clbench.leaderboard.numbers import NOTHING, Number, amount, number
from clbench.metrics import get as get_metric
from clbench.metrics.interval import SEEDS_FOR_INTERVAL

TITLES = {"rank": "#", "strategy": "Strategy", "engine": "Run by", "settings": "Settings", "seeds": "Seeds"}


@dataclass(frozen=True)
class Column:
    """Describe a column.

    Args:
        name: ``rank``, ``strategy``, ``engine``, ``settings``, ``seeds``, a metric, or ``cost_`` and an entry of the
            cost.
        title: Its title for people.
        group: The benchmark that it belongs to, where a sheet shows several; else empty.
    """

    name: str
    title: str
    group: str = ""

    @property
    def is_text(self) -> bool:
        """Return whether it holds words, which stand on the left; numbers stand on the right."""
        return self.name in ("strategy", "engine", "settings")

    @property
    def full_title(self) -> str:
        """Return the title with that of its group."""
        return f"{self.group}: {self.title}" if self.group else self.title


@dataclass(frozen=True)
class Sheet:
    """Hold a table as people read it.

    Args:
        title: The benchmark, or all of them.
        columns: The columns from left to right.
        lines: One per strategy, each with a number or text per column.
        ranks: The rank of each line, ``None`` if it has none.
        legend: What its numbers are.
        seeds: The seeds of its numbers.
        marks: What bold values and signs mean; empty if there are none.
        notes: Sentences that a reader needs, with the reasons for missing cells and the alarms.
    """

    title: str
    columns: tuple[Column, ...]
    lines: tuple[tuple[Number, ...], ...]
    ranks: tuple[int | None, ...]
    legend: str
    seeds: str
    marks: str
    notes: tuple[str, ...]

    @property
    def below(self) -> list[str]:
        """Return all that stands below a table of text."""
        return [self.legend, *([self.marks] if self.marks else []), *self.notes]


def sheets(
    board: Board, *, decimals: int, lead: Sequence[str] = ("rank", "strategy", "engine", "settings", "seeds")
) -> list[Sheet]:
    """Return the sheets of a leaderboard: one per table, or one for all of them.

    Args:
        board: The leaderboard.
        decimals: Decimals of percentages unless the user chose others.
        lead: Columns before the metrics unless the user chose columns; ``engine`` only where the loop of another
            library ran a row, ``settings`` only where a search found those of a row.
    """
    if board.across and board.tables:
        return [_across(board, decimals)]
    needed = {"engine": board.has_other_engines, "settings": board.has_tuned}
    lead = [name for name in lead if needed.get(name, True)]
    return [_single(board, table, board.columns or (*lead, *board.shown), decimals) for table in board.tables]


def _single(board: Board, table: Table, names: Sequence[str], decimals: int) -> Sheet:
    return Sheet(
        title=shown(table.benchmark, None),
        columns=tuple(Column(name, heading(name, table.measure)) for name in names),
        lines=tuple(tuple(_cell(board, table, row, name, names, decimals) for name in names) for row in table.rows),
        ranks=tuple(row.rank for row in table.rows),
        legend=legend([table]),
        seeds=seed_words(table.wanted),
        marks=marks(table.rows),
        notes=tuple(footnotes(table)),
    )


def _across(board: Board, decimals: int) -> Sheet:
    """Return all tables side by side: a line per name of a strategy, a group of columns per benchmark."""
    own = [name for name in board.columns or board.shown if name != "strategy"]
    columns = [Column("strategy", TITLES["strategy"])]
    columns += [
        Column(name, heading(name, table.measure), shown(table.benchmark)) for table in board.tables for name in own
    ]
    lines = []
    for name in board.names:
        line = [Number(shown(name))]
        for table in board.tables:
            row = table.row(name)
            line += [_cell(board, table, row, column, own, decimals) if row else Number(NOTHING) for column in own]
        lines.append(tuple(line))
    every = [row for table in board.tables for row in table.rows]
    seeds = {seed_words(table.wanted) for table in board.tables}
    told: dict[str, list[str]] = {}
    for table in board.tables:
        for text in [*([] if len(seeds) == 1 else [seed_words(table.wanted)]), *footnotes(table)]:
            told.setdefault(text, []).append(table.benchmark)
    of_all = len(board.tables)
    notes = [text if len(own) == of_all else f"{' and '.join(own)}: {text}" for text, own in told.items()]
    return Sheet(
        title=" and ".join(shown(table.benchmark, None) for table in board.tables),
        columns=tuple(columns),
        lines=tuple(lines),
        ranks=(0,) * len(lines),
        legend=legend(board.tables),
        seeds=seeds.pop() if len(seeds) == 1 else "",
        marks=marks(every),
        notes=tuple(notes),
    )


def _cell(board: Board, table: Table, row: Row, name: str, names: Sequence[str], decimals: int) -> Number:
    if name == "rank":
        return Number(str(row.rank or NOTHING))
    fewer = row.covered[0] < row.covered[1] and "seeds" not in names
    if name == "strategy":
        return Number(shown(row.strategy), count=f"(n={len(row.finished)})" * fewer)
    if name == "engine":
        return Number(shown(row.engine))
    if name == "settings":
        return Number(shown(row.settings_origin))
    if name == "seeds":
        return Number(coverage(row))
    if not is_metric(name):
        cost = row.cost.get(name.removeprefix(COST))
        return Number(amount(cost.mean) if cost else NOTHING)
    expected = len(table.wanted if board.across and fewer else row.finished)
    return metric_cell(board, table, row, name, expected=expected, decimals=decimals)


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


def heading(name: str, measure: Measure = ACCURACY) -> str:
    """Return the title of a column; that of a metric has its better direction, if there is one: ``ACC ↑``."""
    if name in TITLES:
        return TITLES[name]
    if not is_metric(name):
        return shown(name.removeprefix(COST).replace("_", " "))
    metric = get_metric(name).under(measure)
    return f"{metric.title} {metric.arrow}".rstrip()


def footnotes(table: Table) -> list[str]:
    """Return the table's notes, the reasons for missing cells, and the alarms, one sentence each."""
    lines = list(table.notes)
    for row in table.rows:
        name = shown(row.strategy)
        lines += [f"{name}: {text}" for text in group_problems(row.problems)]
        lines += [f"{name}: alarm: {text}" for text in row.alarms]
    return [shown(line, None) for line in lines]


def legend(tables: Sequence[Table]) -> str:
    """Return what a reader has to know of the numbers of some tables."""
    counts = {len(row.finished) for table in tables for row in table.rows if row.finished}
    counts = counts or {len(table.wanted) for table in tables} or {SEEDS_FOR_INTERVAL}
    interval = "mean ± half-width of the 95 % Student-t interval over seeds"
    few = max(counts) < SEEDS_FOR_INTERVAL
    values = "the value of each seed; intervals are shown from three seeds on"
    mixed = f"{interval}; with fewer than three seeds, the value of each seed"
    told = values if few else interval if min(counts) >= SEEDS_FOR_INTERVAL else mixed
    measures = dict.fromkeys(table.measure.legend or table.measure.name for table in tables)
    return "; ".join([told, *measures])
