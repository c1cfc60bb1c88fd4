"""Sheets: the tables of a leaderboard as people read them. Text formats print them and decide nothing themselves.

A sheet is one benchmark, or all benchmarks side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clbench.core.shown_text import shown
from clbench.leaderboard.best_values import note as marks
from clbench.leaderboard.board import Board, Table
from clbench.leaderboard.board_columns import STRATEGY, column, columns_of, of_metric
from clbench.leaderboard.board_rows import Row, group_problems, seed_words
from clbench.leaderboard.column_type import Column, Context
from clbench.leaderboard.numbers import NOTHING, Number
from clbench.leaderboard.published_rows import published_note
from clbench.metrics.interval import SEEDS_FOR_INTERVAL

LOOKS = {"md": "in italics", "latex": "in italics"}
"""How published numbers are set in a format; in all others they are grey."""


@dataclass(frozen=True)
class Heading:
    """Describe a column of a sheet.

    Args:
        title: Its title for people.
        is_text: Whether it holds words, which stand on the left; numbers stand on the right.
        group: The benchmark that it belongs to, where a sheet shows several; else empty.
    """

    title: str
    is_text: bool
    group: str = ""

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
        others: Published lines, which stand below the strategies in grey; without ranks and marks.
    """

    title: str
    columns: tuple[Heading, ...]
    lines: tuple[tuple[Number, ...], ...]
    ranks: tuple[int | None, ...]
    legend: str
    seeds: str
    marks: str
    notes: tuple[str, ...]
    others: tuple[tuple[Number, ...], ...] = ()

    @property
    def every(self) -> tuple[tuple[Number, ...], ...]:
        """Return the lines of strategies and the published ones below them."""
        return (*self.lines, *self.others)

    @property
    def below(self) -> list[str]:
        """Return all that stands below a table of text."""
        return [self.legend, *([self.marks] if self.marks else []), *self.notes]


def sheets(board: Board, *, decimals: int, format: str) -> list[Sheet]:
    """Return the sheets of a leaderboard: one per table, or one for all of them.

    Args:
        board: The leaderboard.
        decimals: Decimals of percentages unless the user chose others.
        format: The format for people, which decides about the columns.
    """
    if board.across and board.tables:
        return [_across(board, decimals, format)]
    columns = columns_of(board, format, board.shown)
    return [_single(board, table, columns, decimals, format) for table in board.tables]


def _single(board: Board, table: Table, columns: Sequence[Column], decimals: int, format: str) -> Sheet:
    context = Context(board, table, tuple(column.name for column in columns), decimals, format)
    return Sheet(
        title=shown(table.benchmark, None),
        columns=tuple(Heading(column.heading(table), column.is_text) for column in columns),
        lines=tuple(tuple(column.text(context, row) for column in columns) for row in table.rows),
        ranks=tuple(row.rank for row in table.rows),
        legend=legend([table]),
        seeds=seed_words(table.wanted),
        marks=_told([marks(table.rows), _letters(columns, table.rows, format)]),
        notes=(*footnotes(table), *published_note(table.published, LOOKS.get(format, "in grey"))),
        others=tuple(
            tuple(
                row.text(column, decimals if board.decimals is None else board.decimals, table.measure)
                for column in columns
            )
            for row in table.published
        ),
    )


def _across(board: Board, decimals: int, format: str) -> Sheet:
    """Return all tables side by side: a line per name of a strategy, a group of columns per benchmark."""
    chosen = map(column, board.columns) if board.columns else map(of_metric, board.shown)
    own = [each for each in chosen if each.name != STRATEGY.name]
    headings = [Heading(STRATEGY.heading(board.tables[0]), is_text=True)]
    headings += [
        Heading(each.heading(table), each.is_text, shown(table.benchmark)) for table in board.tables for each in own
    ]
    lines = []
    for name in board.names:
        line = [Number(shown(name))]
        for table in board.tables:
            row, context = table.row(name), Context(board, table, [each.name for each in own], decimals, format)
            line += [each.text(context, row) if row else Number(NOTHING) for each in own]
        lines.append(tuple(line))
    every = [row for table in board.tables for row in table.rows]
    seeds = {seed_words(table.wanted) for table in board.tables}
    told: dict[str, list[str]] = {}
    for table in board.tables:
        for text in [*([] if len(seeds) == 1 else [seed_words(table.wanted)]), *footnotes(table)]:
            told.setdefault(text, []).append(table.benchmark)
    of_all = len(board.tables)
    notes = [text if len(names) == of_all else f"{' and '.join(names)}: {text}" for text, names in told.items()]
    return Sheet(
        title=" and ".join(shown(table.benchmark, None) for table in board.tables),
        columns=tuple(headings),
        lines=tuple(lines),
        ranks=(0,) * len(lines),
        legend=legend(board.tables),
        seeds=seeds.pop() if len(seeds) == 1 else "",
        marks=marks(every),
        notes=tuple(shown(note, None) for note in notes),
    )


def _letters(columns: Sequence[Column], rows: Sequence[Row], format: str) -> str:
    """Return what the letters beside labels in LaTeX mean; empty without any."""
    if format != "latex" or STRATEGY not in columns or all(row.group is None for row in rows):
        return ""
    return f"letters: groups ({column('group').help})"


def _told(texts: Iterable[str]) -> str:
    return "; ".join(filter(None, texts))


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
