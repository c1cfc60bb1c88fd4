"""Leaderboards as files for programs: CSV, Parquet and JSON. They contain fractions in full.

JSON and Parquet hold texts as they are in records. CSV is opened in spreadsheets and printed, so its texts are shown.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY
from clbench.core.shown_text import is_unseen, shown
from clbench.leaderboard.board import Board, Table
from clbench.leaderboard.board_columns import STRATEGY, columns_of
from clbench.leaderboard.board_rows import Problem, Row, count_problems
from clbench.leaderboard.column_type import ABSENT, COST, Column
from clbench.leaderboard.pair_sheets import plain_pair
from clbench.leaderboard.pooled_pairs import plain_pool
from clbench.leaderboard.published_rows import PublishedRow
from clbench.leaderboard.summaries import Summary

FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
"""The first letters of a formula in spreadsheets, also as they are written in East Asia."""
Field = tuple[str, Any]
"""The name of a column of a file, and a value."""


def comma_separated(board: Board) -> str:
    """Return a line per strategy and benchmark, or per strategy if the board is across benchmarks.

    Each metric has columns for mean, half-width, number of seeds, and the seeds' values with spaces between them.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    lines = _lines(board, "csv")
    writer.writerow(plain(name) for name in _names(lines))
    writer.writerows([_comma_separated(value) for _, value in line] for line in lines)
    return out.getvalue()


def _comma_separated(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    return " ".join(map(repr, value)) if isinstance(value, tuple) else "" if value is None else value


def parquet(board: Board) -> bytes:
    """Return the columns of :func:`comma_separated` as a Parquet file, with the values of seeds as lists."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = _lines(board, "parquet")
    columns = {name: [line[place][1] for line in lines] for place, name in enumerate(_names(lines))}
    out = io.BytesIO()
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), out)
    return out.getvalue()


def _lines(board: Board, format: str) -> list[list[Field]]:
    """Return the lines of a file, each with all its columns."""
    refuse_decimals(board)
    if board.with_pairs:
        return list(_lines_of_pairs(board, format))
    if board.across:
        return list(_lines_across(board, format))
    columns = columns_of(board, format, board.metrics)
    return [
        [field for column in columns for field in _fields(column, table, row, format)]
        for table in board.tables
        for row in table.rows
    ]


def _lines_across(board: Board, format: str) -> Iterator[list[Field]]:
    """Yield a line per strategy, with the columns of each benchmark under its name."""
    columns = columns_of(board, "flat across", board.metrics)
    own = {table.benchmark: [_fields(each, table, table.rows[0], format) for each in columns] for table in board.tables}
    for name in board.names:
        line: list[Field] = [(STRATEGY.name, _text(name, STRATEGY, format))]
        for table in board.tables:
            row, title = table.row(name), _title(table, format)
            found = [_fields(each, table, row, format) for each in columns] if row else own[table.benchmark]
            line += [(f"{title}: {part}", value if row else None) for fields in found for part, value in fields]
        yield line


def _lines_of_pairs(board: Board, format: str) -> Iterator[list[Field]]:
    """Yield a line per pair of rows of each table, or of rows over all benchmarks."""
    found = (
        [(None, each) for each in plain_pool(board)["pairs"]]
        if board.across
        else [(table, plain_pair(table, pair)) for table in board.tables for pair in table.pairs]
    )
    for table, pair in found:
        title = [] if table is None else [("benchmark", _title(table, format))]
        flat = {
            f"{name}_{part}" if part else name: each
            for name, value in pair.items()
            for part, each in (value.items() if isinstance(value, dict) else [("", value)])
        }
        yield [
            *title,
            *((name, _text(each, STRATEGY, format) if isinstance(each, str) else each) for name, each in flat.items()),
        ]


def _title(table: Table, format: str) -> str:
    return shown(table.benchmark, None) if format == "csv" else table.benchmark


def _names(lines: Sequence[Sequence[Field]]) -> list[str]:
    return [name for name, _ in lines[0]] if lines else []


def _fields(column: Column, table: Table, row: Row, format: str) -> list[Field]:
    """Return the value of a column as fields of a line: a summary has four, and problems are counted."""
    name, value = column.name, column.value(table, row)
    if isinstance(value, Summary):
        values = tuple(value.values.values())
        every = {"": _or_none(value.mean), "_half": _or_none(value.half), "_n": value.n, "_values": values}
        return [(f"{name}{end}", part) for end, part in every.items()]
    if isinstance(value, tuple) and all(isinstance(each, Problem) for each in value):
        value = count_problems(value)
    if isinstance(value, str):
        return [(name, _text(value, column, format))]
    return [(name, None if value is ABSENT else _or_none(value))]


def _text(text: str, column: Column, format: str) -> str:
    return shown(text, column.most) if format == "csv" else text


def plain(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: an apostrophe stands before ``=``, ``+``, ``-`` and
    ``@``."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def refuse_decimals(board: Board) -> None:
    """Refuse decimals for a file that holds numbers in full."""
    if board.decimals is not None:
        raise Refused("csv, parquet and json hold numbers in full; leave out --decimals, or choose another format")


def json_text(board: Board) -> str:
    """Return the whole leaderboard as JSON, without traces. A missing value is null, with its reason; there is no
    NaN."""
    refuse_decimals(board)
    if board.across:
        raise Refused("json holds one table per benchmark; leave out --across, or choose another format")
    columns = columns_of(board, "json", ())
    tables = [
        {
            "benchmark": table.benchmark,
            **({} if table.measure == ACCURACY else {"measure": table.measure.name}),
            "seeds": table.seeds,
            "reference_seeds": table.reference,
            "notes": table.notes,
            **({"pairs": [plain_pair(table, pair) for pair in table.pairs]} if board.with_pairs else {}),
            "rows": [_json_row(columns, table, row) for row in table.rows],
            **({"published": [_json_published(row) for row in table.published]} if table.published else {}),
        }
        for table in board.tables
    ]
    content: dict[str, Any] = {"ranked_by": board.ranked_by, "metrics": board.metrics, "tables": tables}
    if board.with_pairs and len(board.tables) > 1:
        content["pooled"] = plain_pool(board)
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return re.sub(r"[^\n -~]", lambda found: json.dumps(found[0])[1:-1] if is_unseen(found[0]) else found[0], text)


def _json_row(columns: Sequence[Column], table: Table, row: Row) -> dict[str, Any]:
    found = {each.name: each.value(table, row) for each in columns if not each.name.startswith(COST)}
    return {
        **{name: _json_value(value) for name, value in found.items() if value is not ABSENT},
        "metrics": {name: _json_summary(summary, row.marks.get(name, "")) for name, summary in row.metrics.items()},
        "cost": {name: _json_summary(summary) for name, summary in row.cost.items()},
    }


def _json_published(row: PublishedRow) -> dict[str, Any]:
    return {"strategy": row.strategy, "metrics": dict(row.values), "source": row.source}


def _json_value(value: Any) -> Any:
    if isinstance(value, Summary):
        return _json_summary(value)
    if isinstance(value, Problem):
        return vars(value)
    if isinstance(value, Mapping):
        return {str(key): _json_value(each) for key, each in value.items()}
    return [_json_value(each) for each in value] if isinstance(value, list | tuple) else _or_none(value)


def _json_summary(summary: Summary, mark: str = "") -> dict[str, Any]:
    told: dict[str, Any] = {"mean": _or_none(summary.mean), "half": _or_none(summary.half), "n": summary.n}
    if summary.values:
        told["values"] = {str(seed): value for seed, value in summary.values.items()}
    if mark:
        told["mark"] = mark
    return {**told, "reason": summary.reason} if summary.reason else told
