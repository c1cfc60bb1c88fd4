"""The options that the cells of a matrix share: one object, which is handed down from the command to each run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clbench.core.store import Keep
from clbench.running.executors.limits import SNAPSHOT_SECONDS, Limits

if TYPE_CHECKING:
    from clbench.running.executors.added_objects import AddedObject
    from clbench.running.user_objects import UserObjects


@dataclass(frozen=True)
class Options:
    """Hold what all cells of a matrix share besides their configuration.

    Args:
        data_dir: The directory of data sets.
        device: ``cpu`` or ``cuda``; the first of ``devices``.
        given: Arrays, stream or module that the program hands over.
        keep: The files to keep with records; ``None`` keeps none.
        partial: The directory of snapshots of long cells; ``None`` keeps none.
        attempts: The directory in which the starts of unfinished cells are written down; ``None`` keeps none.
        snapshot_every: Seconds between two snapshots of a cell; 0 makes one only when the cell is asked to stop.
        scores: Whether the progress of running cells includes their ACC and gap so far.
        limits: Limits of a cell; only a worker can enforce them.
        isolated: Whether a single job runs in a worker too, so that a cell that ends its process, hangs or needs too
            much memory affects no other cell. In this process a debugger can follow it.
        executor: The name of the executor; ``None`` for the one that fits ``isolated``, ``limits`` and the jobs.
        gpus_per_cell: The share of a GPU that each cell is given, for executors that place cells on GPUs; ``None`` for
            their default.
        all_cores: Whether as many cells run at a time as there are cores, also those of other machines.
        added: The objects that the program has added to registries, for executors that use other processes.
        devices: All devices, if cells are placed on several; otherwise empty.
    """

    data_dir: str | None = None
    device: str = "cpu"
    given: UserObjects | None = None
    keep: Keep | None = None
    partial: Path | None = None
    attempts: Path | None = None
    snapshot_every: float = SNAPSHOT_SECONDS
    scores: bool = False
    limits: Limits = field(default_factory=Limits)
    isolated: bool = False
    executor: str | None = None
    gpus_per_cell: float | None = None
    all_cores: bool = False
    added: tuple[AddedObject, ...] = ()
    devices: tuple[str, ...] = ()
