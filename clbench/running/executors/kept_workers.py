"""Keep idle workers from one matrix to the next, for programs that run many small matrices one after another.

A search runs a few cells, decides, and runs the next ones. A new interpreter takes longer to start than such a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any


@dataclass
class KeptWorkers:
    """Hold idle workers with what they were started with.

    Args:
        idle: The workers, each with its packed options and its number of threads.
        ends: Functions that end them.
    """

    idle: list[tuple[tuple[bytes, int], Any, Callable[[], None]]] = field(default_factory=list)

    def take(self, started: tuple[bytes, int]) -> Any:
        """Return an idle worker that was started with the same options and threads; ``None`` if there is none."""
        for place, (with_these, worker, _) in enumerate(self.idle):
            if with_these == started:
                del self.idle[place]
                return worker
        return None

    def keep(self, started: tuple[bytes, int], worker: Any, end: Callable[[], None]) -> None:
        """Keep an idle worker, with the function that ends it."""
        self.idle.append((started, worker, end))

    def end(self) -> None:
        """End all idle workers."""
        while self.idle:
            self.idle.pop()[2]()


KEPT: ContextVar[KeptWorkers | None] = ContextVar("kept workers", default=None)
"""The workers that are kept now; ``None`` outside of :func:`workers_kept`."""


@contextmanager
def workers_kept() -> Iterator[None]:
    """Keep idle workers between the matrices that run as long as the context lasts, and end them after it."""
    kept = KeptWorkers()
    token = KEPT.set(kept)
    try:
        yield
    finally:
        KEPT.reset(token)
        kept.end()
