"""The record that stands if a cell was run more than once: the first one, unless a new run was asked for."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from clbench.comparison.record_difference import first_difference
from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.notices import notice
from clbench.core.record import Record
from clbench.core.trace_equality import common_difference, trace_digest
from clbench.running.cell_files import FINAL, copy_cell, move_files

CONFLICTS = "conflicts"
"""Folder of a result directory for later results of cells that differ from the first; a result directory too."""
SUPERSEDED = "superseded"
"""Folder of a result directory for records that other code replaced; a result directory too."""


def keep_first(record: Record, out: Path) -> Record:
    """Write a record unless a finished one of its cell stands.

    An equal one changes nothing. A different finished one goes to ``OUT/conflicts``, and a sentence reports it.

    Returns:
        The record that stands.

    Raises:
        OSError: The directory cannot be written.
    """
    standing = store.publish(record, out)
    if standing is None:
        return record
    if record.status == "failed":
        return standing
    difference = result_difference(standing, record)
    if not difference:
        return _of_one_run(standing, record, out)
    place = free_place(record, out / CONFLICTS)
    store.save(record, place)
    notice(
        f"{record.label}, seed {record.seed}: another run of this cell had a different result ({difference}); the "
        f"first record stands, and the other one is in {place}"
    )
    return standing


def renew(record: Record, out: Path, *, models: bool = True) -> Record:
    """Write the record of a cell that was run again on request, such as with changed code.

    If its result equals that of the record that stands, this one stays, and only its ``code`` is renewed. Otherwise the
    old record moves to ``OUT/superseded`` with all of its files, and a sentence reports the difference. A run that is
    worse than the old one replaces nothing. A process that is killed meanwhile leaves the old record.

    Args:
        record: The new record.
        out: The result directory.
        models: Whether models after each experience are of the old record, and move with it.

    Returns:
        The record that stands.

    Raises:
        OSError: The directory cannot be written.
    """
    try:
        old = store.load(store.record_path(record.key, out))
    except store.Damaged:
        return keep_first(record, out)
    who = f"{record.label}, seed {record.seed}"
    if old.status == "failed":
        return keep_first(record, out)
    if record.status != old.status and (record.status == "failed" or old.status == "done"):
        notice(f"{who}: the new run was not used, because it {_ended(record)}; the old record stands")
        return old
    difference = result_difference(old, record)
    if not difference:
        if record.code and old.code != record.code:
            store.amend(record.key, out, code=record.code)
        return _of_one_run(store.load(store.record_path(record.key, out)), record, out)
    place = free_place(old, out / SUPERSEDED)
    copy_cell(record.key, out, place)
    beside = [each for each in FINAL if each[0] not in ("records", "traces") and (models or each != ("models", ""))]
    move_files(record.key, out, place, beside)
    store.save(record, out)
    notice(f"{who}: the new run has another result ({difference}); the old record is in {place}")
    return record


def result_difference(ours: Record, theirs: Record) -> str:
    """Return the first difference between the results of two records of one cell, in words; empty if they are equal.

    A column of a trace that only one of them has recorded does not count, nor do seconds and costs.
    """
    if ours.status != theirs.status:
        return f"the first {_ended(ours)}, the other one {_ended(theirs)}"
    if ours.trace is None or theirs.trace is None:
        return "" if ours.trace is theirs.trace else "only one of them has a trace"
    if _digest(ours) == _digest(theirs):
        return ""
    column = common_difference(ours.trace, theirs.trace)
    first = first_difference(ours.trace, theirs.trace) if column else None
    return str(first) if first is not None else column


def free_place(record: Record, folder: Path) -> Path:
    """Return a result directory for a record: the folder, or ``folder/2`` and so on if it holds another result of the
    cell."""
    place, number = folder, 1
    while _holds_another(record, place):
        number += 1
        place = folder / str(number)
    return place


def _holds_another(record: Record, place: Path) -> bool:
    if not store.has(record.key, place):
        return False
    with suppress(Refused):
        held = store.load(store.record_path(record.key, place))
        return bool(result_difference(held, record))
    return True


def _of_one_run(standing: Record, record: Record, out: Path) -> Record:
    """Return the record that stands, with what is known of the same run only after its record was first written."""
    same = (standing.created, standing.cost) == (record.created, record.cost)
    later = {name: getattr(record, name) for name in ("attempts", "alarms", "tuning")}
    changed = {name: value for name, value in later.items() if value and value != getattr(standing, name)}
    if not same or not changed:
        return standing
    store.amend(record.key, out, **changed)
    return store.load(store.record_path(record.key, out))


def _digest(record: Record) -> str:
    return record.trace_digest or ("" if record.trace is None else trace_digest(record.trace))


def _ended(record: Record) -> str:
    told = f" ({record.reason.splitlines()[0]})" if record.reason else ""
    return {"done": "was done", "skipped": f"was skipped{told}"}.get(record.status, f"{record.status}{told}")
