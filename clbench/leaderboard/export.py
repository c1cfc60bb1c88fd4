"""The formats of a leaderboard: terminal table, Markdown, CSV, JSON, Parquet, LaTeX and HTML.

Formats for people (table, Markdown, LaTeX, HTML) show percent; files for programs (CSV, JSON, Parquet) fractions.
"""

from __future__ import annotations

from collections.abc import Callable

from clbench.core.errors import Refused, did_you_mean
from clbench.leaderboard.board import Board
from clbench.leaderboard.data_files import comma_separated, json_text, parquet
from clbench.leaderboard.latex_table import latex
from clbench.leaderboard.text_tables import markdown, terminal


def render(board: Board, format: str) -> str:
    """Return a leaderboard as text in one of :data:`FORMATS`.

    Raises:
        Refused: The format is unknown or no text, or does not suit the board's choices.
    """
    if format in BINARY:
        raise Refused(f"format {format} is no text; write it to a file, as `clbench board DIR -o FILE.{format}` does")
    if format not in FORMATS:
        raise Refused(f"there is no board format {format!r}; {did_you_mean(format, [*FORMATS, *BINARY])}")
    return FORMATS[format](board)


def content(board: Board, format: str) -> bytes:
    """Return the content of a file with a leaderboard, in one of :data:`FORMATS` or :data:`BINARY`.

    Raises:
        Refused: The format is unknown, or does not suit the board's choices.
    """
    return BINARY[format](board) if format in BINARY else render(board, format).encode()


def html(board: Board) -> str:
    """Return one self-contained HTML page; see :mod:`clbench.leaderboard.page`."""
    from clbench.leaderboard.page import page

    return page(board)


FORMATS: dict[str, Callable[[Board], str]] = {
    "table": terminal,
    "md": markdown,
    "csv": comma_separated,
    "json": json_text,
    "latex": latex,
    "html": html,
}
"""Map a format to a function from a board to its text."""
BINARY: dict[str, Callable[[Board], bytes]] = {"parquet": parquet}
"""Map a format that is no text to a function from a board to the content of its file."""
