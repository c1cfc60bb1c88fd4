"""Alarms: things that look wrong although nothing failed, told in the record of a run.

Most published baselines that were silently wrong would have raised one: a penalty that is always 0, a memory that is
never drawn from, a projection that never projects.
"""

from __future__ import annotations

import math

import numpy as np

from clbench.learner import Learner
from clbench.strategies.chain import Chain
from clbench.strategies.watch import Effect
from clbench.types import Kind, Stream, Trace

MEANING = {
    Effect.TERM: "added a term to the loss other than 0",
    Effect.GRADIENT: "changed the gradient",
    Effect.WEIGHTS: "moved the weights",
}
DEVIATIONS = 3.0
"""How many standard errors below chance an accuracy has to be."""


def alarms(chain: Chain, learner: Learner, stream: Stream, trace: Trace) -> tuple[str, ...]:
    """What looks wrong about a finished run, a sentence each."""
    found = _idle(chain) if len(stream) > 1 else []
    memory = learner.memory
    if memory.size and memory.draws == 0 and len(stream) > 1 and any("memory" in part.needs for part in chain.parts):
        found.append(f"the memory of {memory.size} rows was never drawn from")
    return (*found, *_below_chance(stream, trace), *_masked_below(trace))


def _idle(chain: Chain) -> list[str]:
    """Parts of whose hooks none had an effect."""
    found = []
    for part in dict.fromkeys(watch.part for watch in chain.watches):
        own = [watch for watch in chain.watches if watch.part == part]
        looked = sum(watch.looked for watch in own)
        if looked and not any(watch.acted for watch in own):
            what = " nor ".join(dict.fromkeys(MEANING[watch.effect] for watch in own))
            found.append(
                f"{part} never {what} at the {looked} calls that were watched after the first experience; "
                "is its strength 0, or does it never get what it needs?"
            )
    return found


def _below_chance(stream: Stream, trace: Trace) -> list[str]:
    """Whether the final accuracy is lower than that of guessing among the classes that compete."""
    ends = np.flatnonzero(trace.kind == Kind.END)
    if not len(ends):
        return []
    score = trace.score[ends[-1]]
    known = np.isfinite(score) & (trace.first_visit <= trace.experience[ends[-1]])
    if not known.any():
        return []
    each = len(set(stream.tasks[0].classes)) if stream.task_labels else stream.n_outputs
    chance, rows = 1 / each, float(trace.rows[known].sum())
    mean = float(np.average(score[known], weights=trace.rows[known]))
    if mean < chance - DEVIATIONS * math.sqrt(chance * (1 - chance) / rows):
        return [f"the final accuracy is {100 * mean:.1f} %, below the {100 * chance:.1f} % of guessing"]
    return []


def _masked_below(trace: Trace) -> list[str]:
    """Whether the read-out that is told the task is anywhere worse than the one that is not: one is wrong then."""
    if not trace.masked.size:
        return []
    with np.errstate(invalid="ignore"):
        lower = trace.masked < trace.score - 1e-9
    if not lower.any():
        return []
    look = int(np.flatnonzero(lower.any(axis=1))[0])
    return [
        f"accuracy among a task's own classes is below accuracy among all classes at {int(lower.sum())} scores, the "
        f"first after step {int(trace.step[look])}: the read-out is not what it should be"
    ]
