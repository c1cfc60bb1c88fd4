"""The versions of a user's code among records: which are the newest of their strategy, and which are older."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clbench.core.record import Record
from clbench.core.types import content_hash

SOURCE = "source"
"""The key of a cell's sections for the checksum of code that does not come with clbench."""


def newest(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """Separate the records of the newest version of each strategy from those of older versions.

    Two records are of one strategy if benchmark, label and all settings are equal, except for the seed, the checksums
    of code, and the parameters of a strategy whose code is the user's: an edit may add a parameter with a default. The
    newest version is the one with the latest record. Records of code that comes with clbench have one version.

    Returns:
        The records of the newest versions, and the older ones, each in the order of ``records``.
    """
    identified: dict[tuple[str, str], tuple[str, str]] = {}  # neither depends on the seed
    found = []
    for record in records:
        place = record.settings, record.label
        if place not in identified:
            identified[place] = _strategy(record), version(record)
        found.append((record, *identified[place]))
    latest: dict[str, tuple[str, str]] = {}
    for record, strategy, own in found:
        latest[strategy] = max(latest.get(strategy, ("", "")), (record.created, own))
    kept = [record for record, strategy, own in found if own == latest[strategy][1]]
    return kept, [record for record, strategy, own in found if own != latest[strategy][1]]


def version(record: Record) -> str:
    """Return what identifies the user's code of a cell; empty if all of its code comes with clbench."""
    found = _sources(record.cell)
    return content_hash(found) if found else ""


def count_versions(records: Sequence[Record]) -> dict[str, int]:
    """Count the versions of each strategy among some records: label -> number."""
    found: dict[str, set[tuple[str, str]]] = {}
    for record in {(record.settings, record.label): record for record in records}.values():
        found.setdefault(record.label, set()).add((_strategy(record), version(record)))
    return {label: len(versions) for label, versions in sorted(found.items())}


def _strategy(record: Record) -> str:
    """Return what is equal in all versions of a strategy."""
    cell = {name: value for name, value in record.cell.items() if name not in ("seed", "strategy")}
    items = [
        {"name": item.get("name"), **({} if SOURCE in item else {"parameters": item.get("parameters")})}
        for item in record.cell.get("strategy", ())
    ]
    told = {"label": record.label, "cell": _without_sources(cell), "strategy": items}
    return json.dumps(told, sort_keys=True, default=str)


def _sources(settings: Any) -> list[str]:
    if isinstance(settings, Mapping):
        own = [str(settings[SOURCE])] if isinstance(settings.get(SOURCE), str) else []
        return own + [each for name in sorted(settings) if name != SOURCE for each in _sources(settings[name])]
    if isinstance(settings, list | tuple):
        return [each for value in settings for each in _sources(value)]
    return []


def _without_sources(settings: Any) -> Any:
    if isinstance(settings, Mapping):
        return {name: _without_sources(value) for name, value in settings.items() if name != SOURCE}
    return [_without_sources(value) for value in settings] if isinstance(settings, list | tuple) else settings
