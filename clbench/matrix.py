"""A matrix: the cells of a plan, run where they are not yet on disk, each written as soon as it is finished."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from clbench import store
from clbench.data.roots import offline
from clbench.executors import Event, Options, execute, ignore
from clbench.parameters import Refused
from clbench.plan import Cell, rows
from clbench.record import Record

FINISHED = ("done", "skipped", "diverged")
"""Statuses that running again would only repeat; a failed cell is tried again."""


@dataclass
class Outcome:
    """What a matrix came to.

    Args:
        records: One per cell that is finished, in the plan's order.
        found: How many of them were on disk before.
    """

    records: list[Record] = field(default_factory=list)
    found: int = 0

    @property
    def failed(self) -> list[Record]:
        return [record for record in self.records if record.status in ("failed", "diverged")]


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jobs_for(cells: Sequence[Cell], jobs: int | str) -> int:
    """A number of jobs; ``auto`` fills the cores with cells of their benchmark's number of threads.

    Raises:
        Refused: Neither ``auto`` nor a number from 1.
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


def finished(cell: Cell, out: Path) -> Record | None:
    """The cell's record, where there is one that stands."""
    if not store.has(cell.key, out):
        return None
    record = store.load(store.record_path(cell.key, out))
    return record if record.status in FINISHED else None


def run_matrix(
    cells: Sequence[Cell],
    options: Options,
    *,
    out: Path | None = None,
    jobs: int | str = 1,
    watch: Callable[[Event], None] = ignore,
    outdated: Collection[str] = (),
) -> Outcome:
    """Run cells; a failing or diverging cell is a record with its reason, and the matrix goes on.

    Args:
        cells: The plan's cells.
        options: What they share.
        out: Result directory; cells finished there are not run again. ``None`` keeps records in memory only.
        jobs: Cells at a time, or ``auto``.
        watch: Told of every event, the records included, after they are on disk.
        outdated: Keys of records that were made from other data than there is now; they are put aside, and run again.

    Raises:
        Refused: The result directory cannot be written; finished records are safe.
    """
    if out is not None:
        for key in outdated:
            _put_aside(key, out)
    known = {cell.key: record for cell in cells if out and (record := finished(cell, out))}
    if out is not None:
        _relabel(cells, known, out)
    todo = [cell for cell in cells if cell.key not in known]
    outcome = Outcome(found=len(known))
    if out is not None:
        _writable(out)

    def keep(event: Event) -> None:
        if isinstance(event, Record):
            known[event.key] = event
            if out is not None:
                _save(event, out)
        watch(event)

    execute(todo, options, jobs=jobs_for(todo, jobs), emit=keep)
    outcome.records = [known[cell.key] for cell in cells]
    return outcome


def outdated(cells: Sequence[Cell], out: Path, data_dir: str | None) -> list[str]:
    """Keys of finished cells whose records were made from other data than there is now: by the checksums of the rows.

    Nothing is downloaded; where the data is not there, or the record is older than these checksums, none is told.
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
"""Folder of a result directory for records that were made from other data than there is now: a result directory too."""


def _put_aside(key: str, out: Path) -> None:
    try:
        for kind, suffix in (("traces", "npz"), ("records", "json")):
            path = out / kind / f"{key}.{suffix}"
            if path.exists():
                (out / OTHER_DATA / kind).mkdir(parents=True, exist_ok=True)
                path.replace(out / OTHER_DATA / kind / path.name)
    except OSError as error:
        raise Refused(f"results cannot be written to {out}: {error.strerror}; choose another --out") from None


def _relabel(cells: Sequence[Cell], known: dict[str, Record], out: Path) -> None:
    """Give found records the labels that their cells have now: a label is no part of a key."""
    for cell in cells:
        if cell.key in known and known[cell.key].label != cell.label:
            known[cell.key] = replace(known[cell.key], label=cell.label)
            _save(known[cell.key], out)


def _writable(out: Path) -> None:
    try:
        store.write(out / ".writable", b"")
        (out / ".writable").unlink()
    except OSError as error:
        raise Refused(f"results cannot be written to {out}: {error.strerror}; choose another --out") from None


def _save(record: Record, out: Path) -> None:
    try:
        store.save(record, out)
    except OSError as error:
        raise Refused(
            f"the record of {record.label}, seed {record.seed} cannot be written to {out}: {error.strerror}; finished "
            "cells are safe, make room and run the same command again"
        ) from None
