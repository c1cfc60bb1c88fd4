"""Records on disk: addressed by content, append-only and atomic. A record is complete or absent, whatever happens.

``DIR/records/KEY.json`` is the record and ``DIR/traces/KEY.npz`` its trace. A trace is written under a spare name
before its record, and gets its own name after it, so that a trace is never replaced by one of another record. Whoever
reads a record in between finds the trace under the spare name, and renames it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from clbench.core import record_file, trace_file
from clbench.core.atomic_files import create, place_aside, set_aside, take, write, write_or_refuse
from clbench.core.errors import Damaged, Refused
from clbench.core.record import Record
from clbench.core.record_file import FORMAT, RecordFile
from clbench.core.record_folder import LeftOut, record_files
from clbench.core.result_paths import (
    Keep,
    end_path,
    has,
    model_path,
    predictions_path,
    record_path,
    spare_trace_path,
    trace_path,
)
from clbench.core.stored_trace import stored_trace

__all__ = [
    "FORMAT", "Damaged", "Keep", "amend", "end_path", "has", "load", "load_all", "model_path",
    "predictions_path", "publish", "record_path", "save", "set_aside", "set_record_aside", "trace_path",
    "write", "write_or_refuse",
]  # fmt: skip


def save(record: Record, directory: Path) -> Path:
    """Write a record and return its path. A record of that cell is replaced; see :func:`publish` for one that stays.

    Raises:
        OSError: The disk is full or not writable; the old record stands.
    """
    with _SpareTrace(record, directory) as spare:
        write(spare.path, spare.content)
        spare.place()
    return spare.path


def publish(record: Record, directory: Path) -> Record | None:
    """Write a record unless a finished one of its cell stands. Of several processes that write one at once, exactly one
    succeeds, with its own trace. A failed or damaged record does not stand.

    Returns:
        ``None`` if the record was written, and the record that stands otherwise.

    Raises:
        OSError: The disk is full or not writable.
        Refused: A newer version of clbench wrote the record that stands.
    """
    with _SpareTrace(record, directory) as spare:
        while not _created(spare):
            try:
                seen = spare.path.read_bytes()
                standing = load(spare.path)
            except FileNotFoundError:  # it was moved meanwhile, or leads nowhere
                if spare.path.is_symlink():
                    set_record_aside(record.key, directory)
                continue
            except Damaged:
                set_record_aside(record.key, directory, seen)
                continue
            if standing.status != "failed":
                return standing
            failed = take(spare.path, seen)
            if failed is not None:
                failed.unlink()
    return None


class _SpareTrace:
    """Write the trace of a record under a spare name, and remove it at the end unless its record stands."""

    def __init__(self, record: Record, directory: Path) -> None:
        self.path = record_path(record.key, directory)
        self._trace = None if record.trace is None else trace_file.encoded(record.trace)
        self.content = record_file.encoded(record, self._trace)
        self._failed = record.status == "failed"
        self._place = trace_path(record.key, directory)
        self._sum = "" if self._trace is None else record_file.checksum(self._trace)
        self._spare = spare_trace_path(record.key, directory, self._sum)

    def __enter__(self) -> _SpareTrace:
        if self._trace is not None:
            write(self._spare, self._trace)
        return self

    def place(self) -> None:
        """Give the trace its own name, after its record was written."""
        if self._trace is None:
            return
        try:
            self._spare.replace(self._place)
        except FileNotFoundError:  # whoever has read the record meanwhile has placed it
            with suppress(OSError):
                if self._place.read_bytes() == self._trace:
                    return
            write(self._place, self._trace)

    def remove_others(self) -> None:
        """Remove spare traces that other writers have left when they were killed, or will not need, because this record
        stands now. A failed record does not stand."""
        if self._failed:
            return
        with suppress(OSError):
            for entry in os.scandir(self._place.parent):
                if entry.name.startswith(f".{self._place.stem}.") and entry.name.endswith(".npz"):
                    os.unlink(entry.path)

    def __exit__(self, *_: object) -> None:
        if self._trace is not None and self._spare.exists():
            if self._stands():
                self.place()
            else:
                self._spare.unlink(missing_ok=True)

    def _stands(self) -> bool:
        """Return whether a record stands that has this trace, such as the same record, written by another process."""
        try:
            return record_file.decoded(self.path.read_bytes(), self.path).sums.get("trace") == self._sum
        except (OSError, ValueError):
            return False


def _created(spare: _SpareTrace) -> bool:
    if not create(spare.path, spare.content):
        return False
    spare.place()
    spare.remove_others()
    return True


def amend(key: str, directory: Path, **fields: Any) -> None:
    """Change fields of a record that do not belong to its key, such as ``label`` or ``code``. Its trace stays as it is.

    Raises:
        Damaged: The record or its trace is missing, or differs from what was written.
        OSError: The disk is full or not writable; the record is unchanged.
    """
    path = record_path(key, directory)
    held = _read(path)
    record = replace(load(path), **fields)
    trace = trace_path(key, directory).read_bytes() if held.has_trace else None
    write(path, record_file.encoded(record, trace))


def load(path: Path, *, lazily: bool = False) -> Record:
    """Read one record file. Its trace does not stay in memory for long, and is read again when it is asked for.

    Args:
        path: The path of the file.
        lazily: Whether a trace whose file has the checksum in its record is not decoded before it is asked for.

    Raises:
        Damaged: The record or its trace is missing, or differs from what was written.
        Refused: A newer version of clbench wrote it.
    """
    held = _read(path)
    fields = {name: getattr(held, name) for name in RecordFile.model_fields if name not in OF_FILES}
    try:
        trace = stored_trace(path, held, lazily=lazily) if held.has_trace else None
    except Damaged:
        if _replaced(path, held):  # by another process, after this one had read the record
            return load(path, lazily=lazily)
        raise
    return Record(**fields, trace=trace)


OF_FILES = ("format", "has_trace", "sums")
"""Entries of a file that are no fields of a record."""


def _replaced(path: Path, held: RecordFile) -> bool:
    try:
        return _read(path) != held
    except Refused:
        return False


def _read(path: Path) -> RecordFile:
    try:
        return record_file.decoded(path.read_bytes(), path)
    except OSError as error:
        what = str(error.strerror)
        raise Damaged(
            f"the record {path} cannot be read ({what}); a record is DIR/records/KEY.json", path.name, what
        ) from None
    except ValueError as error:
        if isinstance(error, Refused):
            raise
        what = str(error).split("\n")[0]
        raise Damaged(
            f"the record {path} is damaged ({what}); remove it and run its benchmark again", path.name, what
        ) from None


def load_all(*directories: Path) -> Iterator[Record]:
    """Load all records of some result directories, in a stable order. Unusable files are reported and left out.

    Raises:
        Refused: A directory holds no readable records.
    """
    for directory in directories:
        out = LeftOut(directory)
        yield from load_folder(out)
        out.report()
        if not out.read:
            absent = "" if directory.exists() else ", because there is no such folder"
            raise Refused(
                f"{directory} holds no records{absent}; give a directory that `clbench run --out DIR` has written"
            )


def load_folder(out: LeftOut) -> Iterator[Record]:
    """Load all records of a result directory, in a stable order.

    Args:
        out: Names the directory, and collects the files that are left out.
    """
    paths, foreign = record_files(out.directory)
    out.foreign.extend(foreign)
    for path in paths:
        try:
            record = load(path, lazily=True)
        except Refused as error:
            out.add(error)
            continue
        out.read += 1
        yield record


def set_record_aside(key: str, directory: Path, seen: bytes | None = None) -> None:
    """Move the record of a cell into the folder ``damaged`` of its result directory, and copy its trace there.

    The trace is replaced by that of the next record. It is not moved, since another process may write that one now.

    Args:
        key: The key of the cell.
        directory: The result directory.
        seen: The content of the record that is damaged; a record that was written meanwhile stays.

    Raises:
        OSError: The folder cannot be written.
    """
    path, trace = record_path(key, directory), trace_path(key, directory)
    if trace.is_file():
        shutil.copyfile(trace, place_aside(trace))
    if seen is None:
        if path.exists() or path.is_symlink():
            set_aside(path)
    else:
        taken = take(path, seen)
        if taken is not None:
            taken.rename(place_aside(path))
