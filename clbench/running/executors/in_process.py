"""The executor for cells in this process, one after another, where a debugger can follow them."""

from __future__ import annotations

import os
from time import sleep

from clbench.core.errors import Refused
from clbench.core.record import Record
from clbench.core.stop_request import Interrupted, asked_to_stop, end_steps, note_step
from clbench.running.cell_key import Cell
from clbench.running.executors import Emit, Queue, Started, Trained, run_here, scores_of_run, ticker
from clbench.running.executors.process_guard import children, ends_if_copied, left_behind, started
from clbench.running.options import Options

WAIT_SECONDS = 0.5
"""Seconds between two checks whether other commands have finished their cells."""


def run_in_process(queue: Queue, options: Options, jobs: int, emit: Emit) -> None:
    """Run cells in this process. Arguments are those of :class:`clbench.running.executors.Executor`.

    Raises:
        Refused: There is more than one job, or there are limits, which only another process can enforce.
    """
    if jobs > 1 or options.limits.given:
        raise Refused(
            "the executor in-process runs one cell at a time and without limits; leave jobs and limits out, or use "
            "the executor local"
        )
    while (cell := queue.take()) is not None or queue.waiting:
        if cell is None:
            sleep(WAIT_SECONDS)
            continue
        emit(Started(cell))
        emit(_run_guarded(cell, options, emit))


def _run_guarded(cell: Cell, options: Options, emit: Emit) -> Record:
    """Run a cell in this process; copies of the process, and processes that it has started, are ended."""
    scores = scores_of_run(options)
    owner, told = os.getpid(), ticker(cell, emit, scores)
    before = children()

    def tick(step: int, fraction: float) -> None:
        ends_if_copied(owner)
        note_step()
        told(step, fraction)
        if asked_to_stop():
            raise Interrupted

    def trained(record: Record) -> None:
        ends_if_copied(owner)
        emit(Trained(record))

    try:
        record = run_here(cell, options, tick, trained, scores)
    finally:
        end_steps()
    if started():
        left_behind(before)
    return record
