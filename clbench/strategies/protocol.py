"""The protocols of published methods: settings without which a run is not the published method.

A part declares them (``Part.protocol``). They are compared with the cell alone, so that leaderboards can also report
them for old records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clbench.core.errors import Refused
from clbench.strategies.part import Part
from clbench.strategies.strategy import Strategy

SAID = " is published under "
"""What every sentence about a protocol says, so that a record's own is found whatever its other words."""
ALIKE = ("task", "domain")
"""Settings in which the same units compete for any ``stream.output``."""


def breaches(parts: Sequence[Part], cell: Mapping[str, Any]) -> list[str]:
    """Return the deviations of a cell from the protocols of its parts, one sentence each.

    Args:
        parts: The cell's strategy.
        cell: Its settings in canonical form; settings that it lacks are not compared.
    """
    found = []
    merged = any(part.sees == "merged" for part in parts)
    for part in parts:
        for key, wanted in part.protocol.items():
            section, _, name = key.partition(".")
            settings = cell.get(section) or {}
            if name not in settings or (key == "stream.output" and (merged or _alike(settings))):
                continue
            allowed = wanted if isinstance(wanted, tuple) else (wanted,)
            own = (settings.get("first") or {}).get(name, settings[name])  # of the first experience
            wrong = [value for value in (settings[name], own) if value not in allowed]
            if wrong:
                found.append(
                    f"{part.title}{SAID}{key}: {' or '.join(map(str, allowed))} and was run under "
                    f"{wrong[0]}; its results are not those of the published method"
                )
    return list(dict.fromkeys(found))


def with_breaches(cell: Mapping[str, Any], alarms: Iterable[str]) -> tuple[str, ...]:
    """Return a record's alarms and, for older records, its deviations from protocols."""
    items = [item for item in cell.get("strategy") or () if ":" not in str(item.get("name"))]
    try:
        parts = Strategy.of(items).parts()  # names alone: reading a record must not run a file or import a library
    except (Refused, TypeError, ValueError):  # a plugin that is not installed here, or settings of another version
        parts = []
    kept = [alarm for alarm in alarms if not parts or SAID not in alarm]  # told anew, in the words of this version
    return tuple(dict.fromkeys((*kept, *breaches(parts, cell))))


def published(parts: Iterable[Part]) -> str:
    """Return the settings in the protocols of parts in one line: ``stream.output: all``; empty if there are none."""
    told = {
        key: " or ".join(map(str, wanted if isinstance(wanted, tuple) else (wanted,)))
        for part in parts
        for key, wanted in part.protocol.items()
    }
    return ", ".join(f"{key}: {value}" for key, value in told.items())


def _alike(stream: Mapping[str, Any]) -> bool:
    return stream.get("setting") in ALIKE or stream.get("scenario") == "drift"
