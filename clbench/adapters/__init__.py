"""Adapters: learners of other libraries with clbench's evaluator, and clbench's streams in other libraries.

A learner that takes one batch after another is a part that owns the step (``OnlineLearner``); clbench's loop runs it. A
library with a loop of its own is an engine: it runs the strategy, and clbench's evaluator observes it.
"""

from __future__ import annotations

from collections.abc import Sequence

from clbench.adapters.run_setup import Job, RunSetup
from clbench.core.registry import load
from clbench.strategies.part import Part

ENGINES = {"avalanche": "clbench.adapters.avalanche.avalanche_run:AvalancheRun"}
"""Name of an engine -> the class whose objects run strategies in its loop, ``(parts, setup) -> Job``."""


def host(engine: str, parts: Sequence[Part], setup: RunSetup) -> Job:
    """Return a run by another library's loop.

    Args:
        engine: The name of the library in :data:`ENGINES`.
        parts: The strategy.
        setup: What every loop is given.

    Raises:
        Refused: The library cannot do what is requested.
    """
    made: Job = load(ENGINES[engine])(parts, setup)
    return made
