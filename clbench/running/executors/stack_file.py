"""The stack of a worker process that hangs or crashes, through a file that it shares with its parent.

Python's ``faulthandler`` writes it even while the process is inside of compiled code.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import tempfile
from contextlib import suppress
from time import monotonic, sleep

from clbench.running.error_text import short_paths, shortened

ASK = getattr(signal, "SIGUSR1", None)
"""The signal that asks a worker for its stack."""
WAIT_SECONDS = 1.0
"""Longest time that the parent waits for a stack."""
STEP_SECONDS = 0.02


def write_stacks_to(descriptor: int) -> None:
    """Write the stacks of this process to a file if it crashes, and whenever its parent asks."""
    os.set_inheritable(descriptor, False)
    faulthandler.enable(descriptor)
    if ASK is not None:
        faulthandler.register(ASK, descriptor)


class StackFile:
    """Hold the file for the stacks of one worker, in its parent."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 it is open as long as the worker lives
        self._read = 0

    @property
    def descriptor(self) -> int:
        """Return the file descriptor that the worker inherits."""
        return self._file.fileno()

    def forget(self) -> None:
        """Leave out what was written so far: a new cell begins."""
        self._read = self._size()

    def ask(self, pid: int) -> str:
        """Return where a running worker is now, as a traceback; empty if it does not answer."""
        if ASK is None:
            return ""
        self.forget()
        with suppress(OSError):
            os.kill(pid, ASK)
        until, before = monotonic() + WAIT_SECONDS, -1
        while monotonic() < until and not before == self._size() > self._read:
            before = self._size()
            sleep(STEP_SECONDS)
        return self.crash()

    def crash(self) -> str:
        """Return what the worker has written since the cell began, as a traceback; empty if it has written nothing."""
        raw = os.pread(self.descriptor, self._size() - self._read, self._read)
        return as_traceback(raw.decode("utf-8", "replace"))

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def _size(self) -> int:
        return os.fstat(self.descriptor).st_size


def as_traceback(text: str) -> str:
    """Return the stack of the main thread, which runs a cell, in the order of a traceback.

    Args:
        text: What ``faulthandler`` has written: a block for each thread, the main thread last, with the most recent
            call first.
    """
    threads = re.split(r"^(?=(?:Current thread|Thread) 0x)", text, flags=re.M)
    calls = [line for line in threads[-1].split("\n\n")[0].splitlines() if line.startswith(("  File ", "  ..."))]
    if not calls:
        return shortened(short_paths(text.strip()))
    said = [line for line in text.splitlines() if line.startswith("Fatal Python error")]
    return shortened(short_paths("\n".join(["Traceback (most recent call last):", *reversed(calls), *said])))
