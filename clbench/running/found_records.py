"""The records of a plan that a result directory holds: each is read once, before anything runs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.record import Record
from clbench.data.roots import offline
from clbench.running.cell_key import Cell
from clbench.running.code_digest import CURRENT, code_state
from clbench.running.plan import rows
from clbench.running.rerun import STALE

FINISHED = ("done", "skipped", "diverged")
"""Statuses that running again would only repeat; a failed cell is run again."""

Mark = tuple[int, int, int]
"""Time, number and size of a file: a file that was written anew has another mark."""


@dataclass
class Found:
    """Hold what a result directory knows of the cells of a plan.

    Args:
        known: The finished records by key; their cells are not run again.
        outdated: Keys of finished cells whose records were made with other data; they are run again.
        lacking: Keys of finished cells that lack files to keep; they are run again, and their records renewed.
        stale: Records of finished cells whose code has changed since or is unknown, by key, if these are to be run
            again. Each stands until the new run has ended.
        damaged: The faults of damaged records by key; their cells are run again.
        marks: The marks of all records that were found, so that one that is written later is recognised.
    """

    known: dict[str, Record] = field(default_factory=dict)
    outdated: set[str] = field(default_factory=set)
    lacking: set[str] = field(default_factory=set)
    stale: dict[str, Record] = field(default_factory=dict)
    damaged: dict[str, store.Damaged] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)


def find_records(
    cells: Sequence[Cell],
    out: Path,
    keep: store.Keep | None = None,
    *,
    data_dir: str | None = None,
    compare_data: bool = True,
    rerun: str | None = None,
) -> Found:
    """Read the records of some cells once.

    Nothing is downloaded to compare data. A cell without data here, or with a record older than checksums of data sets,
    is not outdated.

    Args:
        cells: The cells of a plan.
        out: The result directory.
        keep: The files to keep; a finished cell that lacks them is run again.
        data_dir: The directory of data sets.
        compare_data: Whether to compare the checksums of data sets; not possible for data of the program.
        rerun: ``stale`` to run finished cells again whose code has changed since or is unknown.

    Raises:
        Refused: A newer version of clbench wrote a record.
    """
    found = Found()
    now: dict[str, str] = {}
    there = _names(out / "records")
    for cell in cells:
        key = cell.key
        mark = mark_of(key, out) if f"{key}.json" in there else None
        if mark is None:
            continue
        found.marks[key] = mark
        try:
            record = store.load(store.record_path(key, out), lazily=True)
        except store.Damaged as error:
            found.damaged[key] = error
            continue
        if record.status not in FINISHED:
            continue
        if compare_data and record.data and _data(cell, data_dir, now) not in ("", record.data):
            found.outdated.add(key)
        elif keep is not None and keep.lacks(record):
            found.lacking.add(key)
        elif rerun == STALE and code_state(record.cell, record.code) != CURRENT:
            found.stale[key] = record
        else:
            found.known[key] = record
    return found


def _names(folder: Path) -> set[str]:
    """Return the names of the files in a folder: one request instead of one for each cell."""
    with suppress(OSError):
        return set(os.listdir(folder))
    return set()


def mark_of(key: str, out: Path) -> Mark | None:
    """Return the mark of a cell's record; ``None`` if there is no record."""
    with suppress(OSError):
        found = store.record_path(key, out).stat()
        return found.st_mtime_ns, found.st_ino, found.st_size
    return None


def _data(cell: Cell, data_dir: str | None, now: dict[str, str]) -> str:
    """Return the checksum of a cell's data set as it is now, empty if it is not here; ``now`` remembers checksums."""
    named = json.dumps(cell.config["stream"]["dataset"], sort_keys=True)
    if named not in now:
        try:
            with offline():
                now[named] = rows(cell.config["stream"], data_dir=data_dir).checksum
        except Refused:
            now[named] = ""
    return now[named]
