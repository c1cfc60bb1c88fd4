"""Leaderboards for people to read as text: tables for the terminal, and Markdown."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from clbench.leaderboard.board import Board
from clbench.leaderboard.numbers import Number
from clbench.leaderboard.sheets import sheets

if TYPE_CHECKING:
    from rich.table import Table as RichTable


def rich_tables(board: Board) -> list[RichTable]:
    """Return a table per benchmark for the terminal, with its notes below."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    tables = []
    for sheet in sheets(board, decimals=1):
        caption = Text("\n".join(sheet.below), style="dim", justify="left")
        title = Text(sheet.title, style="bold")
        view = RichTable(
            title=title, title_justify="left", caption=caption, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1)
        )
        for column in sheet.columns:
            words = f"{column.group}\n{column.title}" if column.group else column.title
            view.add_column(Text(words), justify="left" if column.is_text else "right", overflow="fold")
        for rank, line in zip(sheet.ranks, sheet.lines, strict=True):
            dim = "dim" if rank is None else ""
            view.add_row(*(Text(str(cell), style="bold" if cell.is_best else dim) for cell in line))
        tables.append(view)
    return tables


def terminal(board: Board) -> str:
    """Return the terminal tables as plain text."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=160, color_system=None)
    for view in rich_tables(board):
        console.print(view)
    return out.getvalue()


def markdown(board: Board) -> str:
    """Return a table per benchmark in GitHub's Markdown."""
    parts = []
    for sheet in sheets(board, decimals=2):
        lines = [
            [_escape(column.full_title) for column in sheet.columns],
            [":---" if column.is_text else "---:" for column in sheet.columns],
            *([_cell(cell) for cell in line] for line in sheet.lines),
        ]
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        notes = "\n".join(f"- {_escape(text)}" for text in sheet.below)
        parts.append(f"## {_escape(sheet.title)}\n\n{body}\n\n{notes}\n")
    return "\n".join(parts)


def _cell(cell: Number) -> str:
    return f"**{_escape(str(cell))}**" if cell.is_best else _escape(str(cell))


def _escape(text: str) -> str:
    for mark in "\\|*_`<>[]#":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())
