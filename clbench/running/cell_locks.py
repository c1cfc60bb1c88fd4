"""Commands that run on one folder share its cells: each cell is claimed by a lock before it is run.

``OUT/claims/KEY.lock`` is locked by the kernel for as long as the command that runs the cell lives: one that dies loses
its claims at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from clbench.core import store
from clbench.core.notices import notice
from clbench.core.record import Record
from clbench.running.plan import Cell

Mark = tuple[int, int, int]
ATTEMPTS = 20


class Shared:
    """Cells to do, of which other commands may do some.

    Args:
        cells: Those not finished.
        out: Folder of results.
        found: Told of records that other commands have written meanwhile.
    """

    def __init__(self, cells: Sequence[Cell], out: Path, found: Callable[[Record], None]) -> None:
        self._cells, self._out, self._found = list(cells), out, found
        self._before = {cell.key: self._mark(cell.key) for cell in cells}
        self._held: dict[str, FileLock] = {}
        self._told = False

    @property
    def waiting(self) -> bool:
        """Whether cells are left, to be run here or by others."""
        return bool(self._cells)

    def take(self) -> Cell | None:
        """The next cell to run here, claimed; ``None`` where others run all that are left, or none are."""
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
        """Give a claim back, the record being on disk."""
        lock = self._held.pop(key, None)
        if lock is not None:
            with suppress(OSError):
                Path(lock.lock_file).unlink()  # while it is held: whoever opened it meanwhile sees that it has no name
            with suppress(OSError):
                lock.release()

    def close(self) -> None:
        """Give all claims back."""
        for key in list(self._held):
            self.release(key)
        with suppress(OSError):
            (self._out / "claims").rmdir()

    def _claim(self, key: str) -> bool:
        lock = FileLock(self._out / "claims" / f"{key}.lock", thread_local=False)
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
                notice(f"cells cannot be claimed in {self._out} ({error}); run one command at a time in this folder")
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
