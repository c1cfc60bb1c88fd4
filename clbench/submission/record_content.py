"""Read a record and its trace from bytes that strangers wrote."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any
from weakref import ref

from clbench.core import record_file, trace_file
from clbench.core.record import Record, Trace
from clbench.core.record_file import RecordFile
from clbench.core.stored_trace import size_of
from clbench.core.trace_equality import trace_digest
from clbench.submission.trace_ranges import check_ranges
from clbench.submission.untrusted_json import plain_json

MOST_RECORD = 1_000_000
"""The most bytes of the file of a record."""
MOST_TRACE = 32_000_000
"""The most bytes of the arrays of a trace."""
OF_FILES = ("format", "has_trace", "sums")
"""Entries of a file that are no fields of a record."""
SECTIONS = ("stream", "model", "training", "memory", "evaluation")
"""Entries of a cell that are mappings, if they are there."""


@dataclass(frozen=True)
class ReadRecord:
    """Hold a record, and what its file says beyond it.

    Args:
        record: The record.
        format: The version of the format of its file.
        trace_sum: The sha256 sum of the file of its trace; empty without a trace.
    """

    record: Record
    format: int
    trace_sum: str


@dataclass(eq=False)
class SubmittedTrace:
    """Decode a trace from its bytes when it is called. No cache of metrics on disk is read for it."""

    content: bytes | memoryview
    settled: bool
    _alive: ref[Trace] | None = field(default=None, repr=False)

    def __call__(self) -> Trace:
        """Return the trace."""
        trace = None if self._alive is None else self._alive()
        if trace is None:
            trace = trace_file.decoded(self.content, most=MOST_TRACE)
            if not trace.competing.size:
                trace = replace(trace, settled=self.settled)
            self._alive = ref(trace)
        if size_of(trace) <= MOST_KEPT:
            _LATEST.append(trace)
        return trace


MOST_KEPT = 1_000_000
"""The most bytes of a trace that stays in memory although nobody holds it."""
_LATEST: deque[Trace] = deque(maxlen=8)
"""The traces that were asked for last."""


def read_record(name: str, content: bytes, trace: bytes | memoryview | None) -> ReadRecord:
    """Return the record in a file, with its trace. The trace is decoded once, so that it can be read later on.

    Args:
        name: The name of the file, which ends in ``KEY.json``.
        content: The bytes of the file.
        trace: The bytes of the file of its trace; ``None`` if there is none.

    Raises:
        ValueError: The record or its trace is damaged or impossible; the message gives the reason.
    """
    plain = plain_json(content, MOST_RECORD)
    if not isinstance(plain, dict):
        raise ValueError("it is no record")
    held = record_file.decoded(content, PurePosixPath(name))
    _check_cell(held)
    own = None
    if held.has_trace:
        if trace is None:
            raise ValueError("its trace is missing")
        own = _trace(held, trace)
    elif held.status == "done":
        raise ValueError("it is done, and has no trace")
    fields = {each: getattr(held, each) for each in RecordFile.model_fields if each not in OF_FILES}
    digest = "" if own is None else hashlib.sha256(own.content).hexdigest()
    return ReadRecord(Record(**fields, trace=own), held.format, digest)


def _check_cell(held: RecordFile) -> None:
    cell = held.cell
    for name in SECTIONS:
        if not isinstance(cell.get(name, {}), Mapping):
            raise ValueError(f"the section {name!r} of its cell is no mapping")
    for item in cell["strategy"]:
        if not isinstance(item.get("name"), str) or not isinstance(item.get("parameters", {}), Mapping):
            raise ValueError("its strategy has a part without a name or with parameters that are no mapping")
    if isinstance(cell["seed"], bool) or cell["seed"] < 0:
        raise ValueError("its seed is no integer from 0")
    if not cell["strategy"] or not held.label.strip():
        raise ValueError("its strategy has no parts or no label")


def _trace(held: RecordFile, content: bytes | memoryview) -> SubmittedTrace:
    written, stream = held.sums.get("trace"), held.cell.get("stream") or {}
    if written is not None and record_file.checksum(content) != written:
        raise ValueError("its trace does not belong to it: the checksums differ")
    settled = stream.get("output") == "all" or stream.get("setting") in ("task", "domain")
    stored = SubmittedTrace(content, settled)
    try:
        trace = stored()
        check_ranges(trace)
    except ValueError as error:
        raise ValueError(f"its trace is damaged: {error}") from None
    if held.trace_digest and trace_digest(trace) != held.trace_digest:
        raise ValueError("its trace does not belong to it: the digests differ")
    return stored


def order(record: Record) -> tuple[Any, ...]:
    """Return the place of a record among others: by benchmark, label, seed and key."""
    return record.benchmark, record.label, record.seed, record.key
