"""Where cells run: in this process, or in worker processes that each hold one cell at a time.

What happens to cells is told as :class:`Started`, :class:`Progress`, :class:`Record` and a few other events.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Protocol

from clbench.core.record import Record
from clbench.core.store import Keep
from clbench.running.executors.limits import Limits
from clbench.running.executors.process_guard import children, ends_if_copied, left_behind, one_process, started
from clbench.running.plan import Cell

if TYPE_CHECKING:
    from clbench.running.prepare import UserObjects

TICK_SECONDS = 0.2
"""How often a running cell tells where it stands."""


@dataclass(frozen=True)
class Options:
    """What all cells of a matrix share besides their configuration.

    Args:
        data_dir: Where data sets lie.
        device: ``cpu`` or ``cuda``.
        given: A program's own arrays or module.
        keep: What is kept beside records; ``None`` keeps nothing.
        partial: Folder for snapshots of long cells; ``None`` keeps none.
        limits: What a cell may use; only a worker can be held to it.
        isolated: Whether one job runs in a worker too, so that a cell that ends its process, hangs or takes too much
            costs itself alone; in this process it can be followed in a debugger.
    """

    data_dir: str | None = None
    device: str = "cpu"
    given: UserObjects | None = None
    keep: Keep | None = None
    partial: Path | None = None
    limits: Limits = field(default_factory=Limits)
    isolated: bool = False


@dataclass(frozen=True)
class Started:
    """A cell began."""

    cell: Cell


@dataclass(frozen=True)
class Progress:
    """Where a running cell stands: steps done and fraction of its stream, in [0, 1]."""

    cell: Cell
    step: int
    fraction: float


@dataclass(frozen=True)
class Notified:
    """Something small went wrong in a worker; see :mod:`clbench.core.notices`."""

    sentence: str


@dataclass(frozen=True)
class Elsewhere:
    """A cell was run by another command meanwhile; its record."""

    record: Record


Event = Started | Progress | Notified | Elsewhere | Record
"""What whoever watches a matrix is told."""

Emit = Callable[[Any], None]


class Queue(Protocol):
    """Cells to run."""

    @property
    def waiting(self) -> bool:
        """Whether there are cells left, to be run here or elsewhere."""
        ...

    def take(self) -> Cell | None:
        """The next one to run; ``None`` where there is none now."""
        ...


class Listed:
    """Cells of which nobody else runs any."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = list(reversed(cells))

    @property
    def waiting(self) -> bool:
        """Whether there are cells left."""
        return bool(self._cells)

    def take(self) -> Cell | None:
        """The next one."""
        return self._cells.pop() if self._cells else None


def ignore(event: Event) -> None:
    """The watcher that nobody needs."""


WAIT_SECONDS = 0.5
"""How often it is looked whether other commands have come to an end with their cells."""


def execute(cells: Sequence[Cell] | Queue, options: Options, *, jobs: int, emit: Emit) -> None:
    """Run cells; with one job in this process unless it is to be isolated or limited, else in that many workers.

    Args:
        cells: What to run.
        options: What they share.
        jobs: Number of cells at a time, at least 1.
        emit: Told what happens, in whatever order it happens; each cell ends with its record. Where a cell saves more
            than its record, :class:`clbench.running.executors.worker.Trained` tells it before that begins.
    """
    queue = Listed(cells) if isinstance(cells, Sequence) else cells
    if jobs > 1 or options.isolated or options.limits.given:
        from clbench.running.executors.pool import run_in_workers

        run_in_workers(queue, options, jobs, emit)
        return
    while (cell := queue.take()) is not None or queue.waiting:
        if cell is None:
            sleep(WAIT_SECONDS)
            continue
        emit(Started(cell))
        emit(_run_guarded(cell, options, emit))


def _run_guarded(cell: Cell, options: Options, emit: Emit) -> Record:
    """A cell in this process: its copies end, and so does what it has started."""
    from clbench.running.executors.worker import Trained

    owner, told = os.getpid(), ticker(cell, emit)
    before = children()

    def tick(step: int, fraction: float) -> None:
        ends_if_copied(owner)
        told(step, fraction)

    def trained(record: Record) -> None:
        ends_if_copied(owner)
        emit(Trained(record))

    record = run_here(cell, options, tick, trained)
    if started():
        left_behind(before)
    return record


def ticker(cell: Cell, send: Callable[[Progress], Any]) -> Callable[[int, float], None]:
    """A tick for a running cell that sends progress now and then."""
    told = monotonic()

    def tick(step: int, fraction: float) -> None:
        nonlocal told
        if monotonic() - told >= TICK_SECONDS:
            told = monotonic()
            send(Progress(cell, step, fraction))

    return tick


def run_here(cell: Cell, options: Options, tick: Any, trained: Callable[[Record], None]) -> Record:
    """A cell in this very process; a copy of it that comes out at its end goes no further."""
    from clbench.running.cell import run_cell

    with one_process():
        return run_cell(
            cell,
            data_dir=options.data_dir,
            device=options.device,
            given=options.given,
            tick=tick,
            keep=options.keep,
            partial=options.partial / f"{cell.key}.pt" if options.partial else None,
            trained=trained,
        )
