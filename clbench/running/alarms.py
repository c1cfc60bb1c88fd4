"""Alarms: things that look wrong although nothing failed, told in the record of a run.

Most published baselines that were silently wrong would have raised one: a penalty that is always 0, a memory that is
never drawn from, a projection that never projects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from clbench.core.record import Kind, Trace
from clbench.core.types import Stream
from clbench.evaluate.trace_alarms import of_trace
from clbench.strategies.chain import Chain
from clbench.strategies.effects import ANY, ROWS
from clbench.strategies.hooks import Hook
from clbench.strategies.part import BENDS, HOOKS, Part, defines
from clbench.strategies.protocol import breaches
from clbench.training.trainer import Trainer

FEWEST = 30
"""Calls after which a projection that never bent is worth a word; in fewer, memory may well have agreed each time."""


def alarms(
    chain: Chain,
    trainer: Trainer,
    stream: Stream,
    trace: Trace,
    *,
    settings: Mapping[str, Any] | None = None,
    done: bool = True,
) -> tuple[str, ...]:
    """What looks wrong about a finished run, a sentence each.

    Args:
        chain: The strategy.
        trainer: What trained.
        stream: What was learned.
        trace: What was seen of it.
        settings: The cell's, to be compared with what the sources of the parts have set.
        done: Whether the run came to its end; of one that did not it cannot be said that something never happened.
    """
    found = _never(chain, trainer, stream, trace) if done else []
    section = dict(settings or {})
    section["stream"] = {"output": stream.output, **(section.get("stream") or {})}  # a program's own says it itself
    return (*breaches(chain.parts, section if settings is not None else {}), *found, *of_trace(stream, trace))


def _never(chain: Chain, trainer: Trainer, stream: Stream, trace: Trace) -> list[str]:
    found, learner = [], trainer.learner
    memory = learner.memory
    unread = memory.size > 0 and memory.draws == 0 and any("memory" in part.needs for part in chain.parts)
    for part in chain.parts:
        found += [f"{_name(part, chain)} {doubt}" for doubt in part.self_checks(learner)]
        if not (unread and "memory" in part.needs):  # that says it all
            found += _idle(part, chain, single=len(stream) == 1)
    if unread:
        found.append(f"the memory of {memory.size} rows was never drawn from")
    if trainer.probe is not None and not trainer.probe.steps:
        found.append(
            "evaluation.probe found no step to take apart: none was due, or the strategy steps outside the loop, or it "
            "replaces the objective and does not say which of it is plasticity"
        )
    return [*found, *_unseen_end(chain, trace)]


def _name(part: Part, chain: Chain) -> str:
    twins = sum(type(other) is type(part) for other in chain.parts) > 1
    return part.title + (repr(part).removeprefix(type(part).__qualname__) if twins else "")


def _idle(part: Part, chain: Chain, *, single: bool) -> list[str]:
    """Whether a part had no effect in any hook, as far as hooks are watched; one that only measures is to have none."""
    own = [watch for watch in chain.watches if watch.part is part]
    if not own or any(watch.acted for watch in own) or part.identity == {}:
        return []
    when = "" if single else " after the first experience"
    steps = [watch for watch in own if watch.declared.in_step]
    if steps and not any(watch.calls for watch in steps):
        return [
            f"{_name(part, chain)} was never asked to act at a step{when}: another part leaves steps out or takes them "
            "itself, so that this one does nothing beside it"
        ]
    accused = [watch for watch in own if watch.effect not in (ROWS, ANY)]
    if not accused and _watched_through(part):
        accused = own
    looked = sum(watch.looked for watch in accused)
    least = FEWEST if part.gradient_order == BENDS else 1
    if looked < least:
        return []
    what = " nor ".join(dict.fromkeys(watch.effect.value for watch in accused))
    calls = f"the {looked} calls that were" if looked > 1 else "the one call that was"
    return [
        f"{_name(part, chain)} never {what} at {calls} watched{when}; is its strength 0, or does it never get what it "
        "needs?"
    ]


def _watched_through(part: Part) -> bool:
    """Whether all hooks of a part are watched by their effect, but for those in which it keeps something."""
    return all(hook.effect not in (None, ANY) for hook in _hooks(part) if not hook.prepares)


def _unseen_end(chain: Chain, trace: Trace) -> list[str]:
    """Whether what moved the model at the end of the stream changed none of the scores, which another part makes."""
    moved = [watch.part for watch in chain.watches if watch.name == "end_stream" and watch.acted]
    readers = [part for part in chain.parts if part not in moved and any(hook.reads_out for hook in _hooks(part))]
    ends = np.flatnonzero(trace.kind == Kind.END)
    if len(moved) != 1 or not readers or len(ends) < 2:
        return []
    before, after = trace.score[ends[-2:]]
    if not np.array_equal(before, after, equal_nan=True):
        return []
    return [
        f"what {_name(moved[0], chain)} did at the end of the stream changed no score: {_name(readers[0], chain)} "
        "reads out past the weights that were trained there"
    ]


def _hooks(part: Part) -> list[Hook]:
    return [hook for name, hook in HOOKS.items() if defines(part, name)]
