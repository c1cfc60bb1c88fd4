"""Leaderboards as text: terminal table, Markdown, CSV, JSON and LaTeX; HTML has a module of its own.

Formats for people (table, Markdown, LaTeX, HTML) show percent; files for programs (CSV, JSON) contain fractions.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from clbench.core.errors import Refused, did_you_mean
from clbench.core.measure import ACCURACY, Measure
from clbench.leaderboard.board import Board, Row, Table, count_problems, group_problems
from clbench.leaderboard.numbers import NOTHING, number
from clbench.leaderboard.summaries import Summary
from clbench.metrics import get as get_metric
from clbench.metrics.interval import SEEDS_FOR_INTERVAL

if TYPE_CHECKING:
    from rich.table import Table as RichTable


def render(board: Board, format: str) -> str:
    """Return a leaderboard as text in one of :data:`FORMATS`.

    Raises:
        Refused: The format is unknown.
    """
    if format not in FORMATS:
        raise Refused(f"there is no board format {format!r}; {did_you_mean(format, FORMATS)}")
    return FORMATS[format](board)


def heading(name: str, measure: Measure = ACCURACY) -> str:
    """Return the title of a metric with its better direction, if there is one: ``ACC ↑``."""
    metric = get_metric(name).under(measure)
    return f"{metric.title} {metric.arrow}".rstrip()


def cells(board: Board, table: Table, *, decimals: int = 2) -> list[list[str]]:
    """Return the body of a table as text: rank, strategy, finished seeds of all seeds, and the metrics.

    If the loop of another library ran any row, a column names the loop.
    """
    return [
        [
            str(row.rank or NOTHING),
            row.strategy,
            *([row.engine] if board.has_other_engines else []),
            f"{len(row.finished)}/{len(table.seeds)}",
            *(
                number(
                    row.metrics[name], name, expected=len(row.finished), decimals=decimals, measure=table.measure
                )
                for name in board.shown
            ),
        ]
        for row in table.rows
    ]  # fmt: skip


def footnotes(table: Table) -> list[str]:
    """Return the table's notes, the reasons for missing cells, and the alarms, one sentence each."""
    lines = list(table.notes)
    for row in table.rows:
        lines += [f"{row.strategy}: {text}" for text in group_problems(row.problems)]
        lines += [f"{row.strategy}: alarm: {text}" for text in row.alarms]
    return lines


def _header(board: Board, table: Table) -> list[str]:
    return [
        "#",
        "Strategy",
        *(["Run by"] if board.has_other_engines else []),
        "Seeds",
        *(heading(name, table.measure) for name in board.shown),
    ]


def _left(board: Board) -> tuple[int, ...]:
    """Return the columns of text; all others are numbers."""
    return (1, 2) if board.has_other_engines else (1,)


def legend(table: Table) -> str:
    """Return what a reader has to know of the numbers of a table."""
    counts = {len(row.finished) for row in table.rows if row.finished} or {len(table.seeds)}
    interval = "mean ± half-width of the 95 % Student-t interval over seeds"
    few = max(counts) < SEEDS_FOR_INTERVAL
    values = "the value of each seed; intervals are shown from three seeds on"
    mixed = f"{interval}; with fewer than three seeds, the value of each seed"
    told = values if few else interval if min(counts) >= SEEDS_FOR_INTERVAL else mixed
    return f"{told}; {table.measure.legend or table.measure.name}"


# --------------------------------------------------------------------------------------------------- for people


def rich_tables(board: Board) -> list[RichTable]:
    """Return a table per benchmark for the terminal, with its notes below."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    tables = []
    for table in board.tables:
        caption = Text("\n".join([legend(table), *footnotes(table)]), style="dim", justify="left")
        title = Text(table.benchmark, style="bold")
        view = RichTable(
            title=title, title_justify="left", caption=caption, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1)
        )
        for position, words in enumerate(_header(board, table)):
            view.add_column(Text(words), justify="left" if position in _left(board) else "right", overflow="fold")
        for row, texts in zip(table.rows, cells(board, table, decimals=1), strict=True):
            style = "bold" if row.rank == 1 else "dim" if row.rank is None else ""
            view.add_row(*(Text(text, style=style) for text in texts))
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
    for table in board.tables:
        align = [":---" if place in _left(board) else "---:" for place in range(len(_header(board, table)))]
        lines = [
            _header(board, table),
            align,
            *([_escape_markdown(text) for text in texts] for texts in cells(board, table)),
        ]
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        notes = "\n".join(f"- {_escape_markdown(text)}" for text in [legend(table), *footnotes(table)])
        parts.append(f"## {_escape_markdown(table.benchmark)}\n\n{body}\n\n{notes}\n")
    return "\n".join(parts)


def _escape_markdown(text: str) -> str:
    for mark in "\\|*_`<>[]#":
        text = text.replace(mark, "\\" + mark)
    return " ".join(text.split())


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "—": "---", "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}  # fmt: skip


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def latex(board: Board) -> str:
    """Return a booktabs table per benchmark; it needs ``\\usepackage{booktabs}``."""
    parts = []
    for table in board.tables:
        lines = [" & ".join(_escape_latex(text) for text in texts) + r" \\" for texts in cells(board, table)]
        caption = "; ".join([f"{table.benchmark}: {legend(table)}", *footnotes(table)])
        parts.append(
            "\\begin{table}\n\\centering\n"
            f"\\begin{{tabular}}{{r{'l' * len(_left(board))}r{'r' * len(board.shown)}}}\n\\toprule\n"
            + " & ".join(_escape_latex(text) for text in _header(board, table))
            + " \\\\\n\\midrule\n"
            + "\n".join(lines)
            + f"\n\\bottomrule\n\\end{{tabular}}\n\\caption{{{_escape_latex(caption)}.}}\n\\end{{table}}\n"
        )
    return "\n".join(parts)


# --------------------------------------------------------------------------------------------------- for programs


def comma_separated(board: Board) -> str:
    """Return a line per strategy and benchmark; each metric has columns for mean, half-width, number of
    seeds, and the seeds' values with spaces between them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = [column for name in board.metrics for column in (name, f"{name}_half", f"{name}_n", f"{name}_values")]
    writer.writerow(
        [
            "benchmark",
            "rank",
            "strategy",
            "engine",
            "seeds",
            "finished",
            *columns,
            "looks",
            "problems",
            "recipe",
            "versions",
        ]
    )
    for table in board.tables:
        for row in table.rows:
            values: list[Any] = []
            for name in board.metrics:
                summary = row.metrics[name]
                values += [
                    _or(summary.mean, ""),
                    _or(summary.half, ""),
                    summary.n,
                    " ".join(map(repr, summary.values.values())),
                ]
            lead = [table.benchmark, row.rank or "", row.strategy, row.engine, len(table.seeds), len(row.finished)]
            tail = [row.looks, count_problems(row.problems), row.recipe, row.versions]
            writer.writerow([*lead, *values, *tail])
    return out.getvalue()


def _or(value: float, otherwise: Any) -> Any:
    return otherwise if math.isnan(value) else value


def json_text(board: Board) -> str:
    """Return the whole leaderboard as JSON, without traces. A missing value is null, with its reason; there is no
    NaN."""
    tables = [
        {
            "benchmark": table.benchmark,
            **({} if table.measure == ACCURACY else {"measure": table.measure.name}),
            "seeds": table.seeds,
            "common_seeds": table.common,
            "notes": table.notes,
            "rows": [_json_row(row) for row in table.rows],
        }
        for table in board.tables
    ]
    content = {"ranked_by": "acc", "metrics": board.metrics, "tables": tables}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _json_row(row: Row) -> dict[str, Any]:
    return {
        "strategy": row.strategy,
        "engine": row.engine,
        "rank": row.rank,
        "acc_over_common_seeds": _or(row.ranking, None),
        "finished_seeds": row.finished,
        "looks": row.looks,
        "recipe": row.recipe,
        "versions": row.versions,
        "metrics": {name: _json_summary(summary) for name, summary in row.metrics.items()},
        "cost": {name: _json_summary(summary) for name, summary in row.cost.items()},
        "problems": [vars(problem) for problem in row.problems],
        "alarms": row.alarms,
        "cells": [
            {"seed": r.seed, "status": r.status, "key": r.key, "fingerprint": r.fingerprint} for r in row.records
        ],
    }


def _json_summary(summary: Summary) -> dict[str, Any]:
    shown = {"mean": _or(summary.mean, None), "half": _or(summary.half, None), "n": summary.n}
    if summary.values:
        shown["values"] = {str(seed): value for seed, value in summary.values.items()}
    return {**shown, "reason": summary.reason} if summary.reason else shown


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
