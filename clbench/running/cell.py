"""One cell, from its configuration to its record."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clbench.adapters.run_setup import Job, Skip
from clbench.core import peak_memory
from clbench.core.environment import environment
from clbench.core.errors import Refused
from clbench.core.global_rng import preserved
from clbench.core.identity import reasons
from clbench.core.notices import notice
from clbench.core.record import Record, Trace
from clbench.core.store import Keep
from clbench.core.torch_threads import torch_threads
from clbench.running.plan import Cell
from clbench.running.prepare import prepare_job
from clbench.running.prepared_run import Run
from clbench.running.saved_models import Keeper
from clbench.running.snapshots import Snapshots, Tick, Unfit, set_aside
from clbench.running.user_objects import UserObjects
from clbench.training.loss_check import Diverged
from clbench.training.passes import OTHER_NORM, REASON

OURS = f"{Path(__file__).parents[1]}{os.sep}"
ONE_ROW = "Expected more than 1 value per channel when training"
"""In torch's message where batch normalisation is given a single row."""
CURE = (
    "choose a training.batch_size that leaves no batch with a single row, set training.drop_last: true or a larger "
    f"memory.size, or {OTHER_NORM}"
)
LIBRARIES = ("<", *(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "purelib", "platlib")))
"""How names of files begin that hold nobody's own code: made by libraries, or theirs."""

LONGEST = 2000
"""Letters of an error's message that a record keeps."""


def run_cell(
    cell: Cell,
    *,
    data_dir: str | None = None,
    device: str = "cpu",
    given: UserObjects | None = None,
    tick: Tick | None = None,
    keep: Keep | None = None,
    partial: Path | None = None,
    trained: Callable[[Record], Any] | None = None,
) -> Record:
    """Run one cell to its record; whatever happens to it, but an interruption, is told in the record.

    Args:
        cell: What to run.
        data_dir: Where data sets lie.
        device: ``cpu`` or ``cuda``.
        given: Arrays or a module in place of names.
        tick: Called after every step.
        keep: What to keep beside the record; what cannot be written is told in an alarm.
        partial: Where a long run keeps its last snapshot; one found there is gone on from, and removed at the end.
        trained: Given the record before more than the record is saved, so that nothing later can lose it.
    """
    with preserved(), torch_threads(cell.config["training"]["threads"]):
        keeper = None if keep is None else Keeper(cell, keep)
        run, status, reason = _trained(cell, data_dir, device, given, tick, partial, keeper)
        made = record(cell, run, status=status, reason=reason, device=device)
        if keeper is not None and status == "done":
            if trained is not None:
                trained(made)
            keeper.finish()
        return made


def _trained(
    cell: Cell,
    data_dir: str | None,
    device: str,
    given: UserObjects | None,
    tick: Tick | None,
    partial: Path | None,
    keeper: Keeper | None,
) -> tuple[Job | None, str, str]:
    """The run of a cell as far as it came, with its status and the reason."""
    run: Job | None = None

    def ready() -> Job:
        made = prepare_job(cell, data_dir=data_dir, device=device, given=given)
        if keeper is not None:
            keeper.watch(made)
        return made

    try:
        peak_memory.reset(device)
        run = ready()
        if partial is not None and isinstance(run, Run):
            try:
                Snapshots(run, partial).train(tick)
            except Unfit as error:
                told = set_aside(partial, error)
                notice(f"{cell.label}, seed {cell.seed}: {told}; the cell begins anew")
                run = ready()
                assert isinstance(run, Run)
                Snapshots(run, partial).train(tick)
        else:
            run.train(tick)
    except Skip as error:
        return run, "skipped", str(error)
    except Diverged as error:
        return run, "diverged", str(error)
    except SystemExit as error:
        return run, "failed", f"it called sys.exit({'' if error.code is None else repr(error.code)}){place(error)}"
    except Exception as error:
        return run, "failed", _story(error)
    return run, "done", ""


def record(cell: Cell, run: Job | None, *, status: str, reason: str, device: str) -> Record:
    """The record of a run that ended in some way; what cannot be accounted for of one that failed is left out."""
    cost: dict[str, float] = {}
    trace: Trace | None = None
    alarms: tuple[str, ...] = ()
    unidentified = tuple(reasons(cell.config))
    if run is not None:
        try:
            trace = run.trace() if status in ("done", "diverged") else None
        except Exception as error:
            status, reason = "failed", reason or _story(error)
        try:
            alarms = run.alarms(done=status == "done") if trace is not None else ()
            cost = _cost(run, device)
        except Exception as error:  # a part's own; what was seen is kept
            alarms = (*alarms, f"what it spent and what looks wrong could not be told: {_story(error)}")
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


def _cost(run: Job, device: str) -> dict[str, float]:
    seen, account = run.evaluator, run.account()
    account.evaluation_seconds, account.train_seconds = seen.seconds, seen.elapsed - seen.seconds
    account.train_seconds -= account.probe_seconds or 0.0
    account.peak_bytes = peak_memory.peak_bytes(device)
    return account.as_dict()


def _story(error: Exception) -> str:
    """A user's mistake in its own words; anything else with the place where it happened."""
    if isinstance(error, Refused):
        return str(error)
    words = _words(error)
    if ONE_ROW in words:
        return f"{REASON}, and a step had one: {CURE}{place(error)}"
    return f"{words}{place(error)}"


def _words(error: Exception) -> str:
    """Kind and message of an error, cut to what can be read; some cannot say what they are."""
    try:
        said = str(error)
    except Exception:
        said = "(its message raised an error)"
    return f"{type(error).__name__}: {said if len(said) <= LONGEST else said[:LONGEST] + ' ...'}"


def place(error: BaseException, *, beside: Path | None = None) -> str:
    """`` (FILE, line N)`` of the innermost code of the user's; else of clbench's, the folder ``beside`` left out."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent != beside]
    told = [f for f in frames if f.filename.startswith(OURS) or not f.filename.startswith(LIBRARIES)] or frames
    own = [f for f in told if not f.filename.startswith(OURS)] or told
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
