"""Attempts: each start of a cell is a line in ``OUT/attempts/KEY.jsonl``, and its end another one.

The process that runs a cell writes them. A process that is killed leaves a start without an end; the next attempt
writes the end in its place. When the record of the cell is written, they become its ``attempts``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clbench.core.notices import notice
from clbench.core.record import Record

FOLDER = "attempts"
TOUCH_SECONDS = 2.0
"""Seconds between two signs of life of a running attempt: the modification time of its file."""


@dataclass(frozen=True)
class Place:
    """Say how far a run is.

    Args:
        step: Steps of the stream done.
        fraction: Fraction of the stream done, in [0, 1].
        seconds: Seconds of training and evaluation until there, summed over attempts.
    """

    step: int = 0
    fraction: float = 0.0
    seconds: float = 0.0


LONGEST = 1e9
"""Seconds of work from which a number in a file of attempts is not believed, because the file is damaged."""
START = Place()
"""The place where a run without a snapshot begins."""


def attempts_path(key: str, out: Path) -> Path:
    """Return the path of the attempts of a cell that is not finished."""
    return out / FOLDER / f"{key}.jsonl"


class Attempt:
    """Write down one attempt of a cell.

    If the file cannot be written, this is reported once, and the cell runs nevertheless.

    Args:
        path: The file of the cell's attempts; ``None`` keeps this attempt only in memory.
        place: Where the attempt begins, by the snapshot that it finds.
    """

    def __init__(self, path: Path | None, place: Place = START) -> None:
        self.path, self.saved = path, place
        self._lines: list[dict[str, Any]] = []
        self._began = time.monotonic()
        if path is not None:
            close(path, place)
        self._write(
            {
                "began": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "from_step": place.step,
                "from_fraction": round(place.fraction, 4),
                "from_seconds": round(place.seconds, 3),
            }
        )

    def begin_anew(self) -> None:
        """Note that the snapshot could not be resumed, so that this attempt begins at the start of the stream."""
        self.saved = START
        self._write({"from_step": 0, "from_fraction": 0.0, "from_seconds": 0.0})

    def touch(self) -> None:
        """Give a sign of life."""
        if self.path is not None:
            now = time.time()  # the same clock as that of ``began``
            with suppress(OSError):
                os.utime(self.path, (now, now))

    def end(self, how: str, place: Place) -> None:
        """Note the end of the attempt.

        Args:
            how: The status of the record, or ``stopped``.
            place: Where the run was at its end.
        """
        kept = place if how in ("done", "skipped", "diverged") else self.saved
        self._write(_ended(how, kept, place.step - kept.step, place.seconds - kept.seconds, self._began))

    @property
    def told(self) -> tuple[dict[str, Any], ...]:
        """Return all attempts of the cell: those of the file if there is one, otherwise this one."""
        return (read(self.path) if self.path is not None else ()) or _joined(self._lines)

    def _write(self, line: dict[str, Any]) -> None:
        self._lines.append(line)
        if self.path is not None and not _append(self.path, line):
            self.path = None


def read(path: Path) -> tuple[dict[str, Any], ...]:
    """Return the attempts in a file, the first one first; lines that cannot be read are left out.

    Each has ``began`` (ISO 8601, UTC), ``from_step``, ``from_fraction`` and ``from_seconds``. Unless it is running, it
    has ``ended`` too: ``done``, ``skipped``, ``diverged``, ``failed``, ``stopped`` (saved on request), ``killed`` (no
    word of its end), or how its process died; with ``to_step``, ``seconds``, ``lost_steps`` and ``lost_seconds``.
    """
    try:
        written = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    lines = []
    for text in written:
        with suppress(ValueError, RecursionError):
            line = json.loads(text)
            if isinstance(line, dict):
                lines.append(line)
    return _joined(lines)


def close(path: Path, kept: Place, how: str = "killed") -> None:
    """Write the end of an attempt whose process has died without a word, up to its last sign of life.

    Args:
        path: The file of the cell's attempts; nothing is written if its last attempt has ended.
        kept: The place of the cell's snapshot; what came after it is lost.
        how: How it ended.
    """
    attempts = read(path)
    if not attempts or "ended" in attempts[-1]:
        return
    last = attempts[-1]
    with suppress(OSError, ValueError, TypeError, KeyError):
        ran = max(0.0, path.stat().st_mtime - datetime.fromisoformat(last["began"]).timestamp())
        lost = max(0.0, ran - max(0.0, kept.seconds - last["from_seconds"]))
        line = {"ended": how, "to_step": kept.step, "seconds": round(ran, 3), "lost_seconds": round(lost, 3)}
        _append(path, line)


def lost_seconds(attempts: Sequence[Mapping[str, Any]]) -> float:
    """Return the seconds of work that was done and not kept, summed over attempts."""
    lost = [attempt.get("lost_seconds", 0.0) for attempt in attempts]
    return float(sum(seconds for seconds in lost if isinstance(seconds, int | float) and 0 <= seconds < LONGEST))


def attempts_text(attempts: Sequence[Mapping[str, Any]]) -> str:
    """Describe attempts as ``2 attempts, 3.1 s of work lost``; empty for a single one that lost nothing."""
    lost = lost_seconds(attempts)
    if len(attempts) < 2 and lost < 0.05:
        return ""
    return f"{len(attempts)} attempt{'s' * (len(attempts) != 1)}, {lost:.1f} s of work lost"


def with_attempts(record: Record, out: Path) -> Record:
    """Return a record with the attempts that its cell has written down in a result directory."""
    written = read(attempts_path(record.key, out))
    return replace(record, attempts=written) if written else record


def settle(record: Record, out: Path) -> None:
    """Remove the attempts of a cell after its record has been written with them; those of a failed cell stay, because
    it is tried again."""
    if record.status == "failed":
        return
    path = attempts_path(record.key, out)
    with suppress(OSError):
        path.unlink()
    with suppress(OSError):
        path.parent.rmdir()


def _ended(how: str, kept: Place, steps: int, seconds: float, began: float) -> dict[str, Any]:
    return {
        "ended": how,
        "to_step": kept.step,
        "seconds": round(time.monotonic() - began, 3),
        "lost_steps": max(0, steps),
        "lost_seconds": round(max(0.0, seconds), 3),
    }


def _joined(lines: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Return one mapping for each start among some lines; other lines belong to the start before them."""
    attempts: list[dict[str, Any]] = []
    for line in lines:
        if "began" in line:
            attempts.append(dict(line))
        elif attempts:
            attempts[-1].update(line)
    return tuple(attempts)


def _append(path: Path, line: Mapping[str, Any]) -> bool:
    """Append a line by a single write, and return whether this was possible."""
    text = json.dumps(line).encode() + b"\n"
    for again in (True, False):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                size = os.fstat(file).st_size
                os.lseek(file, max(0, size - 1), os.SEEK_SET)
                torn = os.read(file, 1) not in (b"", b"\n")
                os.write(file, b"\n" * torn + text)
            finally:
                os.close(file)
            return True
        except FileNotFoundError as error:  # another command has just removed the empty folder
            problem: OSError = error
            if not again:
                break
        except OSError as error:
            problem = error
            break
    notice(f"the attempts of a cell cannot be written to {path} ({problem.strerror}); the cell runs nevertheless")
    return False
