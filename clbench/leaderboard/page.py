"""A leaderboard as one HTML page that works offline: styles, script and plots are embedded, nothing is fetched.

Strings from records reach the page only through the template, which escapes them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from clbench.core.measure import ACCURACY, Measure
from clbench.core.shown_text import shown
from clbench.leaderboard.best_values import note as marks
from clbench.leaderboard.board import Board, Table
from clbench.leaderboard.board_columns import STRATEGY, columns_of, metric_of, standing_text
from clbench.leaderboard.board_rows import Row, group_problems
from clbench.leaderboard.column_type import Column, Context
from clbench.leaderboard.html_templates import template
from clbench.leaderboard.numbers import NOTHING, amount
from clbench.leaderboard.page_pictures import MOST, narrow_picture, wide_picture
from clbench.leaderboard.page_settings import environments, row_settings, shared_settings, stream_words
from clbench.leaderboard.pair_sheets import pair_sheets
from clbench.leaderboard.published_rows import published_note
from clbench.leaderboard.sheets import Heading, Sheet, legend, sheets
from clbench.leaderboard.summaries import Summary
from clbench.metrics import get as get_metric
from clbench.strategies.expected_results import sentences


def page(board: Board) -> str:
    """Return the whole page as text."""
    from markupsafe import Markup

    names = [*board.shown, *(name for name in board.metrics if name not in board.shown)]
    tables = [_table(board, table, names, place) for place, table in enumerate(board.tables)]
    for table in tables:
        for picture in ("wide", "narrow"):
            table[picture] = Markup(table[picture])  # matplotlib has escaped the labels in it
    measures = list(dict.fromkeys(table.measure for table in board.tables))
    metrics = [_metric(name, measures[0] if len(measures) == 1 else ACCURACY) for name in names]
    across = _across(board)
    return template("page.html", breakable=_breakable).render(
        tables=tables,
        metrics=metrics,
        across=across,
        across_groups=_groups(across.columns) if across else (),
        missing=NOTHING,
        score=measures[0].name if len(measures) == 1 else "score",
    )


def _breakable(text: str) -> Any:
    """Return a label, escaped, that may be broken after brackets, equals signs, underscores, colons and slashes."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(?<=[(\[=_:/])(?!$)", "<wbr>", str(escape(text))))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _metric(name: str, measure: Measure) -> dict[str, Any]:
    metric = get_metric(name).under(measure)
    return {
        "name": name,
        "title": metric.title,
        "arrow": metric.arrow,
        "better": metric.better,
        "formula": metric.formula,
        "range": metric.range.replace("to inf", "to ∞"),
        "needs": metric.needs,
        "source": metric.source,
    }


def _across(board: Board) -> Sheet | None:
    """Return all benchmarks in one table, if the board is across them."""
    if not board.across or not board.tables:
        return None
    sheet = sheets(board, decimals=2, format="html")[0]
    return replace(sheet, legend=_capital(sheet.legend), marks=_capital(sheet.marks))


def _groups(columns: Sequence[Heading]) -> list[tuple[str, int]]:
    """Return the groups of columns from left to right, each with its number of columns."""
    return [(group, len(list(found))) for group, found in groupby(columns, key=lambda column: column.group)]


def _table(board: Board, table: Table, names: Sequence[str], place: int) -> dict[str, Any]:
    return {
        "id": f"board-{place}",
        "benchmark": shown(table.benchmark, None),
        "seeds": ", ".join(str(seed) for seed in table.wanted),
        "count": len(table.wanted),
        "notes": table.notes,
        "marks": _capital(marks(table.rows)),
        "legend": _capital(legend([table])),
        "columns": [_column(column, table) for column in _columns(board, names)],
        "words": stream_words(table),
        "settings": shared_settings(table),
        "rows": [
            {**_row(board, table, row, names), "settings": own}
            for row, own in zip(table.rows, row_settings(table), strict=True)
        ],
        "published": _published(board, table, names),
        "published_notes": [_capital(text) for text in published_note(table.published, "in grey")],
        "expected": _expected(table),
        "costs": _costs(table),
        "environments": environments(record for row in table.rows for record in row.records),
        "cells": [(shown(row.strategy), record) for row in table.rows for record in row.records],
        "wide": wide_picture(table, place),
        "narrow": narrow_picture(table, place),
        "pairs": next(iter(pair_sheets(replace(board, tables=(table,), across=False), decimals=2)), None),
        "left_out": max(0, sum(bool(row.finished) for row in table.rows) - MOST),
    }


def _columns(board: Board, metrics: Sequence[str]) -> list[Column]:
    """Return the columns of the page: what stands before the strategy, the metrics, and the rest behind them, so that
    a narrow window shows results first. Columns that the user chose keep their order."""
    columns = columns_of(board, "html", metrics)
    if board.columns:
        return columns
    place = columns.index(STRATEGY) + 1
    return [*columns[:place], *sorted(columns[place:], key=lambda column: not metric_of(column.name))]


def _column(column: Column, table: Table) -> dict[str, Any]:
    name = metric_of(column.name)
    metric = get_metric(name).under(table.measure) if name else None
    told = (
        f"Rank by {get_metric(table.ranking.by).under(table.measure).title} over the reference seeds"
        if column.name == "rank"
        else _capital(column.help)
    )
    return {
        "name": column.name,
        "title": metric.title if metric else column.heading(table),
        "arrow": metric.arrow if metric else "",
        "better": metric.better if metric else "",
        "is_metric": metric is not None,
        "is_text": column.is_text,
        "first": "ascending" if column.ascending else "descending",
        "help": f"{metric.title}: {metric.formula} ({metric.better})" if metric else told,
    }


def _row(board: Board, table: Table, row: Row, metrics: Sequence[str]) -> dict[str, Any]:
    columns = _columns(board, metrics)
    context = Context(board, table, tuple(column.name for column in columns), 2, "html")
    return {
        "rank": row.rank,
        "strategy": shown(row.strategy),
        "engine": "" if row.engine == "clbench" else row.engine,
        "origin": row.settings_origin if board.has_tuned else "",
        "standing": "" if row.standing == "ranked" else standing_text(row),
        "cells": [_cell(column, context, row) for column in columns],
        "problems": group_problems(row.problems),
        "alarms": row.alarms,
    }


def _cell(column: Column, context: Context, row: Row) -> dict[str, Any]:
    """Return a cell as people read it, with the value by which its column is sorted."""
    number, value = column.text(context, row), column.value(context.table, row)
    summary = value if isinstance(value, Summary) else None
    order = summary.mean if summary else value
    if isinstance(order, float):
        order = "" if math.isnan(order) else f"{order:.9g}"
    return {
        "name": column.name,
        "is_text": column.is_text,
        "mean": number.main,
        "half": number.half,
        "count": number.count if summary else "",
        "sort": order if isinstance(order, str | int) else "" if order is None else number.main,
        "best": number.is_best,
        "sign": number.sign,
        "reason": summary.reason if summary else "",
        "fraction": max(0.0, min(1.0, summary.mean)) if column.name == "acc" and summary and summary.n else None,
    }


def _published(board: Board, table: Table, names: Sequence[str]) -> list[list[tuple[bool, str]]]:
    """Return the published lines: for each column whether it holds the name of the method, and the text."""
    columns = _columns(board, names)
    places = 2 if board.decimals is None else board.decimals
    return [
        [(column.name == STRATEGY.name, str(row.text(column, places, table.measure))) for column in columns]
        for row in table.published
    ]


def _expected(table: Table) -> list[tuple[str, str]]:
    """Return the expected results of each recipe in the table, for a stream of this kind."""
    pairs = [
        pair for row in table.rows for pair in sentences(row.records[0].cell["strategy"], row.records[0].cell["stream"])
    ]
    return list(dict.fromkeys(pairs))


def _costs(table: Table) -> dict[str, Any]:
    """Return the mean cost of each strategy over its finished seeds, as text."""
    names = list(dict.fromkeys(name for row in table.rows for name in row.cost))
    rows = [
        (shown(row.strategy), [amount(row.cost[name].mean) if name in row.cost else NOTHING for name in names])
        for row in table.rows
        if row.cost
    ]
    return {"names": [shown(name.replace("_", " ")) for name in names], "rows": rows}
