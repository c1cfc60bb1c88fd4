"""Group the finished records of a submission into rows: one strategy with one setting, over its seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clbench import metrics
from clbench.core.record import Record


@dataclass(frozen=True)
class SubmittedRow:
    """Hold the finished records of one strategy, which differ in their seeds only.

    Args:
        records: The records, ordered by seed; at least one.
    """

    records: tuple[Record, ...]

    @property
    def label(self) -> str:
        """Return the strategy, as leaderboards show it, with the benchmark."""
        return f"{self.records[0].label} on {self.records[0].benchmark}"

    @property
    def key(self) -> str:
        """Return the key of its first record, by which findings name the row."""
        return self.records[0].key

    def values(self, metric: str) -> list[float]:
        """Return the values of a metric, without seeds for which it is undefined."""
        return values(self.records, metric)


def rows_of(records: Iterable[Record]) -> list[SubmittedRow]:
    """Return the rows of a submission, in the order of their first records."""
    found: dict[str, dict[int, Record]] = {}
    for record in records:
        if record.status == "done" and record.has_trace:
            found.setdefault(record.settings, {}).setdefault(record.seed, record)
    return [SubmittedRow(tuple(held[seed] for seed in sorted(held))) for held in found.values()]


def values(records: Sequence[Record], metric: str) -> list[float]:
    """Return the values of a metric over records with a trace, without those for which it is undefined."""
    found = [metrics.get(metric)(trace, None).value for record in records if (trace := record.trace) is not None]
    return [value for value in found if math.isfinite(value)]
