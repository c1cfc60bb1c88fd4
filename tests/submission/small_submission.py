"""Honest records of a small benchmark, made once in each process, and the edits of an attacker."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from clbench import api
from clbench.core.record import Kind, Record, Trace
from clbench.core.trace_equality import trace_digest
from clbench.submission.cell_runs import RunSettings

SMALL = {
    "name": "two-halves",
    "stream": {"scenario": "split", "dataset": {"name": "digits", "train_rows": 300}, "experiences": 2},
    "model": {"name": "mlp", "hidden": [16]},
    "training": {"optimizer": "adam", "lr": 0.01, "batch_size": 25, "iterations": 12},
    "memory": {"size": 40},
    "evaluation": {"every": 1, "rows_per_task": 50},
}
"""Digits in two experiences of 12 steps each, with an evaluation after each step."""
SEEDS = 5
DIGEST = "5" * 64
HERE = RunSettings()


@cache
def honest() -> tuple[Record, ...]:
    """Return the records of er and naive over the seeds 0 to 4."""
    return tuple(api.run(SMALL, strategies=["er", "naive"], seeds=SEEDS))


def one(label: str, seed: int) -> Record:
    """Return the honest record of a strategy and a seed."""
    return next(record for record in honest() if record.label == label and record.seed == seed)


def edited(record: Record, **columns: object) -> Record:
    """Return a record with another trace, whose digest is right: the attacker has hashed everything again."""
    return with_trace(record, replace(record.trace, **columns))


def with_trace(record: Record, trace: Trace) -> Record:
    """Return a record with a trace and its digest."""
    return replace(record, trace=trace, trace_digest=trace_digest(trace))


def among_honest(*attacked: Record) -> list[Record]:
    """Return the honest submission with some records exchanged."""
    keys = {record.key: record for record in attacked}
    return [keys.get(record.key, record) for record in honest()]


def after_switch(trace: Trace) -> int:
    """Return the position of the first evaluation after a step of the second experience."""
    return int(np.flatnonzero((trace.experience == 1) & (trace.kind == Kind.STEP))[0])
