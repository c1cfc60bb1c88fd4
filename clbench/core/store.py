"""Records on disk: addressed by content, append-only and atomic. A record is complete or absent, whatever happens.

``DIR/records/KEY.json`` is the record and ``DIR/traces/KEY.npz`` its trace. The trace is written first, so an existing
record is complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from clbench.core import record_file, trace_file
from clbench.core.atomic_files import set_aside, write, write_or_refuse
from clbench.core.errors import Damaged, Refused
from clbench.core.notices import notice
from clbench.core.record import Predictions, Record, Trace
from clbench.core.record_file import FORMAT, RecordFile
from clbench.core.result_paths import Keep, end_path, has, model_path, predictions_path, record_path, trace_path

__all__ = [
    "FORMAT", "Damaged", "Keep", "end_path", "has", "load", "load_all", "model_path", "predictions_path", "record_path",
    "save", "set_aside", "set_record_aside", "trace_path", "write", "write_or_refuse",
]  # fmt: skip


def save(record: Record, directory: Path) -> Path:
    """Write a record and return its path.

    Raises:
        OSError: The disk is full or not writable; no part of the record is left behind.
    """
    path = record_path(record.key, directory)
    trace = None if record.trace is None else trace_file.encoded(record.trace)
    if trace is not None:
        write(trace_path(record.key, directory), trace)
    write(path, record_file.encoded(record, trace))
    return path


def load(path: Path) -> Record:
    """Read one record file.

    Raises:
        Damaged: The record or its trace is missing, or differs from what was written.
        Refused: A newer version of clbench wrote it.
    """
    held = _read(path)
    fields = held.model_dump(exclude={"format", "has_trace", "sums"})
    trace = _load_trace(path, held) if held.has_trace else None
    return Record(**fields, trace=trace)


def _read(path: Path) -> RecordFile:
    try:
        return record_file.decoded(path.read_bytes(), path)
    except OSError as error:
        raise Damaged(
            f"the record {path} cannot be read ({error.strerror}); a record is DIR/records/KEY.json"
        ) from None
    except ValueError as error:
        if isinstance(error, Refused):
            raise
        what = str(error).split("\n")[0]
        raise Damaged(f"the record {path} is damaged ({what}); remove it and run its benchmark again") from None


def _load_trace(record: Path, held: RecordFile) -> Trace:
    folder = record.parent.parent
    path = trace_path(record.stem, folder)
    try:
        content, written = path.read_bytes(), held.sums.get("trace")
        if written and record_file.checksum(content) != written:
            raise ValueError("it does not belong to this record")
        trace = trace_file.decoded(content)
    except (OSError, ValueError) as error:
        raise Damaged(
            f"the trace {path} is damaged or missing ({error}); remove it and its record and run the benchmark again"
        ) from None
    if not trace.competing.size:
        stream = held.cell.get("stream") or {}
        trace = replace(trace, settled=stream.get("output") == "all" or stream.get("setting") in ("task", "domain"))
    kept = predictions_path(record.stem, folder)
    return replace(trace, predictions=Predictions(kept)) if kept.exists() else trace


def load_all(*directories: Path) -> Iterator[Record]:
    """Load all records of some result directories, in a stable order. Unusable files are reported and left out.

    Raises:
        Refused: A directory holds no readable records.
    """
    for directory in directories:
        paths = sorted((directory / "records").glob("*.json"))
        foreign = [path.name for path in paths if path.name.startswith(".")]
        if foreign:
            names = ", ".join(foreign[:3]) + ", ..." * (len(foreign) > 3)
            notice(f"left out of {directory / 'records'}: {names}, which are no records")
        readable = False
        for path in paths:
            if path.name.startswith("."):
                continue
            try:
                record = load(path)
            except Refused as error:
                notice(f"left out: {error}")
                continue
            readable = True
            yield record
        if not readable:
            raise Refused(f"{directory} holds no records; give a directory that `clbench run --out DIR` has written")


def set_record_aside(key: str, directory: Path) -> None:
    """Move the record of a cell and its trace into ``damaged/``, whichever of them exist."""
    for path in (record_path(key, directory), trace_path(key, directory)):
        if path.exists() or path.is_symlink():
            set_aside(path)
