"""Say how the settings of a row were found: defaults, given by the user or the benchmark, or chosen by a search."""

from __future__ import annotations

from collections.abc import Iterable

from clbench.benchmark.tuned_settings import provenance_text
from clbench.core.record import Record
from clbench.leaderboard.settings_text import has_only_defaults

DEFAULT, GIVEN = "default", "given"
UNAVAILABLE = "end"
"""The protocol that no learner can follow, since it sees the whole stream before the stream begins."""


def settings_origin(records: Iterable[Record]) -> str:
    """Return how the settings of some records of one row were found; several answers are joined by ``or``.

    ``default``: every parameter of the strategy has its declared default. ``given``: the user or the benchmark file has
    set one, or a setting of the benchmark for this strategy alone. Otherwise the protocol of the search with its
    effort: ``first:1 (24 trials, 4.8x)``.
    """
    return " or ".join(dict.fromkeys(map(_origin, records)))


def _origin(record: Record) -> str:
    if record.tuning.get("protocol"):
        return provenance_text(record.tuning, record.benchmark)
    overrides = record.label.endswith("]") and " [" in record.label
    return DEFAULT if has_only_defaults(record) and not overrides else GIVEN


def is_tuned(records: Iterable[Record]) -> bool:
    """Return whether a search found the settings of any record."""
    return any(record.tuning.get("protocol") for record in records)


def unavailable(records: Iterable[Record]) -> bool:
    """Return whether the settings of any record were chosen in a way that is not available to a learner."""
    return any(record.tuning.get("protocol") == UNAVAILABLE for record in records)
