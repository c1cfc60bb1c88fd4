"""Locks of cells: commands that use one result directory share its cells, and lock each cell before they run it.

The kernel locks ``OUT/claims/KEY.lock`` as long as the command that runs the cell lives. A command that dies loses its
locks at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from clbench.core import store
from clbench.core.notices import notice
from clbench.core.record import Record
from clbench.running.cell_key import Cell

Mark = tuple[int, int, int]
ATTEMPTS = 20


def _lock(key: str, out: Path) -> FileLock:
    return FileLock(out / "claims" / f"{key}.lock", thread_local=False)


def is_locked(key: str, out: Path) -> bool:
    """Return whether a command runs a cell at the moment; never so where cells cannot be locked."""
    lock = _lock(key, out)
    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # a file system without locks
        return False


class Shared:
    """Hold the cells to run, some of which other commands may run.

    Args:
        cells: The cells that are not finished.
        out: The result directory.
        found: A function that gets records that other commands have written meanwhile.
    """

    def __init__(self, cells: Sequence[Cell], out: Path, found: Callable[[Record], None]) -> None:
        self._cells, self._out, self._found = list(cells), out, found
        self._before = {cell.key: self._mark(cell.key) for cell in cells}
        self._held: dict[str, FileLock] = {}
        self._told = False

    @property
    def waiting(self) -> bool:
        """Return whether cells remain, to be run here or by other commands."""
        return bool(self._cells)

    def take(self) -> Cell | None:
        """Lock the next cell to run here, and return it; ``None`` if other commands run all remaining cells, or none
        remain."""
        for cell in list(self._cells):
            if not self._claim(cell.key):
                continue
            self._cells.remove(cell)
            record = self._written_meanwhile(cell.key)
            if record is None:
                return cell
            self.release(cell.key)
            self._found(record)
        return None

    def release(self, key: str) -> None:
        """Release the lock of a cell after its record has been written."""
        lock = self._held.pop(key, None)
        if lock is not None:
            with suppress(OSError):
                Path(lock.lock_file).unlink()  # while locked: whoever opened it meanwhile sees that it has no name
            with suppress(OSError):
                lock.release()

    def close(self) -> None:
        """Release all locks."""
        for key in list(self._held):
            self.release(key)
        with suppress(OSError):
            (self._out / "claims").rmdir()

    def _claim(self, key: str) -> bool:
        lock = _lock(key, self._out)
        try:
            for attempt in range(ATTEMPTS):
                try:
                    (self._out / "claims").mkdir(parents=True, exist_ok=True)
                    lock.acquire(timeout=0)
                    break
                except (FileNotFoundError, FileExistsError):  # another command has just removed the empty folder
                    if attempt == ATTEMPTS - 1:
                        raise
        except Timeout:
            return False
        except (OSError, NotImplementedError) as error:
            if not self._told:
                self._told = True
                notice(f"cells cannot be locked in {self._out} ({error}); run one command at a time in this directory")
            return True
        self._held[key] = lock
        return True

    def _mark(self, key: str) -> Mark | None:
        with suppress(OSError):
            found = store.record_path(key, self._out).stat()
            return found.st_mtime_ns, found.st_ino, found.st_size
        return None

    def _written_meanwhile(self, key: str) -> Record | None:
        mark = self._mark(key)
        if mark is None or mark == self._before[key]:
            return None
        try:
            return store.load(store.record_path(key, self._out))
        except store.Damaged:
            return None
