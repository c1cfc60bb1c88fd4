"""The settings in which cells differ, as columns for a data frame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from clbench.benchmark import schema
from clbench.comparison.comparable import SECTIONS
from clbench.core.record import Record

DEFAULTS = {"training": schema.Training, "memory": schema.MemoryBudget, "evaluation": schema.Evaluation}
"""Sections whose settings have defaults, which a cell that is older than a setting does not hold."""
LEFT_OUT = ("stream.fingerprint",)
"""What other columns hold."""


def varying_settings(records: Iterable[Record]) -> dict[str, dict[str, Any]]:
    """Return the settings that are not equal in all records.

    Args:
        records: Any records.

    Returns:
        Map the key of each record to its settings by dotted names, as ``--set`` takes them: ``training.lr``. A
        parameter of a strategy is called ``strategy.ewc.strength``; it counts as varying if two cells with this part
        differ in it. Numbers and texts are values, lists are JSON. A cell without a setting has no entry for it.
    """
    all_settings = {record.key: dict(_settings(record.cell)) for record in records}
    names = dict.fromkeys(name for settings in all_settings.values() for name in settings)
    kept = [name for name in names if name not in LEFT_OUT and _varies(name, all_settings.values())]
    return {key: {name: held[name] for name in kept if name in held} for key, held in all_settings.items()}


def _varies(name: str, cells: Iterable[Mapping[str, Any]]) -> bool:
    of_strategy = name.startswith("strategy.")
    values = {repr(_number(cell.get(name))) for cell in cells if name in cell or not of_strategy}
    return len(values) > 1


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _settings(cell: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for section in SECTIONS:
        usual = DEFAULTS[section]().model_dump() if section in DEFAULTS else {}
        yield from _flat({**usual, **(cell.get(section) or {})}, section)
    yield "reveal", json.dumps(cell.get("reveal") or [])
    for item in cell.get("strategy", ()):
        name = f"strategy.{item.get('name')}"
        yield from _flat(item.get("parameters") or {}, name)
        if "source" in item:
            yield f"{name}.source", item["source"]


def _flat(settings: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{path}.{name}")
        else:
            plain = value is None or isinstance(value, bool | int | float | str)
            yield f"{path}.{name}", value if plain else json.dumps(value)
