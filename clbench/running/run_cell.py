"""The run of one cell, from its configuration to its record."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clbench.adapters.run_setup import Job, Skip
from clbench.core import peak_memory
from clbench.core.environment import environment
from clbench.core.global_rng import preserved
from clbench.core.identity import reasons
from clbench.core.notices import notice
from clbench.core.record import Record, Trace
from clbench.core.stop_request import Interrupted
from clbench.core.torch_threads import torch_threads
from clbench.core.trace_equality import trace_digest
from clbench.data.roots import searching
from clbench.running.attempts import START, Attempt, Place
from clbench.running.cell_key import Cell
from clbench.running.code_digest import code_of
from clbench.running.divergence import remedy
from clbench.running.error_text import place, story, traceback_text
from clbench.running.options import Options
from clbench.running.prepare import prepare_job
from clbench.running.prepared_run import Run
from clbench.running.saved_models import Keeper
from clbench.running.snapshot_file import Unfit, set_aside, snapshot_path
from clbench.running.snapshots import Snapshots, Tick, attempt_of
from clbench.training.loss_check import Diverged

DEFAULTS = Options()
"""The options of a run that a program makes itself: on CPUs, with no further files."""


def run_cell(
    cell: Cell,
    options: Options = DEFAULTS,
    *,
    tick: Tick | None = None,
    trained: Callable[[Record], Any] | None = None,
    ready: Callable[[Job], Any] | None = None,
) -> Record:
    """Run one cell to its record. The record reports every failure except an interruption.

    Args:
        cell: The cell.
        options: What the cells of a matrix share: data, device, given objects, files to keep (an alarm reports a file
            that cannot be written), and the folder of snapshots. An existing snapshot is resumed, and removed at the
            end.
        tick: A function that is called after every step.
        trained: A function that gets the record before further files are saved, so that it cannot be lost.
        ready: A function that gets the job when it is ready to train.
    """
    code_of(cell.config)  # read now: an edit during the run is not of the code that runs
    attempt = attempt_of(
        options.attempts / f"{cell.key}.jsonl" if options.attempts else None, snapshot_path(cell.key, options)
    )
    with preserved(), torch_threads(cell.config["training"]["threads"]), searching(options.data_dir):
        keeper = None if options.keep is None else Keeper(cell, options.keep)
        run, status, reason, told = _trained(_Training(cell, options, tick, keeper, attempt, ready))
        made = record(cell, run, status=status, reason=reason, device=options.device, traceback=told)
        made = replace(made, attempts=attempt.told)
        if keeper is not None and status == "done":
            if trained is not None:
                trained(made)
            keeper.finish()
        return made


def _trained(training: _Training) -> tuple[Job | None, str, str, str]:
    """Run a cell as far as possible, and return the run with its status, the reason, and the traceback of a failure."""
    status, reason, traceback = "done", "", ""
    try:
        peak_memory.reset(training.options.device)
        training.run()
    except Skip as error:
        status, reason = "skipped", str(error)
    except Diverged as error:
        status, reason = "diverged", f"{error}{'' if training.job is None else remedy(training.job.stream.dataset)}"
    except SystemExit as error:
        called = f"it called sys.exit({'' if error.code is None else repr(error.code)}){place(error)}"
        status, reason, traceback = "failed", called, traceback_text(error)
    except Exception as error:
        status, reason, traceback = "failed", story(error), traceback_text(error)
    except (Interrupted, KeyboardInterrupt):
        training.attempt.end("stopped", training.place)
        raise
    training.attempt.end(status, training.place)
    return training.job, status, reason, traceback


@dataclass
class _Training:
    """Train one cell, from its snapshot if it has one."""

    cell: Cell
    options: Options
    tick: Tick | None
    keeper: Keeper | None
    attempt: Attempt
    ready: Callable[[Job], Any] | None
    job: Job | None = None
    snapshots: Snapshots | None = None

    def run(self) -> None:
        """Train, and begin anew if the snapshot cannot be resumed."""
        path = snapshot_path(self.cell.key, self.options)
        job = self._ready()
        if path is None or not isinstance(job, Run):
            job.train(self.tick)
            return
        try:
            self._train(job, path)
        except Unfit as error:
            notice(f"{self.cell.label}, seed {self.cell.seed}: {set_aside(path, error)}; the cell starts again")
            self.attempt.begin_anew()
            job = self._ready()
            assert isinstance(job, Run)
            self._train(job, path)

    @property
    def place(self) -> Place:
        """Return where the run stands."""
        if self.snapshots is not None:
            return self.snapshots.place
        return START if self.job is None else Place(seconds=self.job.evaluator.elapsed)

    def _ready(self) -> Job:
        options, self.snapshots = self.options, None
        self.job = prepare_job(self.cell, data_dir=options.data_dir, device=options.device, given=options.given)
        if self.keeper is not None:
            self.keeper.watch(self.job)
        if self.ready is not None:
            self.ready(self.job)
        return self.job

    def _train(self, job: Run, path: Path) -> None:
        seconds = self.options.snapshot_every or math.inf
        code = code_of(self.cell.config)
        self.snapshots = Snapshots(job, path, seconds=seconds, code=code, attempt=self.attempt)
        self.snapshots.train(self.tick)


def record(cell: Cell, run: Job | None, *, status: str, reason: str, device: str, traceback: str = "") -> Record:
    """Return the record of an ended run; for a failed run, with its traceback and without costs that cannot be
    computed."""
    cost: dict[str, float] = {}
    trace: Trace | None = None
    alarms: tuple[str, ...] = ()
    unidentified = tuple(reasons(cell.config))
    if run is not None:
        try:
            trace = run.trace() if status in ("done", "diverged") else None
        except Exception as error:
            status, reason, traceback = "failed", reason or story(error), traceback or traceback_text(error)
        try:
            alarms = run.alarms(done=status == "done") if trace is not None else ()
            cost = _cost(run, device)
        except Exception as error:  # a part's own error; the trace is kept
            alarms = (*alarms, f"its cost and its alarms could not be computed: {story(error)}")
    made = Record(
        key=cell.key,
        cell=json.loads(json.dumps(cell.config)),  # as it is read from disk: tuples are lists
        label=cell.label,
        status=status,
        reason=reason,
        trace=trace,
        trace_digest="" if trace is None else trace_digest(trace),
        fingerprint=run.stream.fingerprint if run is not None else "",
        data=run.data if run is not None else "",
        code=code_of(cell.config),
        cost=cost,
        alarms=(*unidentified, *alarms),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        traceback=traceback if status == "failed" else "",
        tuning={**cell.tuning, **(run.tuning if isinstance(run, Run) else {})},
    )
    return replace(made, environment=environment(device, made.engine))


def _cost(run: Job, device: str) -> dict[str, float]:
    seen, account = run.evaluator, run.account()
    account.evaluation_seconds, account.train_seconds = seen.seconds, seen.elapsed - seen.seconds
    account.train_seconds -= account.probe_seconds or 0.0
    account.peak_bytes = peak_memory.peak_bytes(device)
    return account.as_dict()
