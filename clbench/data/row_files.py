"""Arrays that are written to files row by row: a data set need not fit into memory, and a killed build continues.

:func:`clbench.data.cache.cached` opens a desk while it makes a data set. Whoever makes large arrays asks for a
:class:`RowFile`; without a desk, it is an array in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

MARK_BYTES, MARK_SECONDS = 32 << 20, 5.0
"""Bytes or seconds between two marks of the progress; a build that was killed repeats at most so much."""

PIECE = 256
"""Rows that are copied at a time."""

STALE_SECONDS = 7 * 24 * 3600
"""Age at which what killed builds have left is deleted."""


class Desk:
    """Hold the folder in which the arrays of one data set are written; it is made when the first one begins.

    If another process is building the same entry, it is a folder of its own, so that both end well.

    Args:
        entry: The folder that the entry of the data set will be; its parent holds the desk.
    """

    def __init__(self, entry: Path) -> None:
        self._entry = entry
        self._folder: Path | None = None
        self._lock: int | None = None
        self._rows: list[RowFile] = []
        self._written: dict[int, tuple[Path, NDArray[Any]]] = {}

    def next_file(self, rows: RowFile) -> Path | None:
        """Return the path of the next array; a build asks for its arrays in the same order each time.

        It is ``None`` if nothing can be written.
        """
        if self._folder is None:
            with contextlib.suppress(OSError):
                self._folder = self._made()
        self._rows.append(rows)
        return None if self._folder is None else self._folder / f"array-{len(self._rows)}.npy"

    def _made(self) -> Path:
        parent = self._entry.parent
        parent.mkdir(parents=True, exist_ok=True)
        _clean(parent)
        folder = parent / f".partial-{self._entry.name}"
        self._lock = _locked(_lock_of(folder))
        if self._lock is None:
            folder = parent / f".building-{uuid.uuid4().hex}"
        folder.mkdir(exist_ok=True)
        return folder

    def close(self, *, ended: bool) -> None:
        """Close all files, and delete them unless a later build may continue.

        Args:
            ended: Whether the data set is complete.
        """
        for rows in self._rows:
            rows.close()
        if self._folder is not None and (ended or self._lock is None):
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None and self._folder is not None:
            if ended:
                _lock_of(self._folder).unlink(missing_ok=True)
            os.close(self._lock)

    def note(self, path: Path, array: NDArray[Any]) -> None:
        """Record the file of an array that is complete."""
        self._written[address(array)] = (path, array)

    def file_of(self, array: NDArray[Any]) -> Path | None:
        """Return the file that holds just this array; ``None`` if there is none."""
        path, held = self._written.get(address(array), (None, array))
        same = (held.shape, held.dtype.str) == (array.shape, array.dtype.str) and array.flags.c_contiguous
        return path if same else None


_desk: ContextVar[Desk | None] = ContextVar("desk", default=None)


def address(array: NDArray[Any]) -> int:
    """Return where the values of an array begin in memory."""
    return int(array.__array_interface__["data"][0])


class RowFile:
    """Write an array of a known number of rows in their order, to a file of the running desk or to memory.

    Args:
        count: Number of rows.
        resume: Whether rows of an earlier build may be kept.

    Attributes:
        done: Number of rows that are written, also by an earlier build that was killed.
        shape: Shape of a row, ``None`` before the first one.
    """

    def __init__(self, count: int, *, resume: bool = True) -> None:
        desk = _desk.get()
        self.count, self.done = count, 0
        self.shape: tuple[int, ...] | None = None
        self._dtype: np.dtype[Any] = np.dtype(np.uint8)
        self._path = None if desk is None else desk.next_file(self)
        self._file: IO[bytes] | None = None
        self._array: NDArray[Any] | None = None
        self._unmarked, self._marked = 0, time.monotonic()
        if self._path is not None and resume:
            self._continue(self._path)

    def append(self, rows: NDArray[Any]) -> None:
        """Write rows (k, ...); all rows have one shape and type."""
        if self.shape is None:
            self.shape, self._dtype = rows.shape[1:], rows.dtype
            self._begin()
        if self._file is not None:
            try:
                self._file.write(np.ascontiguousarray(rows).data)
                self._unmarked += rows.nbytes
                if self._unmarked >= MARK_BYTES or time.monotonic() - self._marked > MARK_SECONDS:
                    self._mark(self.done + len(rows))
            except OSError:  # the disk is full: the rest goes to memory
                self._move_to_memory()
        if self._array is not None:
            self._array[self.done : self.done + len(rows)] = rows
        self.done += len(rows)

    def repeat_channel(self, times: int) -> None:
        """Give each row written so far, (1, ...), as many equal channels."""
        assert self.shape is not None
        old, path, file, done = self.shape, self._path, self._file, self.done
        wide = (times, *old[1:])
        if file is None or path is None:
            assert self._array is not None
            self._array = np.repeat(self._array, times, axis=1)
            self.shape = wide
            return
        file.close()
        narrow = path.with_suffix(".narrow")
        path.with_suffix(".json").unlink(missing_ok=True)
        os.replace(path, narrow)
        self.shape, self.done, self._file = wide, 0, None
        self._begin()
        with narrow.open("rb") as source:
            _skip_header(source)
            for start in range(0, done, PIECE):
                rows = min(PIECE, done - start)
                held = np.fromfile(source, dtype=self._dtype, count=rows * int(np.prod(old)))
                self.append(np.repeat(held.reshape(rows, *old), times, axis=1))
        narrow.unlink()

    def finish(self) -> NDArray[Any]:
        """Return the complete array (count, ...), mapped copy-on-write if it is in a file."""
        assert self.done == self.count
        if self._array is not None:
            return self._array
        assert self._path is not None
        self._mark(self.done)
        self.close()
        array = np.asarray(np.load(self._path, mmap_mode="c", allow_pickle=False))
        desk = _desk.get()
        if desk is not None:
            desk.note(self._path, array)
        return array

    def close(self) -> None:
        """Close the file, if there is one; what is written stays."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    # ------------------------------------------------------------------ files

    def _begin(self) -> None:
        assert self.shape is not None
        if self._path is not None:
            try:
                self._file = self._path.open("wb")
                header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False}
                np.lib.format.write_array_header_1_0(self._file, {**header, "shape": (self.count, *self.shape)})
                self._file.flush()
            except OSError:
                self._file = None
            else:
                return
        self._array = np.empty((self.count, *self.shape), dtype=self._dtype)

    def _mark(self, done: int) -> None:
        """Note that rows are on the disk."""
        assert self._file is not None
        assert self._path is not None
        assert self.shape is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        mark = {"done": done, "shape": [self.count, *self.shape], "dtype": self._dtype.str}
        fresh = self._path.with_suffix(".mark")
        fresh.write_text(json.dumps(mark), encoding="utf-8")
        os.replace(fresh, self._path.with_suffix(".json"))
        self._unmarked, self._marked = 0, time.monotonic()

    def _continue(self, path: Path) -> None:
        """Keep the rows of an earlier build up to its last mark."""
        try:
            mark = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            shape, dtype, done = tuple(mark["shape"]), np.dtype(mark["dtype"]), int(mark["done"])
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                held = np.lib.format.read_array_header_1_0(file) if version == (1, 0) else None
                begin = file.tell()
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return
        end = begin + done * int(np.prod(shape[1:])) * dtype.itemsize
        if held != (shape, False, dtype) or shape[0] != self.count or path.stat().st_size < end:
            return
        self._file = path.open("r+b")
        self._file.truncate(end)
        self._file.seek(end)
        self.shape, self._dtype, self.done = shape[1:], dtype, done

    def _move_to_memory(self) -> None:
        """Continue in memory, with the rows that are complete in the file."""
        assert self._path is not None
        assert self.shape is not None
        self._array = np.empty((self.count, *self.shape), dtype=self._dtype)
        self.close()
        with self._path.open("rb") as file:
            _skip_header(file)
            held = np.fromfile(file, dtype=self._dtype, count=self.done * int(np.prod(self.shape)))
        self._array[: self.done] = held.reshape(self.done, *self.shape)
        self._path.unlink()
        self._path.with_suffix(".json").unlink(missing_ok=True)


def _skip_header(file: IO[bytes]) -> None:
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)


def taken(x: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the rows of an array where a mask (N,) is true; written to a file of the running desk if there is one."""
    places = np.flatnonzero(chosen)
    if _desk.get() is None or not len(places):
        return np.asarray(x[places])
    made = RowFile(len(places), resume=False)
    for start in range(0, len(places), PIECE):
        made.append(x[places[start : start + PIECE]])
    return made.finish()


# --------------------------------------------------------------------------------------------------- desks


@contextlib.contextmanager
def desk_for(entry: Path) -> Iterator[Desk]:
    """Open a desk for the entry of a data set in the cache.

    A build that was killed is continued by the next one. What the desk holds is deleted when the block ends without an
    error.
    """
    desk, ended = Desk(entry), False
    token = _desk.set(desk)
    try:
        yield desk
        ended = True
    finally:
        _desk.reset(token)
        desk.close(ended=ended)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def _locked(path: Path) -> int | None:
    """Return an open file that no other process has locked; ``None`` if one has, or if files cannot be locked here.

    The lock of a process that is killed is free at once.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path).st_ino == os.fstat(file).st_ino:  # otherwise its owner has just deleted it
            return file
    os.close(file)
    return None


def _clean(parent: Path) -> None:
    """Delete what builds left that were killed long ago."""
    now = time.time()
    for left in (*parent.glob(".partial-*"), *parent.glob(".building-*"), *parent.glob(".writing-*")):
        with contextlib.suppress(OSError):
            newest = max(each.stat().st_mtime for each in (left, *(left.iterdir() if left.is_dir() else ())))
            if now - newest < STALE_SECONDS:
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()
