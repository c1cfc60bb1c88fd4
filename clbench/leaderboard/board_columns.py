"""The columns of a leaderboard. All formats walk this list, so a new statistic is one entry in it.

A format for people shows the text of a column. A file for programs holds its value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from clbench.core.shown_text import MOST, shown
from clbench.leaderboard.board_rows import Row, count_problems, coverage
from clbench.leaderboard.column_type import (
    ABSENT,
    COST,
    FLAT,
    MACHINES,
    PEOPLE,
    Column,
    Context,
    cost_column,
    metric_column,
    only,
    titled,
)
from clbench.leaderboard.numbers import NOTHING, Number
from clbench.leaderboard.settings_origin import is_tuned

if TYPE_CHECKING:
    from clbench.leaderboard.board import Board

METRIC = "metric_"
"""Beginning of the name of the column of a metric that is called like another column."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _strategy(context: Context, row: Row) -> Number:
    fewer = row.covered[0] < row.covered[1] and "seeds" not in context.names
    count = f"(n={len(row.finished)})" * fewer
    letter = group_letter(row.group) if context.format == "latex" else ""
    return Number(shown(row.strategy), count=count, raised=letter)


def group_letter(group: int | None) -> str:
    """Return ``a`` for the first group, ``aa`` for the 27th; empty for none."""
    letters = ""
    while group:
        group, place = divmod(group - 1, len(LETTERS))
        letters = LETTERS[place] + letters
    return letters


def _has_groups(board: Board, format: str) -> bool:
    """Return whether a format has a column for groups: not LaTeX, where letters stand beside the labels."""
    return format in MACHINES or (
        format != "latex" and any(row.group is not None for table in board.tables for row in table.rows)
    )


def _has_settings(board: Board, format: str) -> bool:
    """Return whether a format says how settings were found: if a search found any, or the user asked for it."""
    return format not in ("html", "flat across") and (board.has_tuned or "settings" in (board.columns or ()))


def standing_text(row: Row) -> str:
    """Return ``10/10``, the reference seeds that a row has, or ``incomplete 1/10`` with its standing below the ranked
    rows."""
    return coverage(row) if row.standing == "ranked" else f"{row.standing} {coverage(row)}"


def _cells(row: Row) -> list[dict[str, Any]]:
    return [{"seed": r.seed, "status": r.status, "key": r.key, "fingerprint": r.fingerprint} for r in row.records]


COLUMNS: list[Column] = [
    Column(
        "benchmark",
        titled("Benchmark"),
        lambda context, _: Number(shown(context.table.benchmark, None)),
        lambda table, _: table.benchmark,
        "the benchmark with its version, and what differs from the file of that version",
        is_text=True,
        shown_in=only(*FLAT),
    ),
    Column(
        "rank",
        titled("#"),
        lambda _, row: Number(str(row.rank or NOTHING)),
        lambda _, row: row.rank,
        "1 is best, and ties share a rank; rows without all reference seeds have none. It depends on the other rows",
        ascending=True,
        shown_in=lambda _, format: format != "latex",
    ),
    Column(
        "group",
        titled("Group"),
        lambda _, row: Number(str(row.group or NOTHING)),
        lambda _, row: row.group,
        "rows of one group are not separated from its best row, by the paired t test with Holm's correction. It "
        "depends on the other rows",
        ascending=True,
        shown_in=_has_groups,
    ),
    Column(
        "strategy",
        titled("Strategy"),
        _strategy,
        lambda _, row: row.strategy,
        "the strategy's label, or the name that the user gave it",
        is_text=True,
        most=MOST,
        ascending=True,
        shown_in=lambda _, format: format != "flat across",
    ),
    Column(
        "label",
        titled("Label"),
        lambda _, row: Number(shown(row.label)),
        lambda _, row: ABSENT if row.label == row.strategy else row.label,
        "the strategy's label, if the user gave it another name",
        is_text=True,
        most=MOST,
        shown_in=only("json"),
    ),
    Column(
        "engine",
        titled("Run by"),
        lambda _, row: Number(shown(row.engine)),
        lambda _, row: row.engine,
        "whose training loop ran it",
        is_text=True,
        most=MOST,
        shown_in=lambda board, format: (
            format in (*FLAT, "json") or (format in ("table", "md", "latex", "notebook") and board.has_other_engines)
        ),
    ),
    Column(
        "settings",
        titled("Settings"),
        lambda _, row: Number(shown(row.settings_origin)),
        lambda _, row: row.settings_origin,
        "how its settings were found: default, given, or by a search",
        is_text=True,
        shown_in=_has_settings,
    ),
    Column(
        "tuning",
        titled("Tuning"),
        lambda _, row: Number(shown(row.settings_origin)),
        lambda _, row: row.records[0].tuning if is_tuned(row.records) else ABSENT,
        "the search that found its settings",
        is_text=True,
        shown_in=lambda board, format: format == "json" and _has_settings(board, format),
    ),
    Column(
        "standing",
        titled("Standing"),
        lambda _, row: Number(row.standing),
        lambda _, row: row.standing,
        "ranked, or why it is not: incomplete, over budget, no result",
        is_text=True,
        shown_in=only(*MACHINES),
    ),
    Column(
        "seeds",
        titled("Seeds"),
        lambda _, row: Number(standing_text(row)),
        lambda _, row: row.covered[1],
        "how many reference seeds it has finished, of how many",
        shown_in=only("table", "md", "html", "notebook", *FLAT),
    ),
    Column(
        "finished",
        titled("Finished"),
        lambda _, row: Number(str(len(row.finished))),
        lambda _, row: len(row.finished),
        "the number of its finished seeds",
        shown_in=only(*FLAT, "flat across"),
    ),
    Column(
        "finished_seeds",
        titled("Finished seeds"),
        lambda _, row: Number(", ".join(map(str, row.finished)) or NOTHING),
        lambda _, row: row.finished,
        "its finished seeds",
        shown_in=only("json"),
    ),
    Column(
        "reference_seeds_covered",
        titled("Reference seeds"),
        lambda _, row: Number(str(row.covered[0])),
        lambda _, row: row.covered[0],
        "the number of the table's reference seeds that it has finished",
        shown_in=only("json"),
    ),
    Column(
        "mean_over_reference_seeds",
        titled("Mean over reference seeds"),
        lambda _, row: Number(NOTHING if row.ranking != row.ranking else f"{row.ranking:.4g}"),
        lambda _, row: row.ranking,
        "the mean that determines its rank",
        shown_in=only("json"),
    ),
    Column(
        "looks",
        titled("Evaluations"),
        lambda _, row: Number(shown(row.looks, None)),
        lambda _, row: row.looks,
        "when its cells were evaluated, and on how many samples",
        is_text=True,
        is_last=True,
        shown_in=only(*FLAT, "json"),
    ),
    Column(
        "problems",
        titled("Without a result"),
        lambda _, row: Number(shown(count_problems(row.problems), None)),
        lambda _, row: row.problems,
        "its cells without a result",
        is_text=True,
        is_last=True,
        shown_in=only(*FLAT, "json"),
    ),
    Column(
        "recipe",
        titled("Recipe"),
        lambda _, row: Number(shown(row.recipe, None)),
        lambda _, row: row.recipe,
        "the strategy with all parameters that differ from their defaults",
        is_text=True,
        is_last=True,
        shown_in=only(*FLAT, "json"),
    ),
    Column(
        "versions",
        titled("Versions"),
        lambda _, row: Number(shown(row.versions, None)),
        lambda _, row: row.versions,
        "the versions of clbench and torch that ran its cells",
        is_text=True,
        is_last=True,
        shown_in=only(*FLAT, "json"),
    ),
    Column(
        "alarms",
        titled("Alarms"),
        lambda _, row: Number(shown("; ".join(row.alarms), None)),
        lambda _, row: row.alarms,
        "results that look wrong although nothing failed",
        is_text=True,
        is_last=True,
        shown_in=only("json"),
    ),
    Column(
        "cells",
        titled("Cells"),
        lambda _, row: Number(str(len(row.records))),
        lambda _, row: _cells(row),
        "its cells with their keys, and the fingerprints of their streams",
        is_last=True,
        shown_in=only("json"),
    ),
]
"""All columns but those of metrics and costs, from left to right."""


def names() -> tuple[str, ...]:
    """Return the names of all columns but those of metrics and costs."""
    return tuple(column.name for column in COLUMNS)


def metric_of(name: str) -> str:
    """Return the metric of a column; empty if it holds none. A metric that is called like another column, such as
    ``rank``, has the column ``metric_rank``."""
    own = name.removeprefix(METRIC)
    if own in names():
        return "" if own == name else own
    return "" if name.startswith(COST) else name


def column(name: str) -> Column:
    """Return the column of a name: one of the list, a metric, or ``cost_`` and an entry of the records' cost."""
    found = next((each for each in COLUMNS if each.name == name), None)
    if found is not None:
        return found
    return cost_column(name) if name.startswith(COST) else of_metric(metric_of(name))


def of_metric(name: str) -> Column:
    """Return the column of a metric."""
    made = metric_column(name)
    return replace(made, name=f"{METRIC}{name}") if name in names() else made


STRATEGY = column("strategy")


def columns_of(board: Board, format: str, metrics: Iterable[str]) -> list[Column]:
    """Return the columns that a format shows, from left to right.

    Args:
        board: The leaderboard. A format for people shows the columns that the user chose, if there are any; a file for
            programs holds the chosen costs besides its usual columns.
        format: The format.
        metrics: The metrics that it shows.
    """
    if board.columns and format in PEOPLE:
        return [column(name) for name in board.columns]
    costs = [name for name in board.columns or () if name.startswith(COST)]
    usual = [each for each in COLUMNS if each.shown_in(board, format)]
    return [
        *(each for each in usual if not each.is_last),
        *map(of_metric, metrics),
        *map(column, costs),
        *(each for each in usual if each.is_last),
    ]
