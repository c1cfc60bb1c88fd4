"""One cell, from its configuration to its record."""

from __future__ import annotations

import os
import sysconfig
import traceback
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from clbench import peak
from clbench.adapters.world import Job
from clbench.environment import environment
from clbench.generators import global_states, set_global_states
from clbench.identity import reasons
from clbench.learner import Diverged
from clbench.parameters import Refused
from clbench.passes import OTHER_NORM, REASON
from clbench.plan import Cell
from clbench.prepare import Given, Run, Skip, prepare_job
from clbench.record import Record, Trace
from clbench.snapshots import Snapshots, Tick

OURS = f"{Path(__file__).parent}{os.sep}"
ONE_ROW = "Expected more than 1 value per channel when training"
"""In torch's message where batch normalisation is given a single row."""
CURE = (
    "choose a training.batch_size that leaves no batch with a single row, set training.drop_last: true or a larger "
    f"memory.size, or {OTHER_NORM}"
)
LIBRARIES = ("<", *(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "purelib", "platlib")))
"""How names of files begin that hold nobody's own code: made by libraries, or theirs."""


def run_cell(
    cell: Cell,
    *,
    data_dir: str | None = None,
    device: str = "cpu",
    given: Given | None = None,
    tick: Tick | None = None,
    save_model: Path | None = None,
    partial: Path | None = None,
) -> Record:
    """Run one cell to its record; whatever happens to it, but an interruption, is told in the record.

    Args:
        cell: What to run.
        data_dir: Where data sets lie.
        device: ``cpu`` or ``cuda``.
        given: Arrays or a module in place of names.
        tick: Called after every step.
        save_model: Where to save the final weights, a ``state_dict`` of the model.
        partial: Where a long run keeps its last snapshot; one found there is gone on from, and removed at the end.
    """
    run = None
    with _process_state(cell.config["training"]["threads"]):
        try:
            peak.restart(device)
            run = prepare_job(cell, data_dir=data_dir, device=device, given=given)
            if partial is not None and isinstance(run, Run):
                Snapshots(run, partial).train(tick)
            else:
                run.train(tick)
            status, reason = "done", ""
        except Skip as error:
            status, reason = "skipped", str(error)
        except Diverged as error:
            status, reason = "diverged", str(error)
        except Exception as error:
            status, reason = "failed", _story(error)
        if run is not None and status == "done" and save_model is not None:
            save_model.parent.mkdir(parents=True, exist_ok=True)
            torch.save(run.weights(), save_model)
        return record(cell, run, status=status, reason=reason, device=device)


def record(cell: Cell, run: Job | None, *, status: str, reason: str, device: str) -> Record:
    """The record of a run that ended in some way."""
    cost: dict[str, float] = {}
    trace: Trace | None = None
    alarms: tuple[str, ...] = ()
    unidentified = tuple(reasons(cell.config))
    if run is not None:
        seen = run.evaluator
        account = run.account()
        account.evaluation_seconds, account.train_seconds = seen.seconds, seen.elapsed - seen.seconds
        account.train_seconds -= account.probe_seconds or 0.0
        account.peak_bytes = peak.peak_bytes(device)
        cost = account.as_dict()
        if status in ("done", "diverged"):
            trace, alarms = run.trace(), run.alarms(done=status == "done")
    made = Record(
        key=cell.key,
        cell=cell.config,
        label=cell.label,
        status=status,
        reason=reason,
        trace=trace,
        fingerprint=run.stream.fingerprint if run is not None else "",
        data=run.data if run is not None else "",
        cost=cost,
        alarms=(*unidentified, *alarms),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return replace(made, environment=environment(device, made.engine))


@contextmanager
def _process_state(threads: int):  # type: ignore[no-untyped-def]
    """Threads of the benchmark, and the global generators as they were for whoever called us."""
    before, generators = torch.get_num_threads(), global_states()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        set_global_states(generators)


def _story(error: Exception) -> str:
    """A user's mistake in its own words; anything else with the place where it happened."""
    if isinstance(error, Refused):
        return str(error)
    if ONE_ROW in str(error):
        return f"{REASON}, and a step had one: {CURE}{place(error)}"
    return f"{type(error).__name__}: {error}{place(error)}"


def place(error: Exception, *, beside: Path | None = None) -> str:
    """`` (FILE, line N)`` of the innermost code of the user's; else of clbench's, the folder ``beside`` left out."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent != beside]
    told = [f for f in frames if f.filename.startswith(OURS) or not f.filename.startswith(LIBRARIES)] or frames
    own = [f for f in told if not f.filename.startswith(OURS)] or told
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
