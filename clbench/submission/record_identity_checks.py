"""Check that a record is the record of its cell: key, digest of the trace, status and seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from clbench.core.trace_equality import trace_digest
from clbench.submission.check_results import Said, Subject
from clbench.submission.findings import Finding
from clbench.submission.submitted import Submitted

FILES = "files"
CHECK = "identity"
WITH_DIGEST = 3
"""The first format of records that holds the digest of the trace."""


def file_problems(submitted: Submitted) -> Iterator[Finding]:
    """Yield a finding for each problem that the reader had with the files of a submission."""
    for problem in submitted.problems:
        yield Finding(FILES, "consistent", "", problem)
    if not submitted.records:
        yield Finding(FILES, "consistent", "", f"{submitted.path} holds no record that can be read")


def identity(subject: Subject) -> Iterator[Said]:
    """Check that the key is the hash of the cell, and that the trace is the one whose digest the record holds."""
    record = subject.record
    key = hashlib.sha256(_canonical(record.cell).encode()).hexdigest()[:16]
    if key != record.key:
        yield subject.finding(CHECK, f"has the key of another cell: the hash of its cell is {key}")
    if record.has_trace and record.trace_digest:
        assert subject.trace is not None
        if trace_digest(subject.trace) != record.trace_digest:
            yield subject.finding(CHECK, "has another trace than the one whose digest it names")
    elif record.has_trace and subject.format >= WITH_DIGEST:
        yield subject.finding(CHECK, f"names no digest of its trace, which format {subject.format} has")
    elif record.has_trace:
        yield subject.unchecked(CHECK, "the digest of the trace: records of formats 1 and 2 hold none")
    if record.status == "failed":
        yield subject.finding(CHECK, f"failed: {record.reason or 'no reason given'}")
    if record.status == "done" and not record.has_trace:
        yield subject.finding(CHECK, "is done and has no trace")
    if record.status == "skipped" and record.has_trace:
        yield subject.finding(CHECK, "is skipped and has a trace")


def _canonical(cell: Any) -> str:
    """Return the canonical text of a cell, written here once more so that two programs have to agree."""
    return json.dumps(cell, sort_keys=True, separators=(",", ":"), allow_nan=False)
