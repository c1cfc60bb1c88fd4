"""Long runs survive their process: every few minutes all of a run is written to one file, atomically."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import torch

from clbench import store

Tick = Callable[[int, float], Any]
"""Called after every step with steps done and the fraction of the stream done; may raise to stop the run."""


class Resumable(Protocol):
    """A run that goes on bit for bit from its snapshot."""

    def train(self, tick: Tick | None = None) -> None: ...

    def snapshot(self) -> dict[str, Any]: ...

    def restore(self, snapshot: dict[str, Any]) -> None: ...


SNAPSHOT_SECONDS = 300.0
"""How much of a long run an interruption may cost."""


class Snapshots:
    """A run that survives its process: every few minutes all of it is written to one file, atomically.

    Args:
        run: The run, at its beginning.
        path: The file.
        seconds: Time between snapshots.
    """

    def __init__(self, run: Resumable, path: Path, *, seconds: float = SNAPSHOT_SECONDS) -> None:
        self.run, self.path, self.seconds = run, path, seconds

    def train(self, tick: Tick | None = None) -> None:
        """Go on from the file where there is one, and remove it when the stream is learned."""
        if self.path.exists():
            self.run.restore(torch.load(self.path, map_location="cpu", weights_only=True))
        last = perf_counter()

        def save_and_tick(step: int, done: float) -> None:
            nonlocal last
            if perf_counter() - last >= self.seconds:
                buffer = io.BytesIO()
                torch.save(self.run.snapshot(), buffer)
                store.write(self.path, buffer.getvalue())
                last = perf_counter()
            if tick:
                tick(step, done)

        self.run.train(save_and_tick)
        self.path.unlink(missing_ok=True)
