"""The cells that commands have claimed, for those who only look: which run, where, and how far they are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clbench.running.claim_files import FOLDER, PROGRESS, FolderClock, read
from clbench.running.claim_holder import Holder


@dataclass(frozen=True)
class Running:
    """Describe the claim of a cell for people.

    Args:
        key: The key of the cell.
        holder: The command that runs it; ``None`` if the file does not tell.
        silent: Seconds since the claim was touched.
        free: Whether the next command may take it over, because its holder has ended or is silent.
        progress: What the holder has told last, such as ``step`` and ``fraction``; empty if nothing.
    """

    key: str
    holder: Holder | None
    silent: float
    free: bool
    progress: dict[str, Any]


def is_claimed(key: str, out: Path) -> bool:
    """Return whether a command runs a cell at the moment."""
    seen = read(out / FOLDER / key)
    if seen is None:
        return False
    try:
        return not FolderClock(out / FOLDER).is_free(seen)
    except OSError:
        return True


def running(out: Path) -> list[Running]:
    """Return the claims of a result directory, in the order of keys. Nothing is changed in it."""
    found = [(key, seen) for key in _names(out / FOLDER) if (seen := read(out / FOLDER / key)) is not None]
    if not found:
        return []
    now, told = _time(out / FOLDER), {}
    described = []
    for key, seen in found:
        holder = seen.holder
        if holder is not None and holder.token not in told:
            told[holder.token] = _told(out / FOLDER / f"{holder.token}{PROGRESS}")
        silent = now - seen.touched / 1e9
        ended = holder is not None and holder.has_ended
        progress = {} if holder is None else told[holder.token].get(key, {})
        free = ended or abs(silent) > seen.seconds
        described.append(Running(key, holder, max(0.0, silent), free, progress if isinstance(progress, dict) else {}))
    return described


def _names(folder: Path) -> Iterator[str]:
    """Yield the names of claims: 16 hexadecimal digits each."""
    with suppress(OSError):
        for name in sorted(os.listdir(folder)):
            if len(name) == 16 and set(name) <= set("0123456789abcdef"):
                yield name


def _time(folder: Path) -> float:
    """Return the time by the clock of a file system; by this machine's clock if the folder cannot be written."""
    try:
        return FolderClock(folder).look()
    except OSError:
        from time import time

        return time()


def _told(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        held = json.loads(path.read_bytes())["cells"]
        if isinstance(held, dict):
            return held
    return {}
