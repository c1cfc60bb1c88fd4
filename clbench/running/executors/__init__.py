"""Executors: they run cells in this process, in worker processes with one cell at a time, or on other machines.

They report events: :class:`Started`, :class:`Progress`, :class:`Record` and a few others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from clbench.core.record import Record
from clbench.core.registry import Registry
from clbench.running.cell_key import Cell
from clbench.running.executors.process_guard import one_process
from clbench.running.scores_so_far import Scores
from clbench.running.stop_signals import stops_cleanly

if TYPE_CHECKING:
    from clbench.running.options import Options
    from clbench.running.scores_so_far import ScoresSoFar

TICK_SECONDS = 0.2
"""Seconds between two reports of a running cell's progress."""


@dataclass(frozen=True)
class Started:
    """Report that a cell has begun."""

    cell: Cell


@dataclass(frozen=True)
class Progress:
    """Report the progress of a running cell: number of steps, fraction of its stream in [0, 1], and its scores so far
    if ``options.scores`` asks for them."""

    cell: Cell
    step: int
    fraction: float
    scores: Scores | None = None


@dataclass(frozen=True)
class Retried:
    """Report that a cell is started again, because its worker process died.

    Args:
        cell: The cell.
        reason: How its process died.
        attempt: The number of the new attempt, from 2.
    """

    cell: Cell
    reason: str
    attempt: int


@dataclass(frozen=True)
class Notified:
    """Report a small fault in a worker; see :mod:`clbench.core.notices`."""

    sentence: str


@dataclass(frozen=True)
class Trained:
    """Report the record of a cell with more files to save; it is written before they are."""

    record: Record


@dataclass(frozen=True)
class Elsewhere:
    """Report the record of a cell that another command ran meanwhile."""

    record: Record


Event = Started | Progress | Retried | Notified | Elsewhere | Record
"""The events of a matrix."""

Emit = Callable[[Any], None]


class Queue(Protocol):
    """Describe a queue of cells to run."""

    @property
    def waiting(self) -> bool:
        """Return whether cells remain, to be run here or elsewhere."""
        ...

    def take(self) -> Cell | None:
        """Return the next cell to run; ``None`` if there is none now."""
        ...


class Listed:
    """Hold cells that no other command runs."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._cells = list(reversed(cells))

    @property
    def waiting(self) -> bool:
        """Return whether cells remain."""
        return bool(self._cells)

    def take(self) -> Cell | None:
        """Return the next cell."""
        return self._cells.pop() if self._cells else None


def ignore(event: Event) -> None:
    """Ignore all events."""


class Executor(Protocol):
    """Run the cells of a queue, each to its record.

    An executor is a function, or an object that can be called. It may have more:

    - A keyword parameter ``argument``: the text after its name and a colon, as in ``ray:10.0.0.1:6379``. Without the
      parameter such a text is refused.
    - A method ``check(options, argument)``, which is called before anything is loaded. It raises
      :class:`clbench.Refused` if a package is missing or an option cannot be fulfilled.
    - An attribute ``elsewhere = True``: cells may run on other machines, whose GPUs this machine does not know. It then
      heeds ``options.gpus_per_cell``.

    Args:
        queue: The cells; a cell that is taken must be run. If none can be taken now and the queue is waiting, other
            commands run its cells, and the executor asks again after a moment.
        options: What all cells share.
        jobs: Number of cells at a time, at least 1. If ``options.all_cores`` is set, it is what fits the cores of this
            machine, and an executor for other machines may count theirs.
        emit: A function that gets every event: :class:`Started`, then :class:`Progress`, :class:`Retried` and
            :class:`Notified` as they occur, :class:`Trained` before further files of a cell are saved, and the
            :class:`Record` at its end.
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
        "local": (
            "clbench.running.executors.worker_pool:run_in_workers",
            "worker processes on this machine, with limits of time and memory for each cell",
        ),
        "ray": (
            "clbench.running.executors.ray_executor:run_on_ray",
            "tasks of Ray, on this machine or on the cluster of ray:HOST:PORT (pip install 'clbench[ray]')",
        ),
        "workers": ("clbench.running.executors.worker_pool:run_in_workers", "the earlier name of local"),
    },
)
"""Executors by name, each an :class:`Executor`."""


def executor_name(options: Options, jobs: int) -> str:
    """Return the name of the executor for a number of cells at a time.

    It is the requested one. Otherwise it is ``in-process`` for a single job that is neither isolated nor limited, and
    ``local`` for all others.
    """
    if options.executor is not None:
        return options.executor
    return "local" if jobs > 1 or options.isolated or options.limits.given else "in-process"


def execute(cells: Sequence[Cell] | Queue, options: Options, *, jobs: int, emit: Emit) -> None:
    """Run cells by the executor that :func:`executor_name` chooses.

    Args:
        cells: The cells to run.
        options: What the cells share.
        jobs: Number of cells at a time, at least 1.
        emit: A function that gets every event in the order of events; each cell ends with its record.

    Raises:
        Refused: The executor does not exist, or cannot do what is requested.
    """
    from clbench.running.executors.executor_names import named_executor

    queue = Listed(cells) if isinstance(cells, Sequence) else cells
    executor = named_executor(executor_name(options, jobs))
    executor.check(options)
    with stops_cleanly():
        executor.call(queue, options, jobs, emit)


def ticker(
    cell: Cell, send: Callable[[Progress], Any], scores: ScoresSoFar | None = None
) -> Callable[[int, float], None]:
    """Return a tick function for a running cell that reports progress regularly, with its scores so far."""
    told = monotonic()

    def tick(step: int, fraction: float) -> None:
        nonlocal told
        if monotonic() - told >= TICK_SECONDS:
            told = monotonic()
            send(Progress(cell, step, fraction, None if scores is None else scores()))

    return tick


def scores_of_run(options: Options) -> ScoresSoFar | None:
    """Return what computes the scores of a running cell, if they are asked for."""
    if not options.scores:
        return None
    from clbench.running.scores_so_far import ScoresSoFar

    return ScoresSoFar()


def run_here(
    cell: Cell, options: Options, tick: Any, trained: Callable[[Record], None], scores: ScoresSoFar | None = None
) -> Record:
    """Run a cell in this process; a copy of the process that returns from it is ended."""
    from clbench.running.run_cell import run_cell

    with one_process():
        ready = None if scores is None else scores.watch
        return run_cell(cell, options, tick=tick, trained=trained, ready=ready)
