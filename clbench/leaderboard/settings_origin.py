"""Say how the settings of a row were found: defaults, given by the user or the benchmark, or chosen by a search."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

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
    effort: ``first:1 (24 trials, 4.8x)``. If each run chose its settings itself, their efforts are a range: ``chf (2.2
    to 2.83x)``.
    """
    listed = list(records)
    return " or ".join(dict.fromkeys(_origin(_alike(record, listed)) for record in listed))


def _alike(record: Record, records: Iterable[Record]) -> Record:
    """Return a record whose run chose its settings itself with the effort of all such runs, so that seeds are alike."""
    if not record.tuning.get("chosen"):
        return record
    own = {name: value for name, value in record.tuning.items() if name not in ("chosen", "trials", "spent")}
    efforts = [other.tuning["spent"] for other in records if other.tuning.get("chosen")]
    low, high = min(efforts), max(efforts)
    return replace(record, tuning={**own, "spent": low} if low == high else {**own, "method": f"{low:g} to {high:g}x"})


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
