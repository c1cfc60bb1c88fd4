"""The guard of a cell's process: copies of it that a part makes are ended, and the number of processes is limited.

``os.fork`` returns twice. The copy returns into the loop like the cell, and would continue with the matrix, hook after
hook. After every step, and before anything is reported or written, clbench therefore checks whether this is still the
process that began the cells.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clbench.running.executors.limits import MOST_PROCESSES, descendants, end

STARTS = frozenset({"os.fork", "os.forkpty", "os.posix_spawn", "os.system", "subprocess.Popen"})
"""Audit events of Python at which a process is started."""

_began = mmap.mmap(-1, 8)
"""Number of processes that the running cell has started, counted over all copies of its process."""
_owner: int | None = None
_listening = False


@contextmanager
def one_process() -> Iterator[None]:
    """Limit the number of processes of a cell while it runs; they are counted when it starts one."""
    global _owner, _listening
    if not _listening:
        sys.addaudithook(_count)
        _listening = True
    _began[:] = bytes(8)
    before, _owner = _owner, os.getpid()
    try:
        yield
    finally:
        ends_if_copied(_owner)
        _owner = before


def started() -> int:
    """Return the number of processes that the running cell and its copies have started."""
    return int.from_bytes(_began[:], "little")


def ends_if_copied(owner: int) -> None:
    """End this process silently if it is not the original one: a part has forked, and this is the copy."""
    if os.getpid() != owner:
        os._exit(0)


def _count(event: str, _: object) -> None:
    if event in STARTS and _owner is not None:
        number = started() + 1
        _began[:] = number.to_bytes(8, "little")
        if number > MOST_PROCESSES and len(descendants(_owner)) >= MOST_PROCESSES:
            raise RuntimeError(f"a cell may have {MOST_PROCESSES} processes at a time, and started one more")


def left_behind(before: frozenset[int] = frozenset()) -> list[int]:
    """End children of this process that did not exist before, and their children; Python's own helpers stay."""
    import psutil

    left = []
    for pid in children() - before:
        with suppress(psutil.Error):
            if not any("resource_tracker" in word for word in psutil.Process(pid).cmdline()):
                left += [pid, *descendants(pid)]
    end(left)
    return left


def children() -> frozenset[int]:
    """Return the processes that this one has started and not waited for; only on Linux."""
    told = list(Path("/proc/self/task").glob("*/children"))
    try:
        if told:
            return frozenset(int(pid) for path in told for pid in path.read_text(encoding="ascii").split())
    except OSError:  # a thread has ended meanwhile
        pass
    return frozenset(descendants(os.getpid()))
