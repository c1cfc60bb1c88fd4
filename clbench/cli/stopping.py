"""Stop a run cleanly after Ctrl-C, SIGTERM, SIGUSR1 or the end of its terminal, and say how to continue."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from clbench.cli.common import count
from clbench.cli.console import tell
from clbench.core.stop_request import Interrupted
from clbench.running.stop_signals import Stop, Stopped, handled, numbers

if TYPE_CHECKING:
    from clbench.running.progress import Tally


class Stoppable:
    """Handle signals during a run: before its cells begin they end it at once, afterwards cleanly.

    Cleanly means: long cells save a checkpoint, workers end, and one sentence says how to continue.
    """

    def __init__(self) -> None:
        self.tally: Tally | None = None
        self.out: Path | None = None
        self._stop = Stop()
        self._before: dict[int, Any] = {}
        self._ending = False

    def begin(self, tally: Tally, out: Path) -> None:
        """Begin to handle signals cleanly, because cells are running."""
        self.tally, self.out = tally, out

    def __enter__(self) -> Stoppable:
        self._before = handled(numbers(), self._handle)
        return self

    def _handle(self, number: int, frame: object) -> None:
        if self._ending:
            return
        if self.tally is None:
            self._ending = True
            tell("stopped before any cell began; the same command starts again")
            os._exit(128 + number)
        try:
            self._stop(number, frame)
        except Stopped:
            self._ending = True
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ending = True
        try:
            if isinstance(error, Stopped | Interrupted) and self._stop.number and self.tally is not None:
                tell(
                    f"stopped: {self.tally.finished} of {count(self.tally.total, 'cell')} are finished and kept in "
                    f"{self.out}; the same command continues"
                )
                raise typer.Exit(128 + self._stop.number) from None
        finally:
            self._stop.end()
            for number, handler in self._before.items():
                signal.signal(number, handler)
