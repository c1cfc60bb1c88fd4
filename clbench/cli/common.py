"""Print tables, write files and describe streams for all commands, without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clbench.core.shown_text import pictured

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from clbench.leaderboard import Board

PIPED_WIDTH = 160
"""The width in columns if the output is not a terminal and ``COLUMNS`` is not set."""


def make_console() -> Console:
    """Return a console on standard output that prints texts without markup, and control characters as pictures."""
    from clbench.running.text_console import TextConsole

    console = TextConsole(soft_wrap=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_WIDTH
    return console


def pairs(items: Mapping[str, Any]) -> Table:
    """Return a table with labels on the left and values on the right."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in items.items():
        grid.add_row(
            Text(pictured(label), style="dim"), value if isinstance(value, Text) else Text(pictured(str(value)))
        )
    return grid


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 cell``, ``5 cells``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def print_board(console: Console, board: Board, *, chosen: bool = False) -> None:
    """Print the tables of a leaderboard; unless the metrics were ``chosen``, only the columns that fit the terminal."""
    from dataclasses import replace

    from rich.measure import Measurement

    from clbench.leaderboard import rich_pairs, rich_tables

    shown, views = board.shown, rich_tables(board)
    for room in range(len(board.shown), 0, -1):
        shown = board.shown[:room]
        views = rich_tables(replace(board, shown=shown))
        if chosen or all(
            Measurement.get(console, console.options.update(max_width=1000), view.table).maximum <= console.width
            for view in views
        ):
            break
    for view in views:
        console.print(view)
    for view in rich_pairs(board):
        console.print(view)
    if shown != board.shown:
        hidden = ", ".join(board.shown[len(shown) :])
        told = f"no room for the columns {hidden}; the leaderboard files have them, and --metrics chooses columns"
        console.print(told, style="dim")


def write_file(path: Path, content: bytes) -> None:
    """Write a result file atomically.

    Raises:
        Refused: The file cannot be written.
    """
    from clbench.core import store

    store.write_or_refuse(path, content)


def picture(figure: Any, path: Path) -> None:
    """Write a figure atomically, in the format of the path's suffix.

    Raises:
        Refused: The file, or a temporary file before it, cannot be written.
    """
    import tempfile

    from clbench import plots
    from clbench.core.errors import Refused

    try:
        with tempfile.TemporaryDirectory() as folder:
            content = plots.save(figure, Path(folder) / path.name).read_bytes()
    except OSError as error:
        raise Refused(
            f"{path} cannot be written: {error.strerror or error}; make room in the folder for temporary files, or "
            "choose another with the variable TMPDIR"
        ) from None
    write_file(path, content)


def describe_stream(config: Mapping[str, Any], seed: int, data_dir: str | None) -> dict[str, str]:
    """Describe the stream of a canonical ``stream`` section as label -> text, without downloading anything.

    Raises:
        Refused: The data is damaged or not available, or the stream is impossible with it.
    """
    from clbench import scenarios
    from clbench.data.roots import Missing, data_root, may_download, offline
    from clbench.running.plan import make_stream

    allowed = may_download()
    try:
        with offline():
            return scenarios.describe(make_stream(config, seed, data_dir=data_dir))
    except Missing:
        if not allowed:
            raise
        name, where = config["dataset"]["name"], data_root(data_dir)
        return {"stream": f"not described yet: {name} is not in {where}; a run downloads it to this folder"}
