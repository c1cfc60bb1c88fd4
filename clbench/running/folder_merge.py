"""Merge result folders into a new one: each cell once, and what contradicts each other kept apart.

Files are copied as they are. A cell whose records agree is taken from one of the folders; a cell that the folders have
with different results goes to ``OUT/conflicts``, a result folder for each of them, and is not in ``OUT/records``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clbench.comparison.folder_difference import CellDifference
from clbench.comparison.record_difference import first_difference
from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.record import Record, Trace
from clbench.core.record_folder import record_files
from clbench.core.trace_equality import trace_digest
from clbench.running import plan_files
from clbench.running.cell_files import copy_cell, copy_file, remove_temporary_files

MARKER = ".merge.json"
"""File of a folder into which a merge is under way. It names the merged folders, and is removed at the end."""
CONFLICTS = "conflicts"
"""Folder for the cells of which several results exist, with a result folder for each of them."""
ASIDE = ("other-data", "forgotten", "superseded", "conflicts", "damaged")
"""Folders of a result folder whose cells are not its results; they are not merged."""


@dataclass(frozen=True)
class Conflict:
    """Describe a cell of which the folders have different results.

    Args:
        key: The cell's key.
        folders: The result folders below ``OUT/conflicts`` that hold one result each.
        difference: How the first two results differ.
    """

    key: str
    folders: tuple[str, ...]
    difference: CellDifference

    def data(self) -> dict[str, Any]:
        """Return the conflict as plain data."""
        told = self.difference.data()
        named = {name: told[name] for name in ("benchmark", "strategy", "seed", "text")}
        return {"key": self.key, **named, "folders": list(self.folders)}


@dataclass(frozen=True)
class Merged:
    """Hold what a merge has done.

    Args:
        out: The new folder.
        cells: Number of cells in it, without conflicts.
        taken: For each merged folder, the number of cells whose record is from it.
        equal: Number of cells that several folders have with equal results.
        conflicts: The cells of which the folders have different results.
        snapshots: Number of snapshots of unfinished cells.
        aside: Folders of the merged ones that were not merged.
    """

    out: Path
    cells: int
    taken: tuple[tuple[str, int], ...]
    equal: int
    conflicts: tuple[Conflict, ...]
    snapshots: int = 0
    aside: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        return {
            "out": str(self.out),
            "cells": self.cells,
            "taken": dict(self.taken),
            "equal": self.equal,
            "conflicts": [each.data() for each in self.conflicts],
            "snapshots": self.snapshots,
            "aside": list(self.aside),
        }


@dataclass(frozen=True)
class Copy:
    """Hold what a merge keeps of one record in memory.

    Args:
        source: Position of its folder among the merged ones.
        record: The record without its trace.
        digest: The digest of its trace; empty if it has none.
    """

    source: int
    record: Record
    digest: str

    @property
    def preference(self) -> tuple[Any, ...]:
        """Return what decides between equal results: known code, then more attempts, then the later record, then the
        folder that was named first."""
        record = self.record
        return bool(record.code), len(record.attempts), record.created, -self.source

    @property
    def finished(self) -> bool:
        """Return whether running the cell again would only repeat the result."""
        return self.record.status != "failed"


def merge(sources: Sequence[Path], out: Path, *, snapshots: bool = False) -> Merged:
    """Merge result folders into a new one.

    Args:
        sources: Two or more result folders; nothing in them is changed.
        out: A folder that does not exist, is empty, or was left by an interrupted merge of the same folders.
        snapshots: Whether to copy the snapshots of cells that no folder has finished, and what is known of their
            starts.

    Raises:
        Refused: The folders cannot be merged, or the new one cannot be written; the same command then continues.
    """
    sources, out = [path.expanduser() for path in sources], out.expanduser()
    _check(sources, out)
    copies = _copies(sources)
    names = distinct_names(sources)
    taken, equal, cells = [0] * len(sources), 0, 0
    conflicts: list[Conflict] = []
    try:
        _mark(sources, out)
        for key in sorted(copies):
            results = _results(copies[key], sources)
            if len(results) > 1:
                conflicts.append(_keep_apart(key, results, sources, names, out))
                continue
            best, *others = results[0]
            _copy(key, [best, *others], sources, out)
            taken[best.source] += 1
            cells += 1
            equal += best.finished and any(copy.finished for copy in others)
        kept = _copy_snapshots(copies, sources, out) if snapshots else 0
        (out / MARKER).unlink(missing_ok=True)
    except OSError as error:
        raise Refused(
            f"{error.filename or out} cannot be written or read: {error.strerror or error}; the merge has stopped "
            "without a half-written file, and the same command continues it"
        ) from None
    return Merged(
        out=out,
        cells=cells,
        taken=tuple(zip(map(str, sources), taken, strict=True)),
        equal=equal,
        conflicts=tuple(conflicts),
        snapshots=kept,
        aside=tuple(str(path / name) for path in sources for name in ASIDE if (path / name).is_dir()),
    )


# --------------------------------------------------------------------------------------------------- the folders


def _check(sources: Sequence[Path], out: Path) -> None:
    if len(sources) < 2:
        raise Refused("a merge needs two result folders or more; write clbench merge A B -o C")
    places: dict[Path, Path] = {}
    for path in sources:
        place = path.resolve()
        if place in places:
            raise Refused(f"{places[place]} and {path} are one folder; name each result folder once")
        places[place] = path
    target = out.resolve()
    for place, path in places.items():
        if target == place or place in target.parents:
            raise Refused(f"{out} lies in {path}, which is to be merged; choose a folder outside of it for -o")
        if target in place.parents:
            raise Refused(f"{path} lies in {out}; choose a new folder for -o")
    if out.exists() and not out.is_dir():
        raise Refused(f"{out} is a file; choose a new folder for -o")
    if not _is_free(out, places):
        raise Refused(f"{out} is not empty; choose a new folder for -o, or empty it")


def _is_free(out: Path, places: Iterable[Path]) -> bool:
    """Return whether a folder is empty, or was left by an interrupted merge of the same folders."""
    try:
        found = [path.name for path in out.iterdir()]
    except FileNotFoundError:
        return True
    except OSError as error:
        raise Refused(f"{out} cannot be read: {error.strerror}; choose a new folder for -o") from None
    if all(name.startswith(f".{MARKER}.") for name in found):  # a merge that ended at its first file
        return True
    try:
        held = json.loads((out / MARKER).read_bytes())
        return sorted(held["sources"]) == sorted(map(str, places))
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _mark(sources: Sequence[Path], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    remove_temporary_files(out)
    told = {"sources": [str(path.resolve()) for path in sources]}
    store.write(out / MARKER, json.dumps(told, indent=1).encode())


def distinct_names(sources: Sequence[Path]) -> list[str]:
    """Return a name for each folder: its own, or with as many folders above it as tell it apart, ``x-results``."""
    parts = [[part.strip("/\\:") for part in path.resolve().parts if part.strip("/\\:")] for path in sources]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["-".join(each[-depth:]) or "root" for each in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{number}-{name}" for number, name in enumerate(names, 1)]


# --------------------------------------------------------------------------------------------------- the cells


def _copies(sources: Sequence[Path]) -> dict[str, list[Copy]]:
    """Return the readable records of each key; unusable files are reported and left out."""
    found: dict[str, list[Copy]] = {}
    for number, path in enumerate(sources):
        if _is_empty_share(path):
            continue
        for record in store.load_all(path):
            found.setdefault(record.key, []).append(Copy(number, replace(record, trace=None), _digest(record)))
    return found


def _is_empty_share(path: Path) -> bool:
    """Return whether a command wrote its plan to a folder and had no cell to run, because its share holds none."""
    return not record_files(path)[0] and any(not plan.cells for plan in plan_files.read_plans(path))


def _digest(record: Record) -> str:
    """Return the digest of a record's trace, which is read only if the record is older; empty if it has none."""
    if not record.has_trace:
        return ""
    return record.trace_digest or ("" if record.trace is None else trace_digest(record.trace))


def _results(copies: Sequence[Copy], sources: Sequence[Path]) -> list[list[Copy]]:
    """Group the records of a cell by their result, the preferred record of each group first.

    A failed cell has no result if any folder has finished it.
    """
    finished = [copy for copy in copies if copy.finished]
    if not finished:
        return [sorted(copies, key=lambda copy: copy.preference, reverse=True)]
    groups: list[list[Copy]] = []
    for copy in finished:
        for group in groups:
            if copy.record.status == group[0].record.status and _equal(copy, group[0], sources):
                group.append(copy)
                break
        else:
            groups.append([copy])
    return [sorted(group, key=lambda copy: copy.preference, reverse=True) for group in groups]


def _equal(one: Copy, other: Copy, sources: Sequence[Path]) -> bool:
    """Return whether two records have equal traces; a column that only one of them has recorded does not count."""
    if one.digest == other.digest:
        return True
    ours, theirs = _trace(one, sources), _trace(other, sources)
    return ours is not None and theirs is not None and first_difference(ours, theirs) is None


def _trace(copy: Copy, sources: Sequence[Path]) -> Trace | None:
    return store.load(store.record_path(copy.record.key, sources[copy.source])).trace


def _copy(key: str, copies: Sequence[Copy], sources: Sequence[Path], out: Path) -> None:
    """Copy a cell from the folder of the first record, with files that only the folders of equal records have."""
    if _is_there(key, sources[copies[0].source], out):
        return
    first, *others = [sources[copy.source] for copy in copies]
    same_run = [folder for folder, copy in zip(others, copies[1:], strict=True) if copy.finished]
    copy_cell(key, first, out, further=same_run)


def _is_there(key: str, source: Path, out: Path) -> bool:
    """Return whether an interrupted merge has copied the same record; its record came last."""
    with suppress(OSError):
        ours, theirs = (store.record_path(key, folder).read_bytes() for folder in (out, source))
        return ours == theirs
    return False


def _keep_apart(
    key: str, results: Sequence[Sequence[Copy]], sources: Sequence[Path], names: Sequence[str], out: Path
) -> Conflict:
    """Copy each result of a cell to a folder of its own."""
    store.record_path(key, out).unlink(missing_ok=True)  # an earlier part of this merge may have known only one
    folders = []
    for group in results:
        folder = out / CONFLICTS / names[group[0].source]
        _copy(key, group, sources, folder)
        folders.append(f"{CONFLICTS}/{folder.name}")
    first, second = results[0][0], results[1][0]
    ours, theirs = _trace(first, sources), _trace(second, sources)
    trace = None if ours is None or theirs is None else first_difference(ours, theirs)
    return Conflict(key, tuple(folders), CellDifference(first.record, second.record, trace))


def _copy_snapshots(copies: dict[str, list[Copy]], sources: Sequence[Path], out: Path) -> int:
    """Copy the latest snapshot of each cell that no folder has finished, with the starts of the cell; count them."""
    latest: dict[str, Path] = {}
    for source in sources:
        for path in sorted((source / "partial").glob("*.pt")):
            if any(copy.finished for copy in copies.get(path.stem, ())):
                continue
            before = latest.get(path.stem)
            if before is None or path.stat().st_mtime > before.stat().st_mtime:
                latest[path.stem] = path
    for key, path in latest.items():
        for kind, suffix in UNFINISHED:
            held = path.parent.parent / kind / f"{key}{suffix}"
            if held.is_file():
                copy_file(held, out / kind / held.name)
    return len(latest)


UNFINISHED = (("attempts", ".jsonl"), ("partial", ".pt"))
"""Folder and suffix of the files of an unfinished cell."""
