"""The state of a result directory: what is done, runs, failed or waits, and what is wrong with its files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from clbench.core import record_file
from clbench.core.errors import Refused
from clbench.core.record import STATUSES
from clbench.core.record_file import RecordFile
from clbench.core.record_folder import record_files
from clbench.running.claimed_cells import Running
from clbench.running.claimed_cells import running as running_cells
from clbench.running.code_digest import CHANGED, UNKNOWN, code_state
from clbench.running.plan_files import PlanFile, read_plans
from clbench.running.starts import starts_of

FORMAT = 1
"""Version of the layout of :func:`folder_status`."""
ASIDE = ("damaged", "conflicts", "superseded", "other-data", "forgotten")
"""Folders of a result directory for records that do not count in it."""
BOARD = "leaderboard.json"


@dataclass
class _Read:
    """Hold the records of a result directory, without traces, and what is wrong with the others."""

    records: dict[str, RecordFile] = field(default_factory=dict)
    damaged: list[dict[str, str]] = field(default_factory=list)
    newer: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


def folder_status(directory: Path) -> dict[str, Any]:
    """Return the state of a result directory as plain data; nothing in it is changed.

    No trace is read: a record whose trace is there but damaged counts as done here. The keys are listed in
    ``docs/scale.md``.

    Args:
        directory: A result directory; commands may be running in it, on this machine or others.

    Raises:
        Refused: The directory holds neither records nor plans nor claims.
    """
    read, plans, running = _read(directory), read_plans(directory), running_cells(directory)
    if not (read.records or read.damaged or read.newer or plans or running):
        absent = "" if directory.exists() else ", because there is no such folder"
        raise Refused(
            f"{directory} holds no records and no plan{absent}; give a folder that `clbench run --out DIR` has written"
        )
    alive = {each.key: each for each in running if not each.free}
    planned = {cell.key: plan for plan in reversed(plans) for cell in plan.cells}
    names = {cell.key: (plan.benchmark, cell.label, cell.seed) for plan in plans for cell in plan.cells}
    names |= {key: _name(held) for key, held in read.records.items()}
    current = _current(plans, alive)
    seconds = _Seconds(read.records.values())
    shown = [_running(each, names, seconds) for each in alive.values()]
    waiting = {cell.key for plan in current for cell in plan.cells} - set(alive) - set(read.records)
    left = [each["seconds_left"] for each in shown] + [seconds.of(*names[key][:2]) for key in sorted(waiting)]
    work = None if any(each is None for each in left) else float(sum(left))
    states = {key: code_state(held.cell, held.code) for key, held in read.records.items() if held.status != "failed"}
    disk = _disk(directory)
    newest = disk.pop("newest_record")
    starts = starts_of(directory, read.records.values())
    return {
        "format": FORMAT,
        "directory": str(directory),
        "records": dict(Counter(held.status for held in read.records.values())),
        "plans": [_plan(plan, plan in current, read.records, alive, waiting) for plan in plans],
        "running": shown,
        "ended": [_claim(each, names) for each in running if each.free],
        "unsuccessful": [
            {**_cell(key, names), "status": held.status, "reason": held.reason}
            for key, held in read.records.items()
            if held.status in ("failed", "diverged") and key not in alive
        ],
        "waiting": len(waiting),
        "with_checkpoint": sum((directory / "partial" / f"{key}.pt").exists() for key in waiting),
        "stale": [_cell(key, names) for key, state in states.items() if state == CHANGED],
        "unknown_code": list(states.values()).count(UNKNOWN),
        "damaged": read.damaged,
        "newer": read.newer,
        "foreign": read.foreign,
        "aside": {name: number for name in ASIDE if (number := _records_below(directory / name))},
        "starts": starts,
        "seconds_left": None if work is None or not shown else max(work / len(shown), *(_left(shown))),
        "seconds_of_work": work,
        "board": _board(directory, newest),
        "disk": disk,
        "unplanned": sum(key not in planned for key in read.records),
    }


def is_unfinished(status: Mapping[str, Any]) -> bool:
    """Return whether cells run or wait."""
    return bool(status["running"] or status["waiting"])


def has_problems(status: Mapping[str, Any]) -> bool:
    """Return whether cells have no result, or files are damaged or contradict each other."""
    return bool(status["unsuccessful"] or status["damaged"] or status["aside"].get("conflicts"))


# --------------------------------------------------------------------------------------------------- records


def _read(directory: Path) -> _Read:
    paths, foreign = record_files(directory)
    found = _Read(foreign=foreign)
    traces = _trace_keys(directory / "traces")
    for path in paths:
        try:
            held = record_file.decoded(path.read_bytes(), path)
        except FileNotFoundError:  # a command has moved it just now
            continue
        except OSError as error:
            found.damaged.append({"key": path.stem, "fault": f"it cannot be read ({error.strerror})"})
            continue
        except Refused as error:
            found.newer.append(str(error))
            continue
        except ValueError as error:
            found.damaged.append({"key": path.stem, "fault": str(error).split("\n")[0]})
            continue
        if held.has_trace and held.key not in traces:
            found.damaged.append({"key": path.stem, "fault": "its trace is missing"})
        else:
            found.records[held.key] = held
    return found


def _trace_keys(folder: Path) -> set[str]:
    """Return the keys of the traces in a folder; one under a spare name, which begins with a dot, counts too."""
    try:
        return {name.lstrip(".")[:16] for name in os.listdir(folder) if name.endswith(".npz")}
    except OSError:
        return set()


def _name(held: RecordFile) -> tuple[str, str, int]:
    benchmark = held.cell["benchmark"]
    return f"{benchmark['name']}@{benchmark['version']}", held.label, int(held.cell["seed"])


def _cell(key: str, names: Mapping[str, tuple[str, str, int]]) -> dict[str, Any]:
    benchmark, label, seed = names.get(key, ("", "", None))
    return {"key": key, "benchmark": benchmark, "strategy": label, "seed": seed}


# --------------------------------------------------------------------------------------------------- plans and claims


def _current(plans: list[PlanFile], alive: Mapping[str, Running]) -> list[PlanFile]:
    """Return the plans that commands run now, or else the newest one."""
    return [plan for plan in plans if any(cell.key in alive for cell in plan.cells)] or plans[:1]


def _plan(
    plan: PlanFile, current: bool, records: Mapping[str, RecordFile], alive: Mapping[str, Running], waiting: set[str]
) -> dict[str, Any]:
    keys = [cell.key for cell in plan.cells]
    counts: Counter[str] = Counter(records[key].status for key in keys if key in records and key not in alive)
    runs = sum(key in alive for key in keys)
    return {
        "benchmark": plan.benchmark,
        "command": plan.command,
        "shard": plan.shard,
        "cells_in_other_shards": plan.others,
        "written": plan.written,
        "current": current,
        "planned": len(keys),
        **{status: counts[status] for status in STATUSES},
        "running": runs,
        "waiting": len(keys) - runs - counts.total(),
        "waiting_elsewhere": 0 if current else sum(key in waiting for key in keys),
    }


def _claim(claim: Running, names: Mapping[str, tuple[str, str, int]]) -> dict[str, Any]:
    holder, told = claim.holder, claim.progress
    named = _cell(claim.key, names)
    if not named["strategy"]:
        named |= {"strategy": str(told.get("label", "")), "seed": told.get("seed")}
    return {
        **named,
        "host": None if holder is None else holder.host,
        "pid": None if holder is None else holder.pid,
        "since": None if holder is None else holder.since,
        "silent_seconds": round(claim.silent, 1),
    }


def _running(claim: Running, names: Mapping[str, tuple[str, str, int]], seconds: _Seconds) -> dict[str, Any]:
    """Describe a running cell. Its remaining time follows from earlier cells of its strategy, or from its own pace."""
    described, told = _claim(claim, names), claim.progress
    step, fraction, first, took = (_number(told.get(name)) for name in ("step", "fraction", "from_fraction", "seconds"))
    fraction, left = min(1.0, max(0.0, fraction)), seconds.of(described["benchmark"], described["strategy"])
    if left is not None:
        left *= 1 - fraction
    elif fraction > first:
        left = took * (1 - fraction) / (fraction - first)
    scores = {name: told[name] if isinstance(told.get(name), int | float) else None for name in ("acc", "gap")}
    return {
        **described,
        "step": int(step),
        "fraction": fraction,
        **scores,
        "scores": str(told.get("text", "")),
        "seconds": took,
        "seconds_left": left,
    }


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e15 else 0.0


class _Seconds:
    """Estimate the seconds of cells by those of finished ones."""

    def __init__(self, records: Iterable[RecordFile]) -> None:
        found: dict[tuple[str, str], list[float]] = {}
        for held in records:
            took = sum(held.cost.get(name) or 0.0 for name in ("train_seconds", "evaluation_seconds", "probe_seconds"))
            if held.status == "done" and took > 0:
                benchmark, label, _ = _name(held)
                for name in ((benchmark, label), (benchmark, "")):
                    found.setdefault(name, []).append(took)
        self._means = {name: fmean(took) for name, took in found.items()}

    def of(self, benchmark: str, label: str) -> float | None:
        """Return the mean of a strategy's cells, or else of the benchmark's; ``None`` if there are none."""
        return self._means.get((benchmark, label), self._means.get((benchmark, "")))


def _left(shown: Iterable[Mapping[str, Any]]) -> list[float]:
    return [each["seconds_left"] for each in shown if each["seconds_left"] is not None]


# --------------------------------------------------------------------------------------------------- files


def _records_below(folder: Path) -> int:
    """Return the number of records in a folder and the result directories in it."""
    return sum(1 for path in folder.rglob("records/*.json"))


def _board(directory: Path, newest: float) -> dict[str, Any] | None:
    """Return when the leaderboard was written, and whether it is newer than all records."""
    try:
        written = (directory / BOARD).stat().st_mtime
    except OSError:
        return None
    return {"written": _iso(written), "current": written >= newest}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _disk(directory: Path) -> dict[str, Any]:
    """Return the bytes of all files: in each folder of the result directory, beside them, and together."""
    sizes: dict[str, int] = {"files": 0}
    newest = 0.0
    for entry in _entries(directory):
        if entry.is_dir(follow_symlinks=False):
            sizes[entry.name] = 0
            for size, changed in _files(entry.path):
                sizes[entry.name] += size
                if entry.name == "records":
                    newest = max(newest, changed)
        else:
            sizes["files"] += _size(entry)[0]
    return {"bytes": sum(sizes.values()), "folders": sizes, "newest_record": newest}


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def _files(folder: str) -> Iterable[tuple[int, float]]:
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        else:
            yield _size(entry)


def _size(entry: os.DirEntry[str]) -> tuple[int, float]:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return 0, 0.0
    return found.st_size, found.st_mtime
