"""What a check of one record can say besides a finding: what it could not check, and what readers should know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from clbench.core.record import Record, Trace
from clbench.core.shown_text import shown
from clbench.submission.findings import Finding, Level

if TYPE_CHECKING:
    from clbench.submission.rebuilt_streams import Rebuilt, StreamFacts


@dataclass(frozen=True)
class NotChecked:
    """Say that something could not be checked, which is no fault of the submission.

    Args:
        check: The name of the check.
        key: The key of the record; empty if it is about the whole submission.
        reason: What was not checked and why, in words that do not name the record, so that records can be counted.
    """

    check: str
    key: str
    reason: str


@dataclass(frozen=True)
class Remark:
    """Say what readers of the results should know although nothing contradicts itself.

    Args:
        check: The name of the check.
        key: The key of the record; empty if it is about the whole submission.
        sentence: One sentence of shown text.
    """

    check: str
    key: str
    sentence: str


Said = Finding | NotChecked | Remark
"""What a check says."""


@dataclass(frozen=True)
class Subject:
    """Hold one record with all that its checks need.

    Args:
        record: The record.
        rebuilt: Makes the stream of a record again.
        format: The version of the format of its file; 0 if unknown.
    """

    record: Record
    rebuilt: Rebuilt
    format: int = 0

    @cached_property
    def trace(self) -> Trace | None:
        """Return its trace, decoded once for all checks."""
        return self.record.trace

    @cached_property
    def stream(self) -> StreamFacts | str:
        """Return what is known of its stream, or the reason why it cannot be made here."""
        return self.rebuilt.stream(self.record)

    def finding(self, check: str, told: str, level: Level = "consistent") -> Finding:
        """Return a finding about this record."""
        return finding(check, self.record, told, level)

    def unchecked(self, check: str, reason: str) -> NotChecked:
        """Return that something of this record was not checked."""
        return NotChecked(check, self.record.key, shown(reason, None))

    def remark(self, check: str, told: str) -> Remark:
        """Return a remark about this record."""
        return Remark(check, self.record.key, shown(f"{named(self.record)} {told}", None))


RecordCheck = Callable[[Subject], Iterator[Said]]
"""A check of one record."""


def named(record: Record) -> str:
    """Return the words that name a record in a sentence: label, seed and key."""
    return f"{shown(record.label)}, seed {record.seed} ({record.key})"


def finding(check: str, record: Record, told: str, level: Level = "consistent") -> Finding:
    """Return a finding about a record.

    Args:
        check: The name of the check.
        record: The record.
        told: What is wrong, as a continuation of the record's name.
        level: The status that it rules out.
    """
    return Finding(check, level, record.key, shown(f"{named(record)} {told}", None))
