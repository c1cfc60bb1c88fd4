"""Limits of a cell: time, memory, and number of processes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from clbench.core.errors import Refused

MOST_PROCESSES = 64
"""Largest number of processes of a cell in addition to its own."""
SHARE = 0.9
"""Share of the machine's memory for all cells together if there is no limit."""
CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {unit + end: 1024**power for power, unit in enumerate("kmgt", 1) for end in ("", "b", "ib")}


SNAPSHOT_SECONDS = 300.0
"""Seconds between two snapshots of a cell, unless the user sets them: the largest loss if a process is killed."""


@dataclass(frozen=True)
class Limits:
    """Limit a cell; if it uses more, it is ended and fails with the reason.

    Args:
        seconds: Time from its beginning; ``None`` for no limit.
        memory: Bytes of resident memory of its process and of those that it starts. ``None`` allows nine tenths of the
            machine's memory for all cells together; if they exceed it, the largest is ended.
    """

    seconds: float | None = None
    memory: int | None = None

    @property
    def given(self) -> bool:
        """Return whether there is any limit."""
        return self.seconds is not None or self.memory is not None


def limits(time_limit: float | str | None = None, memory_limit: int | str | None = None) -> Limits:
    """Read limits: ``90``, ``"90s"``, ``"15m"``, ``"2h"``; bytes, ``"500MB"``, ``"8GB"``, ``"50%"``.

    Raises:
        Refused: A limit cannot be read, is not above 0, or is more than 100 %.
    """
    return Limits(
        None if time_limit is None else _read(time_limit, SECONDS, "time_limit", "90s, 15m or 2h"),
        None if memory_limit is None else int(_read(memory_limit, _bytes(), "memory_limit", "500MB, 8GB or 50%")),
    )


def snapshot_seconds(written: float | str) -> float:
    """Read the time between two snapshots: ``300``, ``"5m"``; 0 for none until the run is asked to stop.

    Raises:
        Refused: It cannot be read.
    """
    if str(written).strip() in ("0", "0.0", "0s"):
        return 0.0
    return _read(written, SECONDS, "snapshot_every", "300s or 5m, or 0 for one only when the run is stopped")


def _read(written: float | str, units: dict[str, float], name: str, allowed: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z%]*)\s*", str(written).lower())
    if found is None or found[2] not in units or not float(found[1]) > 0:
        raise Refused(f"{name} = {written!r} cannot be read; write a number above 0 with a unit, such as {allowed}")
    if found[2] == "%" and float(found[1]) > 100:
        raise Refused(f"{name} = {written!r} is more than this machine has; write at most 100%, such as 50%")
    return float(found[1]) * units[found[2]]


def _bytes() -> dict[str, float]:
    return {"": 1.0, "b": 1.0, **BYTES, "%": machine_memory() / 100}


def machine_memory() -> int:
    """Return the bytes of memory of this machine, or of the container of this process."""
    import psutil

    known = [int(psutil.virtual_memory().total)]
    for path in CGROUPS:
        with suppress(OSError, ValueError):
            known.append(int(path.read_text(encoding="ascii")))
    return min(known)


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, directly or indirectly."""
    import psutil

    with suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def resident(pids: Iterable[int]) -> int:
    """Return the bytes of memory that some processes hold; shared pages count for each."""
    import psutil

    total = 0
    for pid in pids:
        with suppress(psutil.Error):
            total += psutil.Process(pid).memory_info().rss
    return total


def end(pids: Iterable[int]) -> None:
    """Kill some processes, and wait for the end of those that this process has started."""
    import psutil

    gone = []
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            process.kill()
            gone.append(process)
    psutil.wait_procs(gone, timeout=3)


def marked(name: str, value: str) -> list[int]:
    """Return the processes of this user with a value of an environment variable, whatever their parent is now."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(name) == value:
                found.append(process.pid)
    return found


def size_text(count: float) -> str:
    """Format a size, such as ``1.5 GB``."""
    return f"{count / 2**30:.3g} GB" if count >= 2**30 else f"{count / 2**20:.3g} MB"
