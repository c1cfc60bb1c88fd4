"""Leaderboards: from records to statistics and tables, as a data frame, a board and its exports."""

from clbench.leaderboard.board import Board, Problem, Row, Table, board
from clbench.leaderboard.columns import HEADLINE
from clbench.leaderboard.export import FORMATS, render, rich_tables
from clbench.leaderboard.frame import frame
from clbench.leaderboard.summaries import Summary

__all__ = [
    "FORMATS",
    "HEADLINE",
    "Board",
    "Problem",
    "Row",
    "Summary",
    "Table",
    "board",
    "frame",
    "render",
    "rich_tables",
]
