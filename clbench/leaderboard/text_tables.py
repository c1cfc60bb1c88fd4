"""Leaderboards for people to read as text: tables for the terminal, and Markdown."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from clbench.leaderboard.board import Board
from clbench.leaderboard.numbers import Number
from clbench.leaderboard.pair_sheets import pair_sheets
from clbench.leaderboard.sheets import Sheet, sheets

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table as RichTable
    from rich.text import Text


@dataclass(frozen=True)
class View:
    """Hold a table for the terminal. Title and notes may be wider than the table.

    Args:
        title: The benchmark.
        table: The table.
        notes: What a reader needs to know.
    """

    title: Text
    table: RichTable
    notes: Text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.title
        yield self.table
        yield self.notes


def rich_tables(board: Board) -> list[View]:
    """Return a table per benchmark for the terminal, with its notes below."""
    return _views(sheets(board, decimals=1, format="table"))


def rich_pairs(board: Board) -> list[View]:
    """Return a table of pairs per benchmark for the terminal, if the board shows pairs."""
    return _views(pair_sheets(board, decimals=1))


def _views(shown: Iterable[Sheet]) -> list[View]:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    views = []
    for sheet in shown:
        view = RichTable(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
        for column in sheet.columns:
            words = f"{column.group}\n{column.title}" if column.group else column.title
            view.add_column(Text(words), justify="left" if column.is_text else "right", overflow="fold")
        marked = [any(line[place].mark for line in sheet.lines) for place in range(len(sheet.columns))]
        for rank, line in zip(sheet.ranks, sheet.lines, strict=True):
            dim = "dim" if rank is None else ""
            view.add_row(
                *(
                    Text(_with_sign(cell, marked=has), style="bold" if cell.is_best else dim)
                    for cell, has in zip(line, marked, strict=True)
                )
            )
        for line in sheet.others:
            view.add_row(
                *(Text(_with_sign(cell, marked=has), style=GREY) for cell, has in zip(line, marked, strict=True))
            )
        below = "\n".join(sheet.below).replace("bold: best", f"{STAR}: best")
        views.append(View(Text(sheet.title, style="bold"), view, Text(below + "\n", style="dim")))
    return views


GREY = "bright_black"
"""The style of published numbers."""
STAR = "*"
"""The sign of the best value of a column, where text may be printed without bold letters."""


def _with_sign(cell: Number, *, marked: bool) -> str:
    """Return a cell with its sign, or with room for it in a column that has signs."""
    if not marked:
        return str(cell)
    return f"{replace(cell, mark='')} {STAR if cell.is_best else cell.sign or ' '}"


def terminal(board: Board) -> str:
    """Return the terminal tables as plain text."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=160, color_system=None)
    for view in (*rich_tables(board), *rich_pairs(board)):
        console.print(view)
    return out.getvalue()


def markdown(board: Board) -> str:
    """Return a table per benchmark in GitHub's Markdown."""
    parts = []
    for sheet in (*sheets(board, decimals=2, format="md"), *pair_sheets(board, decimals=2)):
        lines = [
            [f"{escaped(column.group)}: {column.title}" if column.group else column.title for column in sheet.columns],
            [":---" if column.is_text else "---:" for column in sheet.columns],
            *([_cell(cell) for cell in line] for line in sheet.lines),
            *([f"*{escaped(str(cell))}*" if str(cell) else "" for cell in line] for line in sheet.others),
        ]
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        notes = "\n".join(f"- {escaped(text)}" for text in sheet.below)
        parts.append(f"## {escaped(sheet.title)}\n\n{body}\n\n{notes}\n")
    return "\n".join(parts)


def _cell(cell: Number) -> str:
    return f"**{escaped(str(cell))}**" if cell.is_best else escaped(str(cell))


def escaped(text: str) -> str:
    """Return a text that Markdown prints as it is."""
    for mark in "\\|*_`<>[]#":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
