"""The part of the Ray executor that runs on a node: one task for each cell, and a mailbox for events.

A task runs its cell in a worker process of its own. So a cell that dies or exceeds a limit is handled as on one
machine, and Ray repeats only the tasks of lost nodes. Everything that a cell leaves returns to the driver.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

from clbench.core.cache_shards import FOLDER
from clbench.core.errors import Refused
from clbench.core.record import Record
from clbench.running.cell_key import Cell
from clbench.running.executors import Listed, Progress, Started, Trained
from clbench.running.options import Options

LETTER_SECONDS = 1.0
"""Seconds between two reports of a cell's progress."""


@dataclass(frozen=True)
class Departure:
    """Describe where the driver runs, so that a node can look for the same files.

    Args:
        version: Version of clbench.
        folder: The working directory.
        path: Entries of ``sys.path``.
        environment: Environment variables that a cell needs.
        results: The result directory; ``None`` for none.
        mark: The content of a file of the result directory, by which a node recognises it.
    """

    version: str
    folder: str
    path: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    results: Path | None = None
    mark: str = ""


@dataclass(frozen=True)
class Arrived:
    """Report that a node begins a cell.

    Args:
        node: The name of the node.
        writes: Whether the node writes down the attempts of the cell, because it reaches the driver's results.
    """

    node: str
    writes: bool


@dataclass(frozen=True)
class Returned:
    """Hold what a cell leaves: its record, and the files to keep with it by their path in the result directory."""

    record: Record
    files: dict[str, bytes] = field(default_factory=dict)


class Mailbox:
    """Hold the events of running cells until the driver collects them."""

    def __init__(self) -> None:
        self._letters: list[tuple[str, bytes]] = []

    def post(self, key: str, letter: bytes) -> None:
        """Add an event of the cell with a key."""
        self._letters.append((key, letter))

    def collect(self) -> list[tuple[str, bytes]]:
        """Return the events since the last call."""
        letters, self._letters = self._letters, []
        return letters


def run_on_node(options: bytes, cell: Cell, departure: Departure, mailbox: Any) -> bytes:
    """Run a cell on this node, and return what it leaves (:class:`Returned`) as bytes.

    Args:
        options: The :class:`clbench.running.options.Options` as bytes.
        cell: The cell.
        departure: Where the driver runs.
        mailbox: The mailbox, as a Ray actor.
    """
    import cloudpickle

    from clbench.running.executors.worker_pool import run_in_workers

    def send(event: Any) -> None:
        mailbox.post.remote(cell.key, cloudpickle.dumps(event))

    _arrive(departure)
    send(Arrived(platform.node(), reached(departure)))
    ended: list[Record] = []
    last = monotonic()

    def emit(event: Any) -> None:
        nonlocal last
        if isinstance(event, Record):
            ended.append(event)
        elif isinstance(event, Progress):
            if monotonic() - last >= LETTER_SECONDS:
                last = monotonic()
                send(event)
        elif not isinstance(event, Started | Trained):  # the driver reports both itself
            send(event)

    here = local(cloudpickle.loads(options), departure)
    if here.keep is None:
        run_in_workers(Listed([cell]), here, 1, emit)
        return cloudpickle.dumps(Returned(ended[0]))  # type: ignore[no-any-return]
    with tempfile.TemporaryDirectory(prefix="clbench-") as kept:
        run_in_workers(Listed([cell]), replace(here, keep=replace(here.keep, folder=Path(kept))), 1, emit)
        return cloudpickle.dumps(Returned(ended[0], files_below(Path(kept))))  # type: ignore[no-any-return]


def local(options: Options, departure: Departure) -> Options:
    """Return the options of this node: checkpoints are written only if the result directory is the driver's."""
    return options if reached(departure) else replace(options, partial=None, attempts=None)


def reached(departure: Departure) -> bool:
    """Return whether the driver's result directory is there on this node too, on a shared file system."""
    if departure.results is None:
        return False
    with suppress(OSError):
        return mark_path(departure.results).read_text(encoding="ascii") == departure.mark
    return False


def mark_path(results: Path) -> Path:
    """Return the path of the file by which nodes recognise a result directory."""
    return results / FOLDER / "directory"


def files_below(folder: Path) -> dict[str, bytes]:
    """Return the content of all files in a folder, by their path within it."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _arrive(departure: Departure) -> None:
    """Make the driver's files known to this process.

    Raises:
        Refused: This node has another version of clbench.
    """
    import clbench

    if clbench.__version__ != departure.version:
        raise Refused(
            f"the node {platform.node()} has clbench {clbench.__version__}, and the command has clbench "
            f"{departure.version}; install the same version on all nodes"
        )
    with suppress(OSError):  # the node has no such folder; then only absolute paths are found
        os.chdir(departure.folder)
    sys.path.extend(entry for entry in departure.path if entry not in sys.path)
    os.environ.update(departure.environment)
