"""Take cells out of a result directory without losing them: they are moved to another directory inside of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from clbench.comparison.code_versions import newest
from clbench.comparison.record_groups import by_strategy
from clbench.core import store
from clbench.core.errors import Refused, did_you_mean
from clbench.core.notices import notice
from clbench.core.record import Record
from clbench.running.cell_files import move_cell
from clbench.running.claimed_cells import is_claimed

FORGOTTEN = "forgotten"
"""Folder of a result directory for forgotten cells; it is a result directory too."""


def chosen(
    records: Sequence[Record],
    *,
    strategies: Collection[str] = (),
    keys: Collection[str] = (),
    failed: bool = False,
    older: bool = False,
) -> list[Record]:
    """Return the records that fit all given conditions.

    Args:
        records: The records of a result directory.
        strategies: Labels of strategies, as leaderboards show them.
        keys: First characters of keys.
        failed: Only failed cells.
        older: Only cells of older versions of a user's code.

    Raises:
        Refused: No condition is given, or no cell has one of the labels or keys.
    """
    if not (strategies or keys or failed or older):
        raise Refused("forget needs to know which cells: give --strategies, --key, --failed or --older")
    found = list(records)
    if strategies:
        labels = _labels(records)
        for name in strategies:
            if name not in labels:
                raise Refused(f"no cell has the strategy {name!r}; {did_you_mean(name, list(labels))}")
        kept = {key for name in strategies for key in labels[name]}
        found = [record for record in found if record.key in kept]
    for key in keys:
        if not any(record.key.startswith(key) for record in records):
            raise Refused(f"no cell has a key that begins with {key!r}; `clbench show DIR` lists them")
    if keys:
        found = [record for record in found if record.key.startswith(tuple(keys))]
    if failed:
        found = [record for record in found if record.status == "failed"]
    if older:
        old = {record.key for record in newest(records)[1]}
        found = [record for record in found if record.key in old]
    return found


def _labels(records: Sequence[Record]) -> dict[str, set[str]]:
    """Map labels, and labels with the settings that tell equal ones apart, to keys."""
    found: dict[str, set[str]] = {}
    for record in records:
        found.setdefault(record.label, set()).add(record.key)
    for benchmark in {record.benchmark for record in records}:
        for label, members in by_strategy(r for r in records if r.benchmark == benchmark).items():
            found.setdefault(label, set()).update(record.key for record in members)
    return found


def forget(records: Sequence[Record], directory: Path) -> tuple[Path, list[Record]]:
    """Move cells with all of their files into a new or unused folder ``forgotten`` of their result directory.

    A cell that another command runs at the moment stays, with a notice.

    Returns:
        The folder, which is a result directory, and the records that were moved.

    Raises:
        Refused: The directory cannot be written.
    """
    place, number = directory / FORGOTTEN, 1
    while any(store.has(record.key, place) for record in records):  # forgotten before, and run again
        number += 1
        place = directory / f"{FORGOTTEN}-{number}"
    moved = []
    for record in records:
        if is_claimed(record.key, directory):
            notice(f"{record.label}, seed {record.seed} stays, because another command runs it now")
            continue
        move_cell(record.key, directory, place)
        moved.append(record)
    return place, moved
