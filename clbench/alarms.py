"""Alarms: things that look wrong although nothing failed, told in the record of a run.

Most published baselines that were silently wrong would have raised one: a penalty that is always 0, a memory that is
never drawn from, a projection that never projects.
"""

from __future__ import annotations

from clbench.evaluate.alarms import of_trace
from clbench.learner import Learner
from clbench.strategies.chain import Chain
from clbench.strategies.watch import Effect
from clbench.types import Stream, Trace

MEANING = {
    Effect.TERM: "added a term to the loss other than 0",
    Effect.GRADIENT: "changed the gradient",
    Effect.WEIGHTS: "moved the weights",
}


def alarms(chain: Chain, learner: Learner, stream: Stream, trace: Trace) -> tuple[str, ...]:
    """What looks wrong about a finished run, a sentence each."""
    found = _idle(chain) if len(stream) > 1 else []
    memory = learner.memory
    if memory.size and memory.draws == 0 and len(stream) > 1 and any("memory" in part.needs for part in chain.parts):
        found.append(f"the memory of {memory.size} rows was never drawn from")
    if learner.probe is not None and not learner.probe.steps:
        found.append(
            "evaluation.probe found no step to take apart: none was due, or the strategy steps outside the loop, or it "
            "replaces the objective and does not say which of it is plasticity"
        )
    return (*found, *of_trace(stream, trace))


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
