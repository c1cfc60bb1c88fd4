"""The matrix of a plan: cells that are not on disk yet are run, and each record is written as soon as it is
finished."""

from __future__ import annotations

import errno
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.notices import notice
from clbench.core.record import Record
from clbench.data.roots import offline
from clbench.running.cell_files import move_cell
from clbench.running.cell_key import Cell
from clbench.running.cell_locks import Shared
from clbench.running.executors import Elsewhere, Event, Notified, Trained, execute, executor_name, ignore
from clbench.running.executors.added_objects import pack
from clbench.running.options import Options
from clbench.running.plan import rows
from clbench.running.tuned_cells import with_tuning

FINISHED = ("done", "skipped", "diverged")
"""Statuses that running again would only repeat; a failed cell is run again."""


@dataclass
class Outcome:
    """Hold the result of a matrix.

    Args:
        records: One per finished cell, in the plan's order.
        found: Number of those that were on disk before.
    """

    records: list[Record] = field(default_factory=list)
    found: int = 0

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


def finished(cell: Cell, out: Path, keep: store.Keep | None = None) -> Record | None:
    """Return the cell's finished record if it exists with all files to keep with it; a damaged record does not count.

    Raises:
        Refused: A newer version of clbench wrote it.
    """
    if not store.has(cell.key, out):
        return None
    try:
        record = store.load(store.record_path(cell.key, out))
    except store.Damaged:
        return None
    stands = record.status in FINISHED and not (keep is not None and keep.lacks(record))
    return record if stands else None


def standing(
    cells: Sequence[Cell], out: Path, keep: store.Keep | None = None, *, outdated: Iterable[str] = ()
) -> set[str]:
    """Return the keys of cells that will not be run again.

    Args:
        cells: The cells of a run.
        out: The result directory.
        keep: The files to keep; a cell that lacks them is run again.
        outdated: Keys of cells whose records were made with other data; they are run again too.
    """
    old = set(outdated)
    return {cell.key for cell in cells if cell.key not in old and finished(cell, out, keep) is not None}


def run_matrix(
    cells: Sequence[Cell],
    options: Options,
    *,
    out: Path | None = None,
    jobs: int | str = 1,
    watch: Callable[[Event], None] = ignore,
    outdated: Collection[str] = (),
) -> Outcome:
    """Run cells. A failing or diverging cell becomes a record with the reason, and the matrix continues.

    Args:
        cells: The plan's cells.
        options: What the cells share.
        out: Result directory; cells finished there are not run again. ``None`` keeps records only in memory.
        jobs: Number of cells at a time, or ``auto``.
        watch: A function that gets every event; records are on disk before.
        outdated: Keys of records that were made with other data than the current; they are put aside, and run again.

    Raises:
        Refused: The result directory cannot be written, or was removed meanwhile; finished records are safe.
    """
    if out is not None:
        for key in outdated:
            move_cell(key, out, out / OTHER_DATA)
    known = {cell.key: record for cell in cells if out and (record := finished(cell, out, options.keep))}
    if out is not None:
        _relabel(cells, known, out)
    todo = [cell for cell in cells if cell.key not in known]
    n = jobs_for(todo, jobs)
    if executor_name(options, n) != "in-process":
        options = replace(options, added=tuple(pack(todo)))
    outcome = Outcome(found=len(known))
    folder = None if out is None else out.absolute()  # independent of later changes of the working directory
    if folder is not None and todo:
        _writable(folder)
        _set_damaged_aside(todo, folder)

    def keep(event: Any) -> None:
        if isinstance(event, Notified):
            notice(event.sentence)
        elif isinstance(event, Trained):
            if folder is not None:
                _save(event.record, folder)
            return
        elif isinstance(event, Record):
            known[event.key] = event
            if folder is not None and not _worse(event, folder):
                _save(event, folder)
            if shared is not None:
                shared.release(event.key)
        watch(event)

    def found(record: Record) -> None:
        known[record.key] = record
        watch(Elsewhere(record))

    shared = None if folder is None or not todo else Shared(todo, folder, found)
    try:
        execute(todo if shared is None else shared, options, jobs=n, emit=keep)
    finally:
        if shared is not None:
            shared.close()
    outcome.records = [known[cell.key] for cell in cells]
    if folder is not None and todo:
        _still_there(outcome.records, folder)
    return outcome


def outdated(cells: Sequence[Cell], out: Path, data_dir: str | None) -> list[str]:
    """Return the keys of finished cells whose records were made with other data, by the checksums of data sets.

    Nothing is downloaded. A cell without data here, or with a record older than these checksums, is not included.
    """
    found: list[str] = []
    now: dict[str, str] = {}
    for cell in cells:
        record = finished(cell, out)
        if record is None or not record.data:
            continue
        named = json.dumps(cell.config["stream"]["dataset"], sort_keys=True)
        if named not in now:
            now[named] = _data(cell, data_dir)
        if now[named] not in ("", record.data):
            found.append(cell.key)
    return found


def _data(cell: Cell, data_dir: str | None) -> str:
    try:
        with offline():
            return rows(cell.config["stream"], data_dir=data_dir).checksum
    except Refused:
        return ""


OTHER_DATA = "other-data"
"""Folder of a result directory for records that were made with other data; it is a result directory too."""


def _relabel(cells: Sequence[Cell], known: dict[str, Record], out: Path) -> None:
    """Give found records the labels of their cells, and how their settings were found; neither is part of a key."""
    for cell in cells:
        if cell.key in known:
            found = known[cell.key]
            tuning = with_tuning(found, cell)
            if found.label != cell.label or found.tuning != tuning:
                known[cell.key] = replace(found, label=cell.label, tuning=tuning)
                _save(known[cell.key], out)


def _worse(record: Record, out: Path) -> bool:
    """Return whether a cell was done before, was run again for further files, and is not done this time."""
    if record.status == "done" or not store.has(record.key, out):
        return False
    try:
        return store.load(store.record_path(record.key, out)).status == "done"
    except store.Damaged:
        return False


def _writable(out: Path) -> None:
    probe = out / f".writable.{secrets.token_hex(8)}"  # unique: other commands may begin now too
    try:
        store.write(probe, b"")
        probe.unlink(missing_ok=True)
        for folder in (out / "records", out / "traces"):
            folder.mkdir(exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except FileExistsError as error:
        raise Refused(f"results cannot be written to {out}: {error.filename} is a file; choose another --out") from None
    except OSError as error:
        raise Refused(f"results cannot be written to {out}: {error.strerror}; choose another --out") from None


def _set_damaged_aside(cells: Sequence[Cell], out: Path) -> None:
    for cell in cells:
        if store.has(cell.key, out):
            try:
                store.load(store.record_path(cell.key, out))
            except store.Damaged as error:
                try:
                    store.set_record_aside(cell.key, out)
                except FileNotFoundError:  # another command was faster
                    continue
                except OSError as problem:
                    raise Refused(f"{error}; it cannot be moved: {problem.strerror}") from None
                said = str(error).partition("; remove it")[0]
                notice(f"{said}; it was moved to {out / 'damaged'} and its cell is run again")


def _save(record: Record, out: Path) -> None:
    try:
        store.save(record, out)
    except OSError as error:
        raise Refused(
            f"the record of {record.label}, seed {record.seed} cannot be written to {out}: {error.strerror}; "
            f"{_rescued(record, out)}finished cells are safe, make room and run the same command again"
        ) from None


def _rescued(record: Record, out: Path) -> str:
    """Write a record elsewhere, and return the place as part of a sentence."""
    place = Path(tempfile.gettempdir()) / f"clbench-rescued-{out.name}"
    try:
        store.save(record, place)
    except OSError:
        return ""
    return f"it is kept in {place}, whose records and traces belong into those of {out}; "


def _still_there(records: Sequence[Record], out: Path) -> None:
    """Check that finished records are on disk at the end too, and write those again that were removed meanwhile.

    Raises:
        Refused: Records were removed meanwhile.
    """
    lost = [record for record in records if not store.has(record.key, out)]
    for record in lost:
        _save(record, out)
    if lost:
        raise Refused(
            f"{len(lost)} of {len(records)} records were removed from {out} while the matrix ran; they have been "
            "written again, and other removed files are lost; run the same command again for the leaderboard"
        )
