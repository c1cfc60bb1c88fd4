"""Check that the stream of a record is the one that its cell names: made again where its data is at hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from clbench.core.record import Record
from clbench.submission.check_results import Said, Subject
from clbench.submission.rebuilt_streams import Impossible

CHECK = "stream"


def stream(subject: Subject) -> Iterator[Said]:
    """Compare fingerprint, checksum of the data, and the tasks of each experience with the stream made again."""
    record, facts = subject.record, subject.stream
    if record.status not in ("done", "diverged"):
        return
    if isinstance(facts, Impossible):
        yield subject.finding(CHECK, f"cannot be the result of its cell: {facts}")
        return
    if isinstance(facts, str):
        yield subject.unchecked(CHECK, f"the fingerprint of the stream: {facts}")
        return
    if record.fingerprint != facts.fingerprint:
        yield subject.finding(
            CHECK,
            f"was made on another stream than its cell and seed give: its fingerprint is {record.fingerprint!r}, and "
            f"that of the stream is {facts.fingerprint}",
        )
    if not record.data:
        yield subject.unchecked(CHECK, "the checksum of the data: older records hold none")
    elif record.data != facts.data:
        yield subject.finding(CHECK, f"was made on other data: its checksum is not {facts.data}")
    trace = subject.trace
    if trace is None:
        return
    expected = facts.present if record.status == "done" else facts.present[: len(trace.present)]
    if not np.array_equal(trace.present, expected):
        yield subject.finding(CHECK, "has a trace whose experiences hold other tasks than those of its stream")


def stream_name(record: Record) -> str:
    """Return the fields of a cell that say on which stream it ran, as one text, for records that are compared."""
    return record.fingerprint or f"{record.cell.get('stream')} {record.seed}"
