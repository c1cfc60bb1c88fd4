"""Alarms: warnings in the record of a run about results that look wrong although nothing failed.

Most published baselines that were silently wrong would have raised an alarm: a penalty that is always 0, a replay
buffer that is never used, a projection that never projects.
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
"""Number of calls after which a projection without effect raises an alarm; in fewer, all gradients may have agreed."""


def alarms(
    chain: Chain,
    trainer: Trainer,
    stream: Stream,
    trace: Trace,
    *,
    settings: Mapping[str, Any] | None = None,
    done: bool = True,
) -> tuple[str, ...]:
    """Return the alarms of a run, one sentence each.

    Args:
        chain: The strategy.
        trainer: The trainer.
        stream: The stream.
        trace: The trace.
        settings: The cell's settings, to compare with the protocols of the parts' sources.
        done: Whether the run came to its end; otherwise no alarm says that something never happened.
    """
    found = _never(chain, trainer, stream, trace) if done else []
    section = dict(settings or {})
    section["stream"] = {"output": stream.output, **(section.get("stream") or {})}  # own streams define it
    return (*breaches(chain.parts, section if settings is not None else {}), *found, *of_trace(stream, trace))


def _never(chain: Chain, trainer: Trainer, stream: Stream, trace: Trace) -> list[str]:
    found, learner = [], trainer.learner
    memory = learner.memory
    unread = memory.size > 0 and memory.draws == 0 and any("memory" in part.needs for part in chain.parts)
    for part in chain.parts:
        found += [f"{_name(part, chain)} {doubt}" for doubt in part.self_checks(learner)]
        if not (unread and "memory" in part.needs):  # one alarm is enough
            found += _idle(part, chain, single=len(stream) == 1)
    if unread:
        found.append(f"the replay buffer of {memory.size} samples was never drawn from")
    if trainer.probe is not None and not trainer.probe.steps:
        found.append(
            "evaluation.probe found no step to decompose: none was due, or the strategy steps outside the loop, or it "
            "replaces the objective without declaring its plasticity"
        )
    return [*found, *_unseen_end(chain, trace)]


def _name(part: Part, chain: Chain) -> str:
    twins = sum(type(other) is type(part) for other in chain.parts) > 1
    return part.title + (repr(part).removeprefix(type(part).__qualname__) if twins else "")


def _idle(part: Part, chain: Chain, *, single: bool) -> list[str]:
    """Return whether a part had no effect in any observed hook; parts that only measure have none by design."""
    own = [hook for hook in chain.watched if hook.part is part]
    if not own or any(hook.acted for hook in own) or part.identity == {}:
        return []
    when = "" if single else " after the first experience"
    steps = [hook for hook in own if hook.declared.in_step]
    if steps and not any(hook.calls for hook in steps):
        return [
            f"{_name(part, chain)} was never called at a step{when}: another part skips steps or takes them "
            "itself, so that this one has no effect"
        ]
    accused = [hook for hook in own if hook.effect not in (ROWS, ANY)]
    if not accused and _watched_through(part):
        accused = own
    if steps and not any(hook.declared.in_step for hook in accused):
        return []  # its effect at steps is not observed, and it may have nothing left to do at the end
    compared = sum(hook.compared for hook in accused)
    least = FEWEST if part.gradient_order == BENDS else 1
    if compared < least:
        return []
    what = " nor ".join(dict.fromkeys(hook.effect.value for hook in accused))
    calls = f"the {compared} calls that were" if compared > 1 else "the one call that was"
    return [
        f"{_name(part, chain)} never {what} at {calls} observed{when}; is its strength 0, or does it never get what it "
        "needs?"
    ]


def _watched_through(part: Part) -> bool:
    """Return whether the effect of all hooks of a part is observed, apart from those in which it stores something."""
    return all(hook.effect not in (None, ANY) for hook in _hooks(part) if not hook.prepares)


def _unseen_end(chain: Chain, trace: Trace) -> list[str]:
    """Return an alarm if changes of the model at the end of the stream had no effect on scores, which another part
    computes."""
    moved = [hook.part for hook in chain.watched if hook.name == "end_stream" and hook.acted]
    readers = [part for part in chain.parts if part not in moved and any(hook.reads_out for hook in _hooks(part))]
    ends = np.flatnonzero(trace.kind == Kind.END)
    if len(moved) != 1 or not readers or len(ends) < 2:
        return []
    before, after = trace.score[ends[-2:]]
    if not np.array_equal(before, after, equal_nan=True):
        return []
    return [
        f"what {_name(moved[0], chain)} did at the end of the stream changed no score: {_name(readers[0], chain)} "
        "does not use the weights that were trained there"
    ]


def _hooks(part: Part) -> list[Hook]:
    return [hook for name, hook in HOOKS.items() if defines(part, name)]
