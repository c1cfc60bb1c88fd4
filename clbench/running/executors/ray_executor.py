"""The executor for Ray: each cell is a task, and this process alone writes results.

``ray`` starts a Ray on this machine that ends with the matrix; ``ray:HOST:PORT`` joins a cluster. Cells of lost nodes
run again on others.
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from clbench.core.atomic_files import write
from clbench.core.cache_shards import make_cache_folder
from clbench.core.errors import Refused
from clbench.core.notices import notice
from clbench.core.record import Record
from clbench.running.cell_key import Cell
from clbench.running.executors import Emit, Notified, Queue, Started, Trained
from clbench.running.executors.ray_cluster import Cluster, check_address, check_installed, connect, own_signals, quiet
from clbench.running.executors.ray_node import Arrived, Departure, Mailbox, Returned, mark_path, run_on_node
from clbench.running.options import Options

LOST_NODES = 5
"""How often a cell may lose its node; each time it runs again on another."""
LOOK_SECONDS = 0.5
"""Seconds between two checks of tasks."""
ROOM_SECONDS = 5.0
"""Seconds between two counts of the cores of a cluster."""
GRACE_SECONDS = 12.0
"""Seconds that tasks have to save their cells if the matrix is stopped."""
FORWARDED = ("CLBENCH_OFFLINE",)
"""Environment variables that cells on nodes inherit from the command."""


class RayExecutor:
    """Run cells as tasks of Ray; see :class:`clbench.running.executors.Executor`."""

    elsewhere = True
    """Cells may run on other machines."""

    def check(self, options: Options, argument: str) -> None:
        """Refuse options that cannot be fulfilled.

        Raises:
            Refused: Ray is not installed, the address is none, or Ray cannot give such GPUs.
        """
        check_installed()
        check_address(argument)
        share = options.gpus_per_cell
        if ":" in options.device:
            raise Refused(f"device {options.device!r} cannot be chosen with Ray, which assigns GPUs; use cuda")
        if share is not None and options.device == "cpu":
            raise Refused(f"gpus_per_cell = {share:g} needs a GPU as device; add --device cuda, or leave it out")
        if share is not None and (share <= 0 or (share > 1 and share != int(share))):
            raise Refused(f"gpus_per_cell = {share:g} is not possible; give a share above 0 and at most 1, such as 0.2")

    def __call__(self, queue: Queue, options: Options, jobs: int, emit: Emit, *, argument: str = "") -> None:
        """Run the cells of a queue. ``argument`` is the address of a cluster.

        Raises:
            Refused: The cluster does not answer, or has no GPU although one is requested.
        """
        import cloudpickle

        from clbench.running.matrix import usable_cores

        if not queue.waiting:
            return
        packed = cloudpickle.dumps(options)
        cluster = connect(argument, cores=max(usable_cores(), 1 if options.all_cores else jobs), held=len(packed))
        try:
            _Tasks(cluster, options, packed, jobs, emit).run(queue)
        finally:
            cluster.close()


run_on_ray = RayExecutor()


@dataclass
class Flight:
    """Hold a cell that is on its way, and its attempts that ended with their nodes and that no node writes down."""

    cell: Cell
    arrived: Arrived | None = None
    began: str = ""
    since: float = 0.0
    lost: list[dict[str, Any]] = field(default_factory=list)

    def arrive(self, event: Arrived) -> bool:
        """Note that the cell begins on a node, and return whether it had begun on another one before."""
        before = self.arrived
        if before is not None and not before.writes:
            seconds = round(monotonic() - self.since, 3)
            ended = {"ended": "died: its node was lost", "to_step": 0, "seconds": seconds, "lost_seconds": seconds}
            self.lost.append({"began": self.began, "from_step": 0, **ended})
        self.arrived, self.since = event, monotonic()
        self.began = datetime.now(UTC).isoformat(timespec="milliseconds")
        return before is not None


class _Tasks:
    """Run cells as tasks on a cluster."""

    def __init__(self, cluster: Cluster, options: Options, packed: bytes, jobs: int, emit: Emit) -> None:
        self.cluster, self.ray, self.options, self.jobs, self.emit = cluster, cluster.ray, options, jobs, emit
        self.gpus = 0.0 if options.device == "cpu" else 1.0 if options.gpus_per_cell is None else options.gpus_per_cell
        self.departure = _departure(options)
        self.packed = self.ray.put(packed)
        self.mailbox = self._mailbox()
        self.letters: Any = None
        self.flights: dict[Any, Flight] = {}
        self.cores, self.room, self.counted = 1, jobs, -ROOM_SECONDS
        self.told: set[tuple[float, float]] = set()

    def run(self, queue: Queue) -> None:
        """Run all cells of a queue; if this is interrupted, tasks are cancelled and save their cells."""
        try:
            while True:
                self._hand_out(queue)
                if self.flights:
                    self._listen()
                    self.cluster.still_answers()
                elif queue.waiting:
                    sleep(LOOK_SECONDS)  # wait for cells that other commands run
                else:
                    break
        except BaseException:
            if not self.cluster.silent:
                self._cancel()
            raise

    def _mailbox(self) -> Any:
        strategy: Any = "DEFAULT"
        with suppress(Exception):  # a client of Ray is on no node
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            strategy = NodeAffinitySchedulingStrategy(self.ray.get_runtime_context().get_node_id(), soft=False)
        return self.ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=strategy).remote()

    def _hand_out(self, queue: Queue) -> None:
        while len(self.flights) < self._most():
            cell = queue.take()
            if cell is None:
                return
            cores = cell.config["training"]["threads"]
            if cores > self.cores:
                self.cores, self.counted = cores, -ROOM_SECONDS
            self._check_room(cores)
            task = self.ray.remote(run_on_node).options(
                num_cpus=cores, num_gpus=self.gpus, max_retries=LOST_NODES, name=f"{cell.label}, seed {cell.seed}"
            )
            self.flights[task.remote(self.packed, cell, self.departure, self.mailbox)] = Flight(cell)
            self.emit(Started(cell))

    def _most(self) -> int:
        """Return the largest number of tasks: ``jobs``, or as many as the cluster's cores and GPUs can run."""
        if not self.options.all_cores:
            return self.jobs
        if monotonic() - self.counted >= ROOM_SECONDS:
            self.counted, self.room = monotonic(), self.cluster.room(self.cores, self.gpus)
        return max(1, self.room)

    def _check_room(self, cores: float) -> None:
        """Say if no node can run a cell now.

        Raises:
            Refused: This is a Ray of this machine, to which no other node comes.
        """
        if (cores, self.gpus) in self.told or self.cluster.room(cores, self.gpus):
            return
        needed = f"{cores:g} cores" + (f" and {self.gpus:g} GPU" if self.gpus else "")
        if self.cluster.of_this_machine:
            raise Refused(f"this machine cannot run a cell with Ray: it needs {needed}, which Ray does not find here")
        self.told.add((cores, self.gpus))
        notice(f"no node of the Ray cluster has {needed}; cells wait until one joins")

    def _listen(self) -> None:
        """Receive events and records for a moment."""
        if self.letters is None:
            self.letters = self.mailbox.collect.remote()
        ready, _ = self.ray.wait([*self.flights], num_returns=1, timeout=LOOK_SECONDS)
        if self.ray.wait([self.letters], timeout=0)[0]:
            letters, self.letters = self.letters, None
            self._read(letters)
        for reference in ready:
            self._land(reference)

    def _read(self, letters: Any) -> None:
        import cloudpickle

        flights = {flight.cell.key: flight for flight in self.flights.values()}
        try:
            received = self.ray.get(letters)
        except Exception:  # the mailbox was lost, which costs reports of progress
            self.mailbox = self._mailbox()
            return
        for key, letter in received:
            flight, event = flights.get(key), cloudpickle.loads(letter)
            if flight is None:
                continue
            if isinstance(event, Arrived):
                if flight.arrive(event):
                    where = f"{flight.cell.label}, seed {flight.cell.seed}"
                    self.emit(Notified(f"{where}: its node was lost; the cell runs again on {event.node}"))
            else:
                self.emit(event)

    def _land(self, reference: Any) -> None:
        """Emit the record of a task that has ended, and write the files to keep with it."""
        import cloudpickle

        flight = self.flights.pop(reference)
        try:
            with quiet():
                returned: Returned = cloudpickle.loads(self.ray.get(reference))
        except Exception as error:
            self.emit(self._failed(flight.cell, error))
            return
        record = replace(returned.record, attempts=(*flight.lost, *returned.record.attempts))
        if returned.files and self.options.keep is not None:
            self.emit(Trained(record))
            self._keep(returned, self.options.keep.folder, flight.cell)
        self.emit(record)

    def _keep(self, returned: Returned, folder: Path, cell: Cell) -> None:
        for name, content in returned.files.items():
            try:
                write(folder / name, content)
            except OSError as error:
                notice(
                    f"{cell.label}, seed {cell.seed}: {folder / name} could not be written ({error.strerror}); the "
                    "record is kept, and the same command runs the cell again for it"
                )

    def _failed(self, cell: Cell, error: Exception) -> Record:
        from clbench.running.run_cell import record

        lost = self.ray.exceptions
        if isinstance(error, lost.WorkerCrashedError | lost.NodeDiedError | lost.ObjectLostError):
            reason = f"its node was lost {LOST_NODES + 1} times"
        elif isinstance(error, lost.RayTaskError) and isinstance(error.cause, Refused):
            reason = str(error.cause)
        else:
            said = (str(error).strip().splitlines() or [""])[-1].strip()
            reason = f"Ray could not run it ({type(error).__name__}): {said}"
        return record(cell, None, status="failed", reason=reason, device=self.options.device)

    def _cancel(self) -> None:
        """Cancel all tasks, and wait a moment until they have saved their cells."""
        with suppress(Exception), own_signals():
            for reference in self.flights:
                self.ray.cancel(reference, force=False)
            self.ray.wait([*self.flights], num_returns=len(self.flights), timeout=GRACE_SECONDS)


def _departure(options: Options) -> Departure:
    import clbench

    results = None if options.partial is None else options.partial.parent
    return Departure(
        version=clbench.__version__,
        folder=os.getcwd(),
        path=tuple(entry for entry in sys.path if entry),
        environment={name: os.environ[name] for name in FORWARDED if name in os.environ},
        results=results,
        mark="" if results is None else _mark(results),
    )


def _mark(results: Path) -> str:
    """Return the content of the file by which nodes recognise a result directory; it is written if it is missing."""
    path = mark_path(results)
    with suppress(OSError):
        if not path.exists():
            make_cache_folder(results)
            write(path, secrets.token_hex(16).encode())
        return path.read_text(encoding="ascii")
    return secrets.token_hex(16)  # a directory that no node has
