"""The cells of a run that several commands may share: each is claimed before it is run, and records that other commands
have written meanwhile are taken over."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from clbench.core import store
from clbench.core.notices import notice
from clbench.core.record import Record
from clbench.core.temporary_files import folder_time
from clbench.running.cell_key import Cell
from clbench.running.claims import Claims
from clbench.running.executors import Progress
from clbench.running.found_records import Mark, mark_of

if TYPE_CHECKING:
    from clbench.running.scores_so_far import Scores

REST_SECONDS = 0.2
"""Shortest time in seconds between two searches of cells that are all claimed by other commands."""

TRANSIENT = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN)
"""Errors of a network file system that may pass."""
MOST_FAILURES = 20
"""Number of such errors after which cells are run without claims."""


@dataclass
class Told:
    """Hold how far a cell is: when this command began it, what was done before, and its scores so far."""

    began: float
    step: int = 0
    fraction: float = 0.0
    first: float | None = None
    scores: Scores | None = None


class Shared:
    """Hold the cells to run, some of which other commands may run.

    Args:
        cells: The cells that are not finished.
        out: The result directory.
        found: A function that gets records that other commands have written meanwhile.
        before: The marks of the records of these cells when they were read; a record with another mark is new.
        aside: A function that moves the old files of a cell out of the way. It is called while the cell is claimed,
            and only if its record is the one that was read.
        lacks: A function that says whether files that are to be kept with a record are missing.
        wait: Whether to wait for cells that other commands run.
        waits: A function that is called once, with the number of these cells, when this command begins to wait.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        out: Path,
        found: Callable[[Record], None],
        *,
        before: Mapping[str, Mark] | None = None,
        aside: Callable[[Cell], None] = lambda _cell: None,
        lacks: Callable[[Record], bool] = lambda _record: False,
        wait: bool = True,
        waits: Callable[[int], None] = lambda _cells: None,
    ) -> None:
        self.out = out
        self._cells = {cell.key: cell for cell in cells}
        self._found, self._aside, self._lacks, self._wait = found, aside, lacks, wait
        read = {key: mark for cell in cells if (mark := mark_of(key := cell.key, out)) is not None}
        self._before = read if before is None else dict(before)
        self._claims: Claims | None = Claims(out)
        self._told: dict[str, Told] = {}
        self._next = 0.0
        self._failed = 0
        self._waits, self._has_waited = waits, False

    @property
    def waiting(self) -> bool:
        """Return whether cells remain, to be run here or by other commands that this one waits for."""
        return bool(self._cells) and self._wait

    @property
    def left(self) -> list[Cell]:
        """Return the cells that other commands run."""
        return list(self._cells.values())

    def take(self) -> Cell | None:
        """Claim the next cell to run here, and return it; ``None`` if other commands run all remaining cells, or none
        remain."""
        began = monotonic()
        if began < self._next:
            return None
        for cell in tuple(self._cells.values()):
            if not self._claim(cell.key):
                continue
            del self._cells[cell.key]
            record = self._written_meanwhile(cell.key)
            if record is None:
                mark = mark_of(cell.key, self.out)
                if mark is not None and mark == self._before.get(cell.key):
                    self._aside(cell)
                self._tell(cell, Told(monotonic()))
                return cell
            self.release(cell.key)
            self._found(record)
        if self.waiting and not self._told and not self._has_waited:
            self._has_waited = True
            self._waits(len(self._cells))
        self._next = monotonic() + max(REST_SECONDS, 10 * (monotonic() - began))
        return None

    def _written_meanwhile(self, key: str) -> Record | None:
        """Return the record of a cell that another command has written since this one read it, if it is complete."""
        with suppress(OSError):
            folder_time(self.out / "records")  # a network file system then knows which records there are now
        mark = mark_of(key, self.out)
        if mark is None or mark == self._before.get(key):
            return None
        try:
            record = store.load(store.record_path(key, self.out))
        except store.Damaged:
            return None
        return None if self._lacks(record) else record

    def report(self, progress: Progress) -> None:
        """Tell other commands how far a cell is."""
        told = self._told.get(progress.cell.key)
        if told is not None:
            told.first = progress.fraction if told.first is None else told.first
            told.step, told.fraction, told.scores = progress.step, progress.fraction, progress.scores
            self._tell(progress.cell, told)

    def _tell(self, cell: Cell, told: Told) -> None:
        self._told[cell.key] = told
        if self._claims is not None:
            self._claims.report(
                cell.key,
                label=cell.label,
                seed=cell.seed,
                step=told.step,
                fraction=round(told.fraction, 4),
                from_fraction=round(told.first or 0.0, 4),
                seconds=round(monotonic() - told.began, 1),
                **({} if told.scores is None else asdict(told.scores)),
            )

    def release(self, key: str) -> None:
        """Give a cell back after its record has been written."""
        self._told.pop(key, None)
        if self._claims is not None:
            self._claims.release(key)

    def close(self) -> None:
        """Give all cells back."""
        if self._claims is not None:
            self._claims.close()

    def _claim(self, key: str) -> bool:
        if self._claims is None:
            return True
        try:
            return self._claims.take(key)
        except OSError as error:
            self._failed += 1
            if error.errno in TRANSIENT and self._failed < MOST_FAILURES:
                return False
            self._claims.close()
            self._claims = None
            notice(
                f"cells cannot be claimed in {self.out} ({error.strerror or error}); run one command at a time in this "
                "directory"
            )
            return True
