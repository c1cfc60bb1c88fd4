"""Run cells of a submission again, whole or only their first steps, and hand back what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from clbench.adapters.run_setup import Job
from clbench.core.environment import environment
from clbench.core.record import Record, Trace
from clbench.running.cell_key import Cell
from clbench.running.matrix import run_matrix
from clbench.running.options import Options
from clbench.running.run_cell import run_cell
from clbench.submission.trusted_code import NotRunnable, runnable

MOST_THREADS = 256
"""The most threads that a cell of a stranger may ask for."""


@dataclass(frozen=True)
class RunSettings:
    """Hold how the cells of a submission are run again.

    Args:
        options: The folder of data sets, the device and the limits of each cell. Nothing is written to a folder.
        jobs: Number of cells at a time, or ``auto``.
        trust: Whether code that is not clbench's own may run, if a copy with the same digest is here.
        salt: A text of the verifier's that the draws depend on, besides the digest.
    """

    options: Options = field(default_factory=Options)
    jobs: int | str = 1
    trust: bool = False
    salt: str = ""

    @property
    def environment(self) -> Mapping[str, Any]:
        """Return the environment of runs made here."""
        return environment(self.options.device)


class _Enough(BaseException):
    """Leave a run that has made its steps. It is no error, so that no record reports it as one."""


def cell_of(record: Record, *, trust: bool, seed: int | None = None) -> Cell:
    """Return the cell of a record as it can be run here.

    Args:
        record: The record, from a stranger.
        trust: As in :class:`RunSettings`.
        seed: Another seed.

    Raises:
        NotRunnable: The cell may not be run, or its configuration is none of this version.
    """
    config = dict(record.cell) if seed is None else {**record.cell, "seed": seed}
    try:
        config = runnable(config, trust=trust)
        threads = config["training"]["threads"]
        if type(threads) is not int or not 1 <= threads <= MOST_THREADS:
            raise NotRunnable(f"it asks for {threads!r} threads; 1 to {MOST_THREADS} are allowed")
        cell = Cell.of(config, record.label)
        cell.strategy.parts()
    except NotRunnable:
        raise
    except Exception as error:  # a configuration that was edited may fail anywhere
        raise NotRunnable(f"its configuration cannot be read ({type(error).__name__}: {error})") from None
    return replace(cell, tuning=dict(record.tuning))


def run_whole(cells: Sequence[Cell], settings: RunSettings) -> list[Record]:
    """Run cells to their ends, several at a time, and return their records in order."""
    return run_matrix(cells, settings.options, jobs=settings.jobs).records if cells else []


def run_prefix(cell: Cell, steps: int, settings: RunSettings) -> Record | Trace:
    """Run the first steps of a cell in this process.

    No setting of the cell changes: schedules of learning rates, replay buffers and evaluations are those of the whole
    run, which is left after these steps.

    Args:
        cell: The cell.
        steps: Number of optimiser steps, at least 1.
        settings: How cells are run.

    Returns:
        The trace up to there; the record, if the run ended before.
    """
    jobs: list[Job] = []

    def stop(step: int, _fraction: float) -> None:
        if step >= steps:
            raise _Enough

    try:
        return run_cell(cell, settings.options, tick=stop, ready=jobs.append)
    except _Enough:
        return jobs[-1].trace()
