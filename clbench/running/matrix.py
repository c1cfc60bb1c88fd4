"""The matrix of a plan: cells that are not on disk yet are run, and each record is written as soon as it is
finished."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clbench.core.errors import Refused
from clbench.core.notices import notice
from clbench.core.record import Record
from clbench.running import attempts
from clbench.running.cell_files import move_cell
from clbench.running.cell_key import Cell
from clbench.running.cell_order import longest_first
from clbench.running.executors import (
    Elsewhere,
    Event,
    Notified,
    Progress,
    Retried,
    Trained,
    execute,
    executor_name,
    ignore,
)
from clbench.running.executors.added_objects import pack
from clbench.running.found_records import Found, find_records
from clbench.running.litter import remove_litter
from clbench.running.options import Options
from clbench.running.saving import amend, check_still_there, check_writable, put_record, set_damaged_aside, tell_damaged
from clbench.running.shared_cells import Shared
from clbench.running.tuned_cells import with_tuning

OTHER_DATA = "other-data"
"""Folder of a result directory for records that were made with other data; it is a result directory too."""


@dataclass
class Outcome:
    """Hold the result of a matrix.

    Args:
        records: One per finished cell, in the plan's order.
        found: Number of those that were on disk before.
        elsewhere: Cells without a record, because other commands run them and this one did not wait.
    """

    records: list[Record] = field(default_factory=list)
    found: int = 0
    elsewhere: list[Cell] = field(default_factory=list)

    @property
    def failed(self) -> list[Record]:
        return [record for record in self.records if record.status in ("failed", "diverged")]


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jobs_for(cells: Sequence[Cell], jobs: int | str) -> int:
    """Return the number of jobs; ``auto`` uses all cores with cells of their benchmark's number of threads.

    Raises:
        Refused: The value is neither ``auto`` nor a number from 1.
    """
    if jobs == "auto":
        threads = max((cell.config["training"]["threads"] for cell in cells), default=1)
        return max(1, min(len(cells), usable_cores() // threads))
    try:
        number = int(jobs)
    except ValueError:
        number = 0
    if number < 1:
        raise Refused(f"jobs = {jobs!r} is not possible; give a number from 1, or auto")
    return min(number, max(1, len(cells)))


def run_matrix(
    cells: Sequence[Cell],
    options: Options,
    *,
    out: Path | None = None,
    jobs: int | str = 1,
    watch: Callable[[Event], None] = ignore,
    found: Found | None = None,
    wait: bool = True,
    waits: Callable[[int], None] = lambda _cells: None,
    begin: Callable[[Path], None] = lambda _out: None,
) -> Outcome:
    """Run cells. A failing or diverging cell becomes a record with the reason, and the matrix continues.

    Args:
        cells: The plan's cells.
        options: What the cells share.
        out: Result directory; cells finished there are not run again. ``None`` keeps records only in memory.
        jobs: Number of cells at a time, or ``auto``.
        watch: A function that gets every event; records are on disk before.
        found: The records that the result directory holds, if they were read before. Damaged records, and those that
            were made with other data than the current, are put aside when their cells are run again.
        wait: Whether to wait for cells that other commands run in the same result directory.
        waits: A function that is called once when only such cells remain, with their number.
        begin: A function that gets the result directory before the first cell, once it can be written.

    Raises:
        Refused: The result directory cannot be written, or was removed meanwhile; finished records are safe.
    """
    folder = None if out is None else out.absolute()  # independent of later changes of the working directory
    if found is None:
        found = Found() if folder is None else find_records(cells, folder, options.keep, compare_data=False)
    known = dict(found.known)
    if folder is not None:
        _relabel(cells, known, folder)
    todo = [cell for cell in cells if cell.key not in known]
    n = jobs_for(todo, jobs)
    todo = longest_first(todo, folder) if n > 1 else todo
    options = replace(options, all_cores=jobs == "auto")
    if executor_name(options, n) != "in-process":
        options = replace(options, added=tuple(pack(todo)))
    outcome = Outcome(found=len(known))
    shared: Shared | None = None

    def put(record: Record) -> Record:
        """Write a record, and return the one that stands: perhaps that of another command."""
        assert folder is not None
        again = record.key in found.lacking or record.key in found.stale
        return put_record(record, folder, again=again, ends=options.keep is not None and options.keep.ends)

    def keep(event: Any) -> None:
        if isinstance(event, Notified):
            notice(event.sentence)
        elif isinstance(event, Retried):
            notice(f"{event.cell.label}, seed {event.cell.seed}: {event.reason}; attempt {event.attempt} begins")
        elif isinstance(event, Trained):
            if folder is not None and shared is not None:
                put(event.record)
            return
        elif isinstance(event, Record):
            if folder is not None:
                event = attempts.with_attempts(event, folder)
            known[event.key] = event
            if folder is not None and shared is not None:
                known[event.key] = put(event)
                attempts.settle(event, folder)
                shared.release(event.key)
        elif isinstance(event, Progress) and shared is not None:
            shared.report(event)
        watch(event)

    def elsewhere(record: Record) -> None:
        known[record.key] = record
        watch(Elsewhere(record))

    if folder is not None and todo:
        check_writable(folder)
        begin(folder)
        shared = Shared(
            todo,
            folder,
            elsewhere,
            before=found.marks,
            aside=_aside(found, folder),
            lacks=(lambda _record: False) if options.keep is None else options.keep.lacks,
            wait=wait,
            waits=waits,
        )
    try:
        execute(todo if shared is None else shared, options, jobs=n, emit=keep)
    finally:
        if shared is not None:
            shared.close()
        if folder is not None:
            remove_litter(folder)
    outcome.elsewhere = [] if shared is None else shared.left
    left = {cell.key for cell in outcome.elsewhere}
    outcome.records = [known[cell.key] for cell in cells if cell.key not in left]
    if folder is not None and todo:
        check_still_there(outcome.records, folder)
    return outcome


def _aside(found: Found, out: Path) -> Callable[[Cell], None]:
    """Return a function that moves old files of a cell out of the way: damaged ones, and those made with other data."""

    told = tell_damaged(tuple(found.damaged.values()), out)

    def aside(cell: Cell) -> None:
        if cell.key in found.damaged:
            set_damaged_aside(cell.key, out, found.damaged[cell.key], told=told)
        elif cell.key in found.outdated:
            move_cell(cell.key, out, out / OTHER_DATA)

    return aside


def _relabel(cells: Sequence[Cell], known: dict[str, Record], out: Path) -> None:
    """Give found records the labels of their cells, and how their settings were found; neither is part of a key."""
    for cell in cells:
        if cell.key in known:
            found = known[cell.key]
            tuning = with_tuning(found, cell)
            if found.label != cell.label or found.tuning != tuning:
                known[cell.key] = amend(found, out, label=cell.label, tuning=tuning)
