"""Whether a cell keeps to what the sources of its parts have set: a method run otherwise is not the published one.

A part declares it (``Part.protocol``). All is read off the cell, so that boards can tell it of old records too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from clbench.core.errors import Refused
from clbench.strategies.part import Part
from clbench.strategies.strategy import Strategy

ALIKE = ("task", "domain")
"""Settings in which the same units compete whatever ``stream.output`` says."""


def breaches(parts: Sequence[Part], cell: Mapping[str, Any]) -> list[str]:
    """What of a cell departs from the protocol of a part's source, a sentence each.

    Args:
        parts: The cell's strategy.
        cell: Its settings in canonical form; what it does not hold is not asked.
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
            if settings[name] not in allowed:
                found.append(
                    f"{part.title} is published under {key}: {' or '.join(map(str, allowed))} and was run under "
                    f"{settings[name]}; what it scores is not the published method's"
                )
    return list(dict.fromkeys(found))


def with_breaches(cell: Mapping[str, Any], alarms: Iterable[str]) -> tuple[str, ...]:
    """A record's alarms and, where it was made before they were told at the end of a run, its breaches of protocol."""
    items = [item for item in cell.get("strategy") or () if ":" not in str(item.get("name"))]
    try:
        parts = Strategy.of(items).parts()  # of names alone: to read a record must not run a file or import a library
    except (Refused, TypeError, ValueError):  # a plugin that is not here, or settings of another version
        parts = []
    return tuple(dict.fromkeys((*alarms, *breaches(parts, cell))))


def published(parts: Iterable[Part]) -> str:
    """What the sources of parts have set, in a line: ``stream.output: all``; empty where they leave it open."""
    told = {
        key: " or ".join(map(str, wanted if isinstance(wanted, tuple) else (wanted,)))
        for part in parts
        for key, wanted in part.protocol.items()
    }
    return ", ".join(f"{key}: {value}" for key, value in told.items())


def _alike(stream: Mapping[str, Any]) -> bool:
    return stream.get("setting") in ALIKE or stream.get("scenario") == "drift"
