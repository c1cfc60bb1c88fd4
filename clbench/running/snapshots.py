"""Snapshots: a long run is written to one file, atomically, so that it survives its process.

It is written every few minutes; at ends of experiences, but not more often than every few seconds; and when the run is
asked to stop, at the end of its step or inside of an evaluation. Short runs write none.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

from clbench.core import store
from clbench.core.notices import notice
from clbench.core.stop_request import Interrupted, asked_to_stop
from clbench.core.types import Stream
from clbench.evaluate import Evaluator
from clbench.running.attempts import START, TOUCH_SECONDS, Attempt, Place
from clbench.running.executors.limits import SNAPSHOT_SECONDS
from clbench.running.snapshot_file import Unfit, packed, place_of, read
from clbench.training.experience_passes import Cursor
from clbench.training.loss_check import Diverged

Tick = Callable[[int, float], Any]
"""A function that is called after every step with the number of steps and the fraction of the stream; it may raise an
error to stop the run."""

END_SECONDS = 5.0
"""Smallest time between two snapshots of which the later one is made because an experience ends."""
SHARE = 0.02
"""Largest share of the time for snapshots at ends of experiences."""


class Resumable(Protocol):
    """Describe a run that resumes bit for bit from its snapshot."""

    cursor: Cursor
    stream: Stream
    evaluator: Evaluator

    def train(self, tick: Tick | None = None, pause: Callable[[], Any] = lambda: None) -> None: ...

    def snapshot(self) -> dict[str, Any]: ...

    def restore(self, snapshot: dict[str, Any]) -> None: ...


class Snapshots:
    """Make a run survive its process.

    If a snapshot cannot be written, this is reported once, and the run continues.

    Args:
        run: The run, at its beginning.
        path: The file.
        seconds: Time between snapshots; ``inf`` makes one only when the run is asked to stop.
        code: The digests of the code of this run; a snapshot of other code is not resumed.
        attempt: Gets signs of life, and the place of the last snapshot.
    """

    def __init__(
        self,
        run: Resumable,
        path: Path,
        *,
        seconds: float = SNAPSHOT_SECONDS,
        code: Mapping[str, str] | None = None,
        attempt: Attempt | None = None,
    ) -> None:
        self.run, self.path, self.seconds, self.code = run, path, seconds, dict(code or {})
        self.attempt = Attempt(None) if attempt is None else attempt
        self._told = False
        self._fraction: float | None = None
        self._last = self._due = self._took = 0.0
        self._ended = False
        self._owner = os.getpid()  # a copy of the process that a part has made writes nothing

    def go_on(self) -> bool:
        """Resume from the file's snapshot, and return whether there was one.

        Raises:
            Unfit: The snapshot cannot be resumed. The run cannot be used any more.
        """
        if not self.path.exists():
            return False
        saved = read(self.path, self.code)
        try:
            self.run.restore(saved)
        except Exception as error:
            raise Unfit(f"does not fit this run ({type(error).__name__}: {error})") from error
        return True

    def train(self, tick: Tick | None = None) -> None:
        """Resume from the file if it exists, train, and remove the file at the end of the stream.

        Raises:
            Unfit: The file cannot be resumed for a single step.
            Interrupted: The run is asked to stop; it has been saved if it has made a step.
        """
        resumed = self.go_on()
        self._last = perf_counter()
        self._due = self._next()
        self.run.evaluator.ended.append(self._note_end)

        def save_and_tick(step: int, done: float) -> None:
            self._fraction = done
            if perf_counter() >= self._due and os.getpid() == self._owner:
                self._act()
            if tick:
                tick(step, done)

        try:
            self.run.train(save_and_tick, self._pause)
        except Interrupted as stop:
            if self._fraction is not None and stop.savable and os.getpid() == self._owner:
                self._save()
            raise
        except Diverged:
            raise
        except Exception as error:
            if resumed and self._fraction is None:
                raise Unfit(f"cannot be resumed ({type(error).__name__}: {error})") from error
            raise
        with suppress(OSError):
            self.path.unlink()

    @property
    def place(self) -> Place:
        """Return where the run stands."""
        fraction = self.run.cursor.experience / len(self.run.stream) if self._fraction is None else self._fraction
        return Place(self.run.cursor.step, fraction, self.run.evaluator.elapsed)

    def _act(self) -> None:
        """Save the run if it is time, otherwise only give a sign of life."""
        since, ended, self._ended = perf_counter() - self._last, self._ended, False
        if since >= self.seconds or (ended and self._worth_at_end(since)):
            self._save()
            self._last = perf_counter()
        self.attempt.touch()
        self._due = self._next()

    def _next(self) -> float:
        return min(self._last + self.seconds, perf_counter() + TOUCH_SECONDS)

    def _note_end(self, _experience: int) -> None:
        """Save the run after the next step, if the end of this experience took long."""
        self._ended, self._due = True, 0.0

    def _pause(self) -> None:
        """Save the run when the samples of an experience are learned: its end hooks may take long."""
        if os.getpid() != self._owner:
            return
        if asked_to_stop():
            raise Interrupted
        if self._fraction is not None and self._worth_at_end(perf_counter() - self._last):
            self._save()
            self._last = perf_counter()

    def _worth_at_end(self, since: float) -> bool:
        return math.isfinite(self.seconds) and since >= max(END_SECONDS, self._took / SHARE)

    def _save(self) -> None:
        began = perf_counter()
        try:
            place = self.place
            store.write(self.path, packed(self.run.snapshot(), place=place, code=self.code))
            self.attempt.saved = place
        except Diverged:
            raise
        except Exception as error:
            if not self._told:
                self._told = True
                notice(
                    f"no snapshot can be written to {self.path} ({type(error).__name__}: {error}); the run continues, "
                    "but would start again if it were interrupted"
                )
        self._took = perf_counter() - began


def attempt_of(path: Path | None, partial: Path | None) -> Attempt:
    """Begin an attempt of a cell, from its snapshot if there is one.

    Args:
        path: The file of the cell's attempts.
        partial: The file of its snapshot.
    """
    return Attempt(path, START if partial is None else place_of(partial))
