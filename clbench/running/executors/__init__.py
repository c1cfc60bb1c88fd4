"""Where cells run: in this process, or in worker processes that each hold one cell at a time.

What happens to cells is told as :class:`Started`, :class:`Progress`, :class:`Record` and a few other events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from clbench.core.record import Record
from clbench.core.registry import Registry
from clbench.core.store import Keep
from clbench.running.executors.limits import Limits
from clbench.running.executors.process_guard import one_process
from clbench.running.plan import Cell

if TYPE_CHECKING:
    from clbench.running.user_objects import UserObjects

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
        executor: The name of the executor; ``None`` for the one that fits ``isolated``, ``limits`` and the jobs.
    """

    data_dir: str | None = None
    device: str = "cpu"
    given: UserObjects | None = None
    keep: Keep | None = None
    partial: Path | None = None
    limits: Limits = field(default_factory=Limits)
    isolated: bool = False
    executor: str | None = None


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
class Trained:
    """The record of a cell that has more to save: it is on disk before that begins."""

    record: Record


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


class Executor(Protocol):
    """Run the cells of a queue, each to its record.

    Args:
        queue: The cells; one that is taken has to be run. Where none can be taken now and the queue is waiting, other
            commands run its cells, and it is asked again a moment later.
        options: What all cells share.
        jobs: Cells at a time, at least 1.
        emit: Called with every event: :class:`Started`, then :class:`Progress` and :class:`Notified` as they occur,
            :class:`Trained` before more than the record of a cell is saved, and the :class:`Record` at its end.
    """

    def __call__(self, queue: Queue, options: Options, jobs: int, emit: Emit) -> None: ...


EXECUTORS = Registry(
    "executor",
    "clbench.executors",
    {
        "in-process": (
            "clbench.running.executors.in_process:run_in_process",
            "one cell after another in the calling process, where a debugger can follow them",
        ),
        "workers": (
            "clbench.running.executors.pool:run_in_workers",
            "worker processes on this machine, with limits of time and memory for each cell",
        ),
    },
)
"""Executors by name, each an :class:`Executor`."""


def executor_name(options: Options, jobs: int) -> str:
    """Return the executor that runs so many cells at a time: the one that was asked for, else ``in-process`` for a
    single job that is neither isolated nor limited, else ``workers``."""
    if options.executor is not None:
        return options.executor
    return "workers" if jobs > 1 or options.isolated or options.limits.given else "in-process"


def execute(cells: Sequence[Cell] | Queue, options: Options, *, jobs: int, emit: Emit) -> None:
    """Run cells by the executor that :func:`executor_name` chooses.

    Args:
        cells: What to run.
        options: What they share.
        jobs: Number of cells at a time, at least 1.
        emit: Called with every event, in whatever order events occur; each cell ends with its record.

    Raises:
        Refused: There is no such executor, or it cannot do what is asked.
    """
    queue = Listed(cells) if isinstance(cells, Sequence) else cells
    EXECUTORS.get(executor_name(options, jobs))(queue, options, jobs, emit)


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
