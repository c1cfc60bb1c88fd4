"""Alarms: things that look wrong although nothing failed, told in the record of a run.

Most published baselines that were silently wrong would have raised one: a penalty that is always 0, a memory that is
never drawn from, a projection that never projects.
"""

from __future__ import annotations

from clbench.evaluate.alarms import of_trace
from clbench.learner import Learner
from clbench.strategies.chain import Chain
from clbench.strategies.part import BENDS
from clbench.strategies.watch import GRADIENT, ROWS, TERM, WEIGHTS
from clbench.types import Stream, Trace

MEANING = {
    TERM: "added a term to the loss other than 0",
    GRADIENT: "changed the gradient",
    WEIGHTS: "moved the weights",
}
FEWEST = 30
"""Calls after which a projection that never bent is worth a word; in fewer, memory may well have agreed each time."""


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
    """Parts of whose hooks none had an effect; one that only arranges rows is not expected to at every step."""
    found = []
    for part in chain.parts:
        own = [watch for watch in chain.watches if watch.part is part]
        accused = [watch for watch in own if watch.effect is not ROWS]
        looked = sum(watch.looked for watch in accused)
        least = FEWEST if part.gradient_order == BENDS else 1
        if looked >= least and not any(watch.acted for watch in own):
            what = " nor ".join(dict.fromkeys(MEANING[watch.effect] for watch in accused))
            twins = sum(type(other) is type(part) for other in chain.parts) > 1
            found.append(
                f"{part if twins else part.title} never {what} at the {looked} calls that were watched after the first "
                "experience; is its strength 0, or does it never get what it needs?"
            )
    return found
