"""How the settings of a record were found, as far as it decides which records form one row."""

from __future__ import annotations

from collections.abc import Sequence

from clbench.core.record import Record

Search = tuple[str, str]
"""Protocol and hash of a search; two empty texts if settings were not searched."""


def search_of(record: Record) -> Search:
    """Return the search that found the settings of a record."""
    return str(record.tuning.get("protocol", "")), str(record.tuning.get("study", ""))


def search_names(found: Sequence[Search]) -> list[str]:
    """Return a short name for each of several searches: its protocol, with its hash if others have this protocol.

    A name is empty if all searches are equal.
    """
    if len(set(found)) < 2:
        return ["" for _ in found]
    protocols = [protocol for protocol, _ in dict.fromkeys(found)]
    return [
        "no" if not protocol else protocol if protocols.count(protocol) == 1 else f"{protocol} {study[:6]}"
        for protocol, study in found
    ]
