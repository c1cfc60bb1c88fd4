"""Stop a run cleanly after Ctrl-C, SIGTERM or the end of its terminal, and say how to continue."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from clbench.cli.common import count
from clbench.cli.console import tell

if TYPE_CHECKING:
    from clbench.running.progress import Tally


class Stopped(KeyboardInterrupt):
    """Report that a signal ends the run."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Stoppable:
    """Handle signals during a run: before its cells begin they end it at once, afterwards cleanly.

    Cleanly means: long cells save a checkpoint, workers end, and one sentence says how to continue.
    """

    def __init__(self) -> None:
        self.tally: Tally | None = None
        self.out: Path | None = None
        self._before: dict[int, Any] = {}
        self._stopping = False

    def begin(self, tally: Tally, out: Path) -> None:
        """Begin to handle signals cleanly, because cells are running."""
        self.tally, self.out = tally, out

    def __enter__(self) -> Stoppable:
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM]
            hang_up = getattr(signal, "SIGHUP", None)
            if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:  # as nohup sets it
                numbers.append(hang_up)
            self._before = {number: signal.signal(number, self._stop) for number in numbers}
        return self

    def _stop(self, number: int, _frame: object) -> None:
        if self._stopping:
            return
        self._stopping = True
        if self.tally is None:
            tell("stopped before any cell began; the same command starts again")
            os._exit(128 + number)
        raise Stopped(number)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._stopping = True
        try:
            if isinstance(error, Stopped) and self.tally is not None:
                tell(
                    f"stopped: {self.tally.finished} of {count(self.tally.total, 'cell')} are finished and kept in "
                    f"{self.out}; the same command continues"
                )
                raise typer.Exit(128 + error.number) from None
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)
