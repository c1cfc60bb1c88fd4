"""A trace on disk that is read when it is asked for, so that many records need little memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from threading import Lock
from weakref import ref

from clbench.core import record_file, trace_file
from clbench.core.errors import Damaged
from clbench.core.record import Predictions, Trace
from clbench.core.record_file import RecordFile
from clbench.core.result_paths import predictions_path, spare_trace_path, trace_path
from clbench.core.trace_equality import trace_digest

MOST_BYTES = 64 * 2**20
"""Most bytes of traces that stay in memory although nobody holds them; one trace always stays."""


class StoredTrace:
    """Read a trace from its file when it is called. While somebody holds the trace, all calls return the same object.

    Args:
        read: A function that reads the file, with all checks.
        directory: The result directory.
        checksum: The checksum of the file.
        settled: What the record says of a trace that does not hold it; see :class:`clbench.core.record.Trace`.
    """

    def __init__(self, read: Callable[[], Trace], directory: Path, checksum: str, *, settled: bool) -> None:
        self._read = read
        self.directory = directory
        self.checksum = checksum
        self.settled = settled
        self._alive: ref[Trace] | None = None

    def __call__(self) -> Trace:
        """Return the trace.

        Raises:
            Damaged: The file was removed or changed since its record was read.
        """
        trace = None if self._alive is None else self._alive()
        if trace is None:
            trace = self._read()
            self._alive = ref(trace)
        _LATEST.add(self, trace)
        return trace


class _Latest:
    """Hold the traces that were asked for last, up to a number of bytes."""

    def __init__(self, most: int) -> None:
        self.most, self.bytes = most, 0
        self.kept: OrderedDict[StoredTrace, tuple[Trace, int]] = OrderedDict()
        self.lock = Lock()

    def add(self, stored: StoredTrace, trace: Trace) -> None:
        with self.lock:
            held = self.kept.pop(stored, None)
            size = size_of(trace) if held is None or held[0] is not trace else held[1]
            self.bytes += size - (0 if held is None else held[1])
            self.kept[stored] = trace, size
            while self.bytes > self.most and len(self.kept) > 1:
                _, (_, freed) = self.kept.popitem(last=False)
                self.bytes -= freed


def size_of(trace: Trace) -> int:
    """Return the bytes of a trace's arrays."""
    read = sum(each.steps.nbytes + each.values.nbytes for each in trace.readings.values())
    return read + sum(getattr(getattr(trace, each.name), "nbytes", 0) for each in fields(trace))


_LATEST = _Latest(MOST_BYTES)


# --------------------------------------------------------------------------------------------------- files


def stored_trace(record: Path, held: RecordFile, *, lazily: bool) -> StoredTrace:
    """Check the file of a record's trace, and return what reads it when it is asked for.

    Args:
        record: The path of the record's file.
        held: The content of that file.
        lazily: Whether a file with the checksum in its record is not decoded now. Older records hold no checksum.

    Raises:
        Damaged: The trace is missing, or differs from what was written.
    """
    written, stream = held.sums.get("trace", ""), held.cell.get("stream") or {}
    settled = stream.get("output") == "all" or stream.get("setting") in ("task", "domain")
    key, directory = record.stem, record.parent.parent
    with _damage_of(key, directory):
        content = _content(key, directory, written)
    checksum = written or record_file.checksum(content)
    read = partial(_decoded, key, directory, checksum, held.trace_digest, settled=settled)
    stored = StoredTrace(read, directory, checksum, settled=settled)
    if not (lazily and written):
        stored()
    return stored


def _decoded(key: str, directory: Path, checksum: str, digest: str, *, settled: bool) -> Trace:
    with _damage_of(key, directory):
        trace = trace_file.decoded(_content(key, directory, checksum))
        if digest and trace_digest(trace) != digest:
            raise ValueError("its digest differs")
    if not trace.competing.size:
        trace = replace(trace, settled=settled)
    kept = predictions_path(key, directory)
    return replace(trace, predictions=Predictions(kept)) if kept.exists() else trace


@contextmanager
def _damage_of(key: str, directory: Path) -> Iterator[None]:
    """Report errors of reading a record's trace as damage."""
    try:
        yield
    except (OSError, ValueError) as error:
        path = trace_path(key, directory)
        what = str(error.strerror if isinstance(error, OSError) else error).split("\n")[0]
        raise Damaged(
            f"the trace {path} is damaged or missing ({what}); remove it and its record and run the benchmark again",
            f"{key}.json",
            f"its trace is damaged or missing: {what}",
        ) from None


def _content(key: str, directory: Path, written: str) -> bytes:
    """Return the content of a record's trace with a checksum. If it is still under its spare name, it gets its own.

    Raises:
        OSError: There is no such file.
        ValueError: The file has another checksum.
    """
    path = trace_path(key, directory)
    if not written:  # a record of format 1
        return path.read_bytes()
    for spare in (False, True, False):
        place = spare_trace_path(key, directory, written) if spare else path
        try:
            content = place.read_bytes()
        except FileNotFoundError:
            continue
        if record_file.checksum(content) == written:
            if spare:
                with suppress(OSError):  # another process was faster, or the folder can only be read
                    place.replace(path)
            return content
    if not path.exists():
        path.read_bytes()
    raise ValueError("it does not belong to this record")
