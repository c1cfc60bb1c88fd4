"""The plans of a result directory: the cells that commands were asked to run, so that ``clbench status`` knows those
that have not begun."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

from clbench.core import store
from clbench.core.result_paths import PUBLISHED_FILE
from clbench.running.plan import Plan

FOLDER = "plans"
FORMAT = 1


@dataclass(frozen=True)
class PlannedCell:
    """Name a planned cell.

    Args:
        key: Its key.
        label: The name of its strategy.
        seed: Its seed.
    """

    key: str
    label: str
    seed: int


@dataclass(frozen=True)
class PlanFile:
    """Describe what a command was asked to run.

    Args:
        name: The name of the file, a checksum of keys; the same command has the same name.
        benchmark: Name and version of the benchmark, such as ``split-digits@2``.
        command: The command line, empty for a program.
        shard: The share of the cells, such as ``3/16``; empty for all.
        others: The number of cells in other shares.
        written: When the last such command began, ISO 8601, UTC.
        cells: The cells.
    """

    name: str
    benchmark: str
    command: str
    shard: str
    others: int
    written: str
    cells: tuple[PlannedCell, ...]


def plan_name(keys: Iterable[str]) -> str:
    """Return the name of the plan of some cells, whatever their order."""
    return blake2b(" ".join(sorted(keys)).encode(), digest_size=8).hexdigest()


def keep_published(plan: Plan, out: Path) -> None:
    """Add the published numbers of a plan's benchmark to those of a result directory, if that is possible.

    Args:
        plan: The plan.
        out: The result directory.
    """
    file = out / PUBLISHED_FILE
    with suppress(OSError, ValueError, TypeError):
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        title = f"{plan.benchmark.name}@{plan.benchmark.version}"
        content = {**found, title: [each.model_dump() for each in plan.benchmark.published]}
        if content != found:
            store.write(file, json.dumps(content, indent=1, ensure_ascii=False).encode())


def write_plan(plan: Plan, out: Path, command: str = "", name: str = "") -> None:
    """Write the plan of a command to its result directory, if that is possible.

    Args:
        plan: The plan.
        out: The result directory.
        command: The command line, empty for a program.
        name: Its name, :func:`plan_name` of its cells by default. A plan of this name is replaced.
    """
    content = {
        "format": FORMAT,
        "benchmark": f"{plan.benchmark.name}@{plan.benchmark.version}",
        "command": command,
        "shard": plan.shard,
        "others": len(plan.others),
        "written": datetime.now(UTC).isoformat(timespec="microseconds"),
        "cells": [[cell.key, cell.label, cell.seed] for cell in plan.cells],
    }
    name = name or plan_name(cell.key for cell in plan.cells)
    with suppress(OSError):
        store.write(out / FOLDER / f"{name}.json", json.dumps(content).encode("utf-8", "backslashreplace"))


def read_plans(out: Path) -> list[PlanFile]:
    """Return the plans of a result directory, the newest first. Damaged and foreign files are left out."""
    return sorted(_readable(out / FOLDER), key=lambda plan: plan.written, reverse=True)


def _readable(folder: Path) -> Iterator[PlanFile]:
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            held = json.loads(path.read_bytes())
            if held["format"] > FORMAT:
                continue
            texts = {name: str(held[name]) for name in ("benchmark", "command", "shard", "written")}
            cells = tuple(PlannedCell(str(key), str(label), int(seed)) for key, label, seed in held["cells"])
            yield PlanFile(name=path.stem, others=int(held["others"]), cells=cells, **texts)
