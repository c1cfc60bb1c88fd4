"""The settings on a leaderboard's page: those of all rows once, and what differs in the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clbench.comparison.comparable import SECTIONS
from clbench.core.public_names import public
from clbench.core.record import Record
from clbench.leaderboard.board import Table
from clbench.leaderboard.board_rows import Row

NONE = "none"
LONGEST = 8
"""Largest number of items of a list that are written out."""
Setting = tuple[str, str]
"""A section and a dotted key in it."""


def shared_settings(table: Table) -> list[tuple[str, str]]:
    """Return the settings of all cells, as section -> ``key value`` pairs, without unset ones.

    A setting that differs has the value of more than half of the rows; if there is none, it is left out.
    """
    usual = _usual([_settings(row) for row in table.rows])
    made = []
    for section in SECTIONS:
        pairs = [(key, value) for (own, key), value in usual.items() if own == section and value not in ("", NONE)]
        if pairs:
            made.append((section, ", ".join(f"{key} {value}" for key, value in pairs)))
    return made


def row_settings(table: Table) -> list[str]:
    """Return for each row its values of the settings that :func:`shared_settings` gives otherwise or not at all."""
    rows = [_settings(row) for row in table.rows]
    usual = _usual(rows)
    return [
        ", ".join(f"{name[1]} {row.get(name, NONE)}" for name, value in usual.items() if row.get(name, NONE) != value)
        for row in rows
    ]


def stream_words(table: Table) -> str:
    """Return what runs on what, such as ``split stream of digits, model mlp``."""
    cell = public(table.rows[0].records[0].cell)
    stream, model = cell.get("stream") or {}, cell.get("model") or {}
    dataset = stream.get("dataset") or {}
    text = f"{stream['scenario']} stream" if stream.get("scenario") else ""
    if text and isinstance(dataset, Mapping) and dataset.get("name"):
        text += f" of {dataset['name']}"
    return ", ".join(filter(None, [text, f"model {model['name']}" if model.get("name") else ""]))


def full_settings(row: Row) -> list[tuple[str, str]]:
    """Return all settings of a row's cells that are set, as dotted names with their values."""
    return [(f"{section}.{key}", value) for (section, key), value in _settings(row).items() if value not in ("", NONE)]


def environments(records: Iterable[Record]) -> list[tuple[int, list[tuple[str, str]]]]:
    """Return the distinct environments of records, each with its number of cells; absolute paths are shortened."""
    found = Counter(
        tuple(
            (name, str(public(value))) for name, value in sorted(record.environment.items()) if value not in ("", None)
        )
        for record in records
    )
    return [(count, list(items)) for items, count in found.most_common() if items]


def _settings(row: Row) -> dict[Setting, str]:
    """Return the settings of a row's cells as text; several values are joined by ``or``."""
    found: dict[Setting, dict[str, None]] = {}
    for record in row.records:
        for section in SECTIONS:
            for key, value in _flat(public(record.cell.get(section) or {})):
                found.setdefault((section, key), {})[_written(value)] = None
    return {name: " or ".join(values) for name, values in found.items()}


def _usual(rows: Sequence[Mapping[Setting, str]]) -> dict[Setting, str]:
    """Return the value of more than half of the rows for each setting, else an empty text.

    Rows without a setting have its default, and count as unset.
    """
    usual = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        value, count = Counter(row.get(name, NONE) for row in rows).most_common(1)[0]
        usual[name] = value if 2 * count > len(rows) else ""
    return usual


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return dotted keys with their values."""
    pairs: list[tuple[str, Any]] = []
    for key, value in settings.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def _written(value: Any) -> str:
    """Return a value as in a benchmark file; of a long list its beginning and length."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = ", ".join(_written(item) for item in value[:LONGEST])
        return f"[{shown}]" if len(value) <= LONGEST else f"[{shown}, … ({len(value)})]"
    return str(value)
