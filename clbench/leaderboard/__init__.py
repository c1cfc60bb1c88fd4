"""Leaderboards: from records to statistics and tables, as a data frame, a board and its exports."""

from clbench.leaderboard.board import Board, Table, board
from clbench.leaderboard.board_rows import Problem, Row
from clbench.leaderboard.columns import HEADLINE
from clbench.leaderboard.export import BINARY, FORMATS, content, render
from clbench.leaderboard.frame import frame
from clbench.leaderboard.summaries import Summary
from clbench.leaderboard.text_tables import rich_pairs, rich_tables

__all__ = [
    "BINARY",
    "FORMATS",
    "HEADLINE",
    "Board",
    "Problem",
    "Row",
    "Summary",
    "Table",
    "board",
    "content",
    "frame",
    "render",
    "rich_pairs",
    "rich_tables",
]
