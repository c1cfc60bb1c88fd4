"""Where cells run: in this process, or in local worker processes that each hold one cell at a time.

What happens to cells is told as :class:`Started`, :class:`Progress` and :class:`Record` events.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from clbench.data.roots import Notice
from clbench.plan import Cell
from clbench.record import Record

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from clbench.prepare import Given

TICK_SECONDS = 0.2
"""How often a running cell tells where it stands."""


@dataclass(frozen=True)
class Options:
    """What all cells of a matrix share besides their configuration.

    Args:
        data_dir: Where data sets lie.
        device: ``cpu`` or ``cuda``.
        given: A program's own arrays or module.
        models: Folder for final weights; ``None`` keeps none.
        partial: Folder for snapshots of long cells; ``None`` keeps none.
    """

    data_dir: str | None = None
    device: str = "cpu"
    given: Given | None = None
    models: Path | None = None
    partial: Path | None = None


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


Event = Started | Progress | Record


Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The watcher that nobody needs."""


def execute(cells: Sequence[Cell], options: Options, *, jobs: int, emit: Emit) -> None:
    """Run cells; with one job in this process, else in that many workers.

    Args:
        cells: What to run.
        options: What they share.
        jobs: Number of cells at a time, at least 1.
        emit: Told what happens, in whatever order it happens; each cell ends with its record.
    """
    if jobs == 1:
        for cell in cells:
            emit(Started(cell))
            emit(_run(cell, options, _ticker(cell, emit)))
    else:
        _workers(cells, options, jobs, emit)


def _ticker(cell: Cell, send: Callable[[Progress], Any]) -> Callable[[int, float], None]:
    """A tick for a running cell that sends progress now and then."""
    told = monotonic()

    def tick(step: int, fraction: float) -> None:
        nonlocal told
        if monotonic() - told >= TICK_SECONDS:
            told = monotonic()
            send(Progress(cell, step, fraction))

    return tick


def _run(cell: Cell, options: Options, tick: Any) -> Record:
    from clbench.cell import run_cell

    return run_cell(
        cell,
        data_dir=options.data_dir,
        device=options.device,
        given=options.given,
        tick=tick,
        save_model=options.models / f"{cell.key}.pt" if options.models else None,
        partial=options.partial / f"{cell.key}.pt" if options.partial else None,
    )


# --------------------------------------------------------------------------------------------------- worker processes


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    cell: Cell | None = None


def _workers(cells: Sequence[Cell], options: Options, jobs: int, emit: Emit) -> None:
    """A worker that dies takes only its cell with it: the cell fails with the reason, and a new worker takes over."""
    from multiprocessing.connection import wait

    import cloudpickle

    packed = cloudpickle.dumps(options)
    waiting = list(reversed(cells))
    workers: list[_Worker] = []
    try:
        while waiting or any(w.cell for w in workers):
            while waiting and len(workers) < jobs:
                workers.append(_start(packed, waiting[-1].config["training"]["threads"]))
            for worker in workers:
                if worker.cell is None and waiting:
                    worker.cell = waiting.pop()
                    _send(worker.pipe, worker.cell)
                    emit(Started(worker.cell))
            for pipe in wait([w.pipe for w in workers if w.cell]):
                worker = next(w for w in workers if w.pipe is pipe)
                assert worker.cell is not None
                try:
                    event = worker.pipe.recv()
                except (EOFError, ConnectionResetError):
                    workers.remove(worker)
                    event = _death(worker.cell, worker.process.wait(), options.device)
                if isinstance(event, Record):
                    worker.cell = None
                emit(event)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.wait()
            worker.pipe.close()


def _send(pipe: Connection, thing: Any) -> None:
    """Send; a worker that has died meanwhile is noticed when its answer is waited for."""
    with suppress(BrokenPipeError, ConnectionResetError):
        pipe.send(thing)


def _start(packed: bytes, threads: int) -> _Worker:
    """A fresh interpreter: it does not import the caller's main module, so scripts and notebooks need no guard."""
    from multiprocessing import Pipe

    ours, theirs = Pipe()
    path = os.pathsep.join(sys.path)  # a given model may come from a module beside the caller's script
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", f"from clbench.executors import work; work({theirs.fileno()})"]
    process = subprocess.Popen(
        command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, start_new_session=True
    )
    theirs.close()
    _send(ours, packed)
    return _Worker(process, ours)


def work(descriptor: int) -> None:
    """The life of a worker: options first, then cells in and events out, until the parent closes the pipe.

    It is its own session, so that Ctrl-C reaches the parent alone, which decides what becomes of its workers.

    Args:
        descriptor: File descriptor of the worker's end of the pipe.
    """
    from multiprocessing.connection import Connection

    import cloudpickle

    warnings.simplefilter("ignore", Notice)  # told by the parent
    pipe = Connection(descriptor)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        options = cloudpickle.loads(pipe.recv())
        while True:
            cell = pipe.recv()
            pipe.send(_run(cell, options, _ticker(cell, pipe.send)))


def _death(cell: Cell, code: int, device: str) -> Record:
    from clbench.cell import record

    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    hint = "; was there enough memory? fewer --jobs need less" if how == "SIGKILL" else ""
    return record(cell, None, status="failed", reason=f"its worker process died ({how}){hint}", device=device)
