"""The executor for worker processes: if a worker dies or exceeds a limit, only its cell fails."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from clbench.core.record import Record
from clbench.running.attempts import START, close
from clbench.running.cell_key import Cell
from clbench.running.executors import Emit, Queue, Retried, Started, Trained
from clbench.running.executors.kept_workers import KEPT
from clbench.running.executors.limits import (
    MOST_PROCESSES,
    SHARE,
    descendants,
    end,
    machine_memory,
    marked,
    resident,
    size_text,
)  # fmt: skip
from clbench.running.executors.stack_file import StackFile
from clbench.running.executors.worker import STOPPED, Answer, Begun
from clbench.running.options import Options
from clbench.running.placement import least_used
from clbench.running.snapshot_file import place_of, snapshot_path

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

MARK = "CLBENCH_WORKER"
"""Environment variable that identifies the processes of a worker, whatever their parent is now."""
LOOK_SECONDS = 0.5
"""Seconds between two checks of workers."""
LAST_SECONDS = 0.05
"""Seconds between two checks for the last messages of workers."""
COUNT_SECONDS = 2.0
"""Seconds between two counts of the processes that cells have started."""
GRACE_SECONDS = 10.0
"""Seconds that a worker has to save its cell if the matrix is stopped."""
ATTEMPTS = 3
"""Number of times that a cell is started in all if its worker process dies."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    mark: str
    stacks: StackFile
    threads: int
    place: int = 0
    cell: Cell | None = None
    began: float | None = None
    since: str = ""
    trained: Record | None = None
    others: list[int] = field(default_factory=list)

    def take(self, cell: Cell) -> None:
        """Start a cell."""
        self.cell, self.began, self.trained, self.others = cell, None, None, []
        self.since = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.stacks.forget()
        _send(self.pipe, cell)

    def stop(self) -> None:
        """End the worker and all processes that it has started."""
        others = descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        self.sweep(others)

    def sweep(self, others: list[int]) -> None:
        """End processes that remain after the worker's end."""
        _end_group(self.process.pid)
        end({*others, *self.others, *marked(MARK, self.mark)})
        self.pipe.close()
        self.stacks.close()


def run_in_workers(queue: Queue, options: Options, jobs: int, emit: Emit) -> None:
    """Run cells in a number of workers. Arguments are those of :class:`clbench.running.executors.Executor`."""
    import cloudpickle

    devices = options.devices or (options.device,)
    alone = [replace(options, device=device, devices=()) for device in devices]
    pool = _Pool([cloudpickle.dumps(each) for each in alone], options, emit)
    try:
        while True:
            pool.hand_out(queue, jobs)
            if any(worker.cell for worker in pool.workers):
                pool.listen()
                pool.look()
            elif pool.again:
                continue
            elif queue.waiting:
                sleep(LOOK_SECONDS)  # wait for cells that other commands run
            else:
                break
        pool.keep_idle()
    finally:
        pool.close()


class _Pool:
    def __init__(self, packed: list[bytes], options: Options, emit: Emit) -> None:
        self.packed, self.options, self.emit = packed, options, emit
        self.workers: list[_Worker] = []
        self.memory = SHARE * machine_memory()
        self.looked = self.counted = monotonic()
        self.again: list[Cell] = []
        self.deaths: dict[str, list[str]] = {}
        self.died: dict[str, list[dict[str, Any]]] = {}
        """Attempts that no file holds, of each cell whose worker has died."""

    def hand_out(self, queue: Queue, jobs: int) -> None:
        """Give cells to idle workers, and to new workers if there may be more."""
        while sum(worker.cell is not None for worker in self.workers) < jobs:
            cell = self.again.pop(0) if self.again else queue.take()
            if cell is None:
                return
            worker = next((worker for worker in self.workers if worker.cell is None), None)
            if worker is None:
                worker = self._new(cell.config["training"]["threads"])
                self.workers.append(worker)
            worker.take(cell)
            if cell.key not in self.deaths:
                self.emit(Started(cell))

    def _new(self, threads: int) -> _Worker:
        """Return a worker on the device that has the fewest: one kept from an earlier matrix, or else a new one."""
        place = least_used(len(self.packed), (worker.place for worker in self.workers))
        packed, kept = self.packed[place], KEPT.get()
        while kept is not None and (worker := kept.take((packed, threads))) is not None:
            if worker.process.poll() is None:
                worker.place = place
                return worker  # type: ignore[no-any-return]
            worker.stop()
        return replace(_start(packed, threads), place=place)

    def keep_idle(self) -> None:
        """Keep idle workers for the next matrix, if the program asks for it."""
        kept = KEPT.get()
        if kept is not None:
            for worker in [worker for worker in self.workers if worker.cell is None]:
                self.workers.remove(worker)
                kept.keep((self.packed[worker.place], worker.threads), worker, worker.stop)

    def listen(self) -> None:
        """Receive messages of workers for a moment, and detect workers that have died."""
        from multiprocessing.connection import wait

        busy = [worker for worker in self.workers if worker.cell]
        ready = set(map(id, wait([worker.pipe for worker in busy], timeout=LOOK_SECONDS)))
        for worker in busy:
            if id(worker.pipe) in ready:
                self._hear(worker)
            elif worker.process.poll() is not None and not worker.pipe.poll():  # a copy of it may keep the pipe open
                self._died(worker)

    def _hear(self, worker: _Worker) -> None:
        try:
            event = worker.pipe.recv()
        except Exception:  # the pipe was closed, perhaps within a message
            if worker.process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    worker.process.wait(timeout=1)
            self._died(worker)
            return
        if isinstance(event, Begun):
            worker.began = monotonic()
        elif isinstance(event, Trained):
            worker.trained = event.record
            self.emit(event)
        elif isinstance(event, Answer):
            worker.cell = None
            if event.retire:
                self.workers.remove(worker)
                worker.stop()
            before = self.died.pop(event.record.key, [])
            self.emit(replace(event.record, attempts=(*before, *event.record.attempts)))
        else:
            self.emit(event)

    def _died(self, worker: _Worker) -> None:
        """Start the cell of a worker again that has died, or that sends no more messages; a few times at most."""
        self.workers.remove(worker)
        told, hint = "", ""
        if worker.process.poll() is None:
            worker.stop()
            how = "it sent no more messages"
        else:
            code, told = worker.process.wait(), worker.stacks.crash()
            worker.sweep([])
            number = -code if code < 0 else code - 128 if code == STOPPED else 0
            how = signal.Signals(number).name if number else f"exit code {code}"
            hint = "; was there enough memory? fewer --jobs need less" if how == "SIGKILL" else ""
        cell = worker.cell
        assert cell is not None
        ways = self.deaths.setdefault(cell.key, [])
        ways.append(how)
        self._note_death(worker, cell, f"died: {how}")
        if worker.trained is None and len(ways) < ATTEMPTS:
            worker.cell = None
            self.again.append(cell)
            self.emit(Retried(cell, f"its worker process died ({how})", len(ways) + 1))
            return
        often = f" in each of {len(ways)} attempts" if len(ways) > 1 else ""
        self._fail(worker, f"its worker process died ({', '.join(dict.fromkeys(ways))}){often}{hint}", told)

    def _note_death(self, worker: _Worker, cell: Cell, how: str) -> None:
        """Write down the end of an attempt of which its process says nothing any more."""
        snapshot = snapshot_path(cell.key, self.options)
        if self.options.attempts is not None:
            kept = START if snapshot is None else place_of(snapshot)
            close(self.options.attempts / f"{cell.key}.jsonl", kept, how)
        elif worker.began is not None:
            seconds = round(monotonic() - worker.began, 3)
            ended = {"ended": how, "to_step": 0, "seconds": seconds, "lost_seconds": seconds}
            self.died.setdefault(cell.key, []).append({"began": worker.since, "from_step": 0, **ended})

    def _end(self, worker: _Worker, reason: str) -> None:
        self.workers.remove(worker)
        told = worker.stacks.ask(worker.process.pid)
        worker.stop()
        self._fail(worker, reason, told)

    def _fail(self, worker: _Worker, reason: str, traceback: str = "") -> None:
        from clbench.running.run_cell import record

        cell, worker.cell = worker.cell, None
        assert cell is not None
        if worker.trained is not None:  # it died while further files were saved
            alarms = (*worker.trained.alarms, f"further files of this record may be missing: {reason}")
            self.emit(replace(worker.trained, alarms=alarms))
        else:
            device = self.options.device
            self.emit(record(cell, None, status="failed", reason=reason, device=device, traceback=traceback))

    def look(self) -> None:
        """End cells that exceed their limits."""
        now = monotonic()
        if now - self.looked < LOOK_SECONDS:
            return
        self.looked = now
        busy = [worker for worker in self.workers if worker.cell]
        if now - self.counted >= COUNT_SECONDS:
            self.counted = now
            for worker in busy:
                worker.others = descendants(worker.process.pid)
        held = {id(worker): resident([worker.process.pid, *worker.others]) for worker in busy}
        limits = self.options.limits
        largest = max(held.values(), default=0)
        for worker in busy:
            uses, took = held[id(worker)], 0.0 if worker.began is None else now - worker.began
            if limits.seconds is not None and took > limits.seconds:
                self._end(
                    worker,
                    f"it exceeded its time limit of {limits.seconds:g} second{'' if limits.seconds == 1 else 's'}",
                )
            elif limits.memory is not None and uses > limits.memory:
                self._end(
                    worker, f"it held {size_text(uses)}, more than its memory limit of {size_text(limits.memory)}"
                )
            elif limits.memory is None and uses == largest and sum(held.values()) > self.memory:
                self._end(
                    worker,
                    f"it held {size_text(uses)}, and all cells together more than nine tenths of this machine's "
                    "memory; fewer --jobs need less, --memory-limit sets another limit",
                )
                return
            elif len(worker.others) > MOST_PROCESSES:
                self._end(worker, f"it had {len(worker.others)} processes; a cell may have {MOST_PROCESSES} at a time")

    def close(self) -> None:
        """End all workers; those with a running cell save it first, if it is worth it."""
        others = {id(worker): descendants(worker.process.pid) for worker in self.workers if worker.cell}
        for worker in self.workers:
            with suppress(OSError):
                worker.process.terminate()
        until = monotonic() + GRACE_SECONDS
        for worker in self.workers:
            cell = worker.cell
            if cell is not None:
                self._last_words(worker, until)
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(timeout=max(0.0, until - monotonic()))
            worker.process.kill()
            worker.process.wait()
            if cell is not None and worker.cell is not None:
                self._note_death(worker, cell, "stopped")
            if id(worker) in others:
                worker.sweep(others[id(worker)])
            else:
                _end_group(worker.process.pid)
                worker.pipe.close()
                worker.stacks.close()

    def _last_words(self, worker: _Worker, until: float) -> None:
        """Receive the record of a cell that ends while its worker is asked to stop."""
        while worker.cell is not None and monotonic() < until:
            try:
                if worker.pipe.poll(LAST_SECONDS):
                    event = worker.pipe.recv()
                elif worker.process.poll() is not None:
                    return
                else:
                    continue
            except Exception:  # the pipe was closed
                return
            if isinstance(event, Answer | Trained):
                with suppress(Exception):  # what ends the matrix is reported, not this
                    self.emit(event if isinstance(event, Trained) else event.record)
            if isinstance(event, Answer):
                worker.cell = None


def _end_group(pid: int) -> None:
    if hasattr(os, "killpg"):
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)


def _send(pipe: Connection, obj: Any) -> None:
    """Send an object; if the worker has died meanwhile, this is detected when its answer is awaited."""
    with suppress(BrokenPipeError, ConnectionResetError):
        pipe.send(obj)


def _start(packed: bytes, threads: int) -> _Worker:
    """Start a new interpreter. It does not import the caller's main module, so scripts and notebooks need no main
    guard."""
    from multiprocessing import Pipe

    stacks = StackFile()
    ours, theirs = Pipe()
    path, mark = os.pathsep.join(sys.path), secrets.token_hex(8)  # a given model may be defined next to the script
    numbers = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    given = f"{theirs.fileno()}, {os.getpid()}, {stacks.descriptor}"
    code = f"from clbench.running.executors.worker import work; work({given})"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=[theirs.fileno(), stacks.descriptor], env={**os.environ, "PYTHONPATH": path, **numbers, MARK: mark},
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    theirs.close()
    _send(ours, packed)
    return _Worker(process, ours, mark, stacks, threads)
