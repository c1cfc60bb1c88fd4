"""Leaderboards as files for programs: CSV and JSON. They contain fractions in full."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY
from clbench.leaderboard.board import Board
from clbench.leaderboard.board_rows import Row, count_problems
from clbench.leaderboard.columns import COST
from clbench.leaderboard.pair_sheets import plain_pair
from clbench.leaderboard.pooled_pairs import plain_pool
from clbench.leaderboard.settings_origin import is_tuned
from clbench.leaderboard.summaries import Summary


def comma_separated(board: Board) -> str:
    """Return a line per strategy and benchmark, or per strategy if the board is across benchmarks.

    Each metric has columns for mean, half-width, number of seeds, and the seeds' values with spaces between them.
    """
    _refuse_decimals(board)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if board.across:
        _write_across(writer, board)
        return out.getvalue()
    columns = [column for name in _named(board) for column in _columns(name)]
    origin = ["settings"] * _has_settings(board)
    lead = ["benchmark", "rank", "strategy", "engine", *origin, "seeds", "finished"]
    writer.writerow([*lead, *columns, "looks", "problems", "recipe", "versions"])
    for table in board.tables:
        for row in table.rows:
            first = [plain(table.benchmark), row.rank or "", plain(row.strategy), plain(row.engine)]
            first += [plain(row.settings_origin)] * _has_settings(board)
            last = [row.looks, count_problems(row.problems), plain(row.recipe), row.versions]
            writer.writerow([*first, len(table.wanted), len(row.finished), *_values(board, row), *last])
    return out.getvalue()


def _has_settings(board: Board) -> bool:
    """Return whether a file says how settings were found: if a search found any, or the user asked for it."""
    return board.has_tuned or "settings" in (board.columns or ())


def _write_across(writer: Any, board: Board) -> None:
    """Write a line per strategy, with the columns of each benchmark under its name."""
    own = ["rank", "finished", *(column for name in _named(board) for column in _columns(name))]
    writer.writerow(["strategy", *(f"{table.benchmark}: {column}" for table in board.tables for column in own)])
    for name in board.names:
        line: list[Any] = [plain(name)]
        for table in board.tables:
            row = table.row(name)
            line += [row.rank or "", len(row.finished), *_values(board, row)] if row else [""] * len(own)
        writer.writerow(line)


def _named(board: Board) -> list[str]:
    """Return the metrics, and the costs among the columns that the user chose."""
    return [*board.metrics, *(name for name in board.columns or () if name.startswith(COST))]


def _columns(name: str) -> tuple[str, ...]:
    return name, f"{name}_half", f"{name}_n", f"{name}_values"


def _values(board: Board, row: Row) -> list[Any]:
    values: list[Any] = []
    for name in _named(board):
        missing = Summary(math.nan, math.nan, 0)
        found = row.cost.get(name.removeprefix(COST), missing) if name.startswith(COST) else row.metrics[name]
        every = " ".join(map(repr, found.values.values()))
        values += [_or(found.mean, ""), _or(found.half, ""), found.n, every]
    return values


def plain(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: an apostrophe stands before ``=``, ``+``, ``-`` and
    ``@``."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _or(value: float, otherwise: Any) -> Any:
    return otherwise if math.isnan(value) else value


def _refuse_decimals(board: Board) -> None:
    if board.decimals is not None:
        raise Refused("csv and json hold numbers in full; leave out --decimals, or choose another format")


def json_text(board: Board) -> str:
    """Return the whole leaderboard as JSON, without traces. A missing value is null, with its reason; there is no
    NaN."""
    _refuse_decimals(board)
    if board.across:
        raise Refused("json holds one table per benchmark; leave out --across, or choose another format")
    tables = [
        {
            "benchmark": table.benchmark,
            **({} if table.measure == ACCURACY else {"measure": table.measure.name}),
            "seeds": table.seeds,
            "reference_seeds": table.reference,
            "notes": table.notes,
            **({"pairs": [plain_pair(pair) for pair in table.pairs]} if board.with_pairs else {}),
            "rows": [{**_json_row(row), **(_origin(row) if _has_settings(board) else {})} for row in table.rows],
        }
        for table in board.tables
    ]
    content: dict[str, Any] = {"ranked_by": board.ranked_by, "metrics": board.metrics, "tables": tables}
    if board.with_pairs and len(board.tables) > 1:
        content["pooled"] = plain_pool(board)
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _json_row(row: Row) -> dict[str, Any]:
    return {
        "strategy": row.strategy,
        **({} if row.label == row.strategy else {"label": row.label}),
        "engine": row.engine,
        "rank": row.rank,
        "mean_over_reference_seeds": _or(row.ranking, None),
        "standing": row.standing,
        "group": row.group,
        "reference_seeds_covered": row.covered[0],
        "finished_seeds": row.finished,
        "looks": row.looks,
        "recipe": row.recipe,
        "versions": row.versions,
        "metrics": {name: _json_summary(summary, row.marks.get(name, "")) for name, summary in row.metrics.items()},
        "cost": {name: _json_summary(summary) for name, summary in row.cost.items()},
        "problems": [vars(problem) for problem in row.problems],
        "alarms": row.alarms,
        "cells": [
            {"seed": r.seed, "status": r.status, "key": r.key, "fingerprint": r.fingerprint} for r in row.records
        ],
    }


def _origin(row: Row) -> dict[str, Any]:
    return {"settings": row.settings_origin, **({"tuning": row.records[0].tuning} if is_tuned(row.records) else {})}


def _json_summary(summary: Summary, mark: str = "") -> dict[str, Any]:
    shown: dict[str, Any] = {"mean": _or(summary.mean, None), "half": _or(summary.half, None), "n": summary.n}
    if summary.values:
        shown["values"] = {str(seed): value for seed, value in summary.values.items()}
    if mark:
        shown["mark"] = mark
    return {**shown, "reason": summary.reason} if summary.reason else shown
