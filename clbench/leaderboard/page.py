"""A leaderboard as one HTML page that works offline: styles, script and plots are embedded, nothing is fetched.

Strings from records reach the page only through the template, which escapes them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from itertools import groupby
from typing import Any

from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY, Measure
from clbench.core.public_names import public
from clbench.leaderboard.best_values import note as marks
from clbench.leaderboard.board import Board, Table
from clbench.leaderboard.board_rows import Row, group_problems
from clbench.leaderboard.numbers import NOTHING, amount, number
from clbench.leaderboard.sheets import Column, Sheet, legend, sheets
from clbench.metrics import get as get_metric
from clbench.strategies.expected_results import sentences

PLAIN = frozenset({"fraction", "score", "change", "number"})
"""Units of metrics that are left out after a range."""
SECTIONS = ("stream", "model", "training", "memory", "evaluation")


def page(board: Board) -> str:
    """Return the whole page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("clbench.leaderboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = [*board.shown, *(name for name in board.metrics if name not in board.shown)]
    tables = [_table(board, table, names, place) for place, table in enumerate(board.tables)]
    for table in tables:
        table["picture"] = Markup(table["picture"])  # matplotlib has escaped the labels in it
    measures = list(dict.fromkeys(table.measure for table in board.tables))
    metrics = [_metric(name, measures[0] if len(measures) == 1 else ACCURACY) for name in names]
    across = _across(board)
    return environment.get_template("page.html").render(
        tables=tables,
        metrics=metrics,
        across=across,
        across_groups=_groups(across.columns) if across else (),
        missing=NOTHING,
        score=measures[0].name if len(measures) == 1 else "score",
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _metric(name: str, measure: Measure) -> dict[str, Any]:
    metric = get_metric(name).under(measure)
    high = "∞" if math.isinf(metric.high) else f"{metric.high:g}"
    return {
        "name": name,
        "title": metric.title,
        "arrow": metric.arrow,
        "better": metric.better,
        "formula": metric.formula,
        "range": f"{metric.low:g} to {high}" + ("" if metric.unit in PLAIN else f" {metric.unit}"),
        "needs": metric.needs,
        "source": metric.source,
    }


def _across(board: Board) -> Sheet | None:
    """Return all benchmarks in one table, if the board is across them."""
    if not board.across or not board.tables:
        return None
    sheet = sheets(board, decimals=2)[0]
    return replace(sheet, legend=_capital(sheet.legend), marks=_capital(sheet.marks))


def _groups(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Return the groups of columns from left to right, each with its number of columns."""
    return [(group, len(list(found))) for group, found in groupby(columns, key=lambda column: column.group)]


def _table(board: Board, table: Table, names: Sequence[str], place: int) -> dict[str, Any]:
    return {
        "id": f"board-{place}",
        "benchmark": table.benchmark,
        "seeds": ", ".join(str(seed) for seed in table.seeds),
        "count": len(table.seeds),
        "notes": table.notes,
        "marks": _capital(marks(table.rows)),
        "legend": _capital(legend([table])),
        "ranked_by": table.measure.short,
        "metrics": [_metric(name, table.measure) for name in names],
        "settings": _settings(table),
        "rows": [_row(board, table, row, names) for row in table.rows],
        "expected": _expected(table),
        "costs": _costs(table),
        "environments": _environments(table),
        "cells": [(row.strategy, record) for row in table.rows for record in row.records],
        "picture": _picture(table, place),
    }


def _row(board: Board, table: Table, row: Row, names: Sequence[str]) -> dict[str, Any]:
    cells = []
    for name in names:
        summary, mark = row.metrics[name], row.marks.get(name, "")
        shown = number(
            summary,
            name,
            expected=len(row.finished),
            decimals=2 if board.decimals is None else board.decimals,
            exact=board.decimals is not None,
            measure=table.measure,
            mark=mark,
        )
        cells.append(
            {
                "mean": shown.main,
                "half": shown.half,
                "count": shown.count,
                "sort": "" if math.isnan(summary.mean) else f"{summary.mean:.9g}",
                "best": shown.is_best,
                "sign": shown.sign,
                "reason": summary.reason,
                "fraction": max(0.0, min(1.0, summary.mean)) if name == "acc" and summary.n else None,
            }
        )
    return {
        "rank": row.rank,
        "strategy": row.strategy,
        "engine": "" if row.engine == "clbench" else row.engine,
        "finished": len(row.finished),
        "complete": len(row.finished) == len(table.seeds),
        "cells": cells,
        "problems": group_problems(row.problems),
        "alarms": row.alarms,
    }


def _settings(table: Table) -> list[tuple[str, str]]:
    """Return section -> ``key value`` pairs of the benchmark, from the first cell."""
    cell = public(table.rows[0].records[0].cell)
    return [(section, _flat(cell[section])) for section in SECTIONS if isinstance(cell.get(section), Mapping)]


def _flat(settings: Mapping[str, Any]) -> str:
    pairs = []
    for key, value in settings.items():
        text = f"({_flat(value)})" if isinstance(value, Mapping) else str(value)
        pairs.append(f"{key} {text}")
    return ", ".join(pairs)


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
        (row.strategy, [amount(row.cost[name].mean) if name in row.cost else NOTHING for name in names])
        for row in table.rows
        if row.cost
    ]
    return {"names": [name.replace("_", " ") for name in names], "rows": rows}


def _environments(table: Table) -> list[tuple[int, list[tuple[str, str]]]]:
    """Return the distinct environments of the records, each with its number of cells."""
    found = Counter(
        tuple((name, str(value)) for name, value in sorted(record.environment.items()) if value not in ("", None))
        for row in table.rows
        for record in row.records
    )
    return [(count, list(items)) for items, count in found.most_common() if items]


def _picture(table: Table, place: int) -> str:
    """Return the plot of the stability gap as SVG for the page, in the colours of its theme; empty if no cell is
    finished."""
    from clbench import plots

    records = [record for row in table.rows for record in row.records]
    try:
        text = plots.svg(plots.stability_gap(records))
    except Refused:
        return ""
    text = text[text.index("<svg") :]
    text = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )
    for row in table.rows:
        if row.strategy != row.label:
            text = text.replace(f">{escape(row.label)}</text>", f">{escape(row.strategy)}</text>")
    # Ids are unique per plot; otherwise two plots on a page would share clip paths and markers.
    text = re.sub(r'(id="|url\(#|href="#)', rf"\1picture{place}-", text)
    theme = {plots.INK: "--ink", plots.MUTED: "--muted", plots.GRID: "--line"}
    theme |= {colour: f"--series-{i}" for i, colour in enumerate(plots.COLOURS)}
    for colour, variable in theme.items():
        text = text.replace(colour, f"var({variable})")
    return text.replace("#ffffff", "none").replace("'DejaVu Sans'", "system-ui, 'DejaVu Sans'")
