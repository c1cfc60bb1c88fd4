"""Which records belong together, before anything is averaged over seeds."""

from __future__ import annotations

from collections.abc import Iterable

from clbench.types import Record, content_hash


def is_finished(record: Record) -> bool:
    """Whether a record has a result: metrics are computed from these and from no others."""
    return record.status == "done" and record.trace is not None


def distinct(records: Iterable[Record]) -> list[Record]:
    """One record per cell, sorted by benchmark, label and seed; of several the finished one counts, else the latest."""
    best: dict[str, Record] = {}
    for record in sorted(records, key=lambda r: (is_finished(r), r.created)):
        best[record.key] = record
    return sorted(best.values(), key=lambda r: (r.benchmark, r.label, r.seed, r.key))


def by_benchmark(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Name and version of a benchmark -> its distinct records."""
    found: dict[str, list[Record]] = {}
    for record in distinct(records):
        found.setdefault(record.benchmark, []).append(record)
    return found


def by_strategy(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Label -> records of one benchmark, a seed each.

    Records whose cells differ in more than the seed are never put together: where they share a label, each group's
    label gets a ``#`` and the beginning of the hash of its settings.
    """
    groups: dict[str, dict[str, list[Record]]] = {}
    for record in records:
        settings = content_hash({name: value for name, value in record.cell.items() if name != "seed"})
        groups.setdefault(record.label, {}).setdefault(settings, []).append(record)
    return {
        label if len(found) == 1 else f"{label} #{settings[:6]}": members
        for label, found in groups.items()
        for settings, members in found.items()
    }
