"""The files of claims: what one says, and the clock by which it is old."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from clbench.core.temporary_files import folder_time
from clbench.running.claim_holder import Holder, patience

FOLDER = "claims"
"""Folder of a result directory for claims."""
PROGRESS = ".progress"
"""Suffix of the files in which commands tell the progress of their cells."""
CLOCK_SECONDS = 5.0
"""Longest time in seconds for which the clock of a file system is continued without a new look at it."""


@dataclass(frozen=True)
class Seen:
    """Describe a claim as it was found.

    Args:
        content: The bytes of its file.
        touched: The time of its last touch in nanoseconds, by the clock of the file system.
        holder: Its holder; ``None`` if the file is empty, damaged or foreign.
    """

    content: bytes
    touched: int
    holder: Holder | None

    @property
    def seconds(self) -> float:
        """Return the time without a touch after which it may be taken over."""
        return patience() if self.holder is None else self.holder.seconds


def read(path: Path) -> Seen | None:
    """Return a claim; ``None`` if there is none. The file is opened, so that a network file system asks its server."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            content = file.read(65536)
    except FileNotFoundError:
        return None
    except OSError:
        with suppress(OSError):
            return Seen(b"", path.stat().st_mtime_ns, None)
        return None
    return Seen(content, found.st_mtime_ns, Holder.read(content))


class FolderClock:
    """Tell the time by the clock that stamps the files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last: tuple[float, float] | None = None

    def look(self) -> float:
        """Return the time of a file that is written now, in seconds.

        Raises:
            OSError: The folder cannot be written.
        """
        now = folder_time(self.folder)
        self._last = now, monotonic()
        return now

    def now(self) -> float:
        """Return the time in seconds, at most some seconds after the last look.

        Raises:
            OSError: The folder cannot be written.
        """
        if self._last is None or monotonic() - self._last[1] > CLOCK_SECONDS:
            return self.look()
        return self._last[0] + monotonic() - self._last[1]

    def is_free(self, claim: Seen) -> bool:
        """Return whether a claim may be taken over.

        Raises:
            OSError: The folder cannot be written.
        """
        if claim.holder is not None and claim.holder.has_ended:
            return True
        return self._silent(claim, self.now()) and self._silent(claim, self.look())

    @staticmethod
    def _silent(claim: Seen, now: float) -> bool:
        return abs(now - claim.touched / 1e9) > claim.seconds  # a time far ahead is of a clock that was set back
