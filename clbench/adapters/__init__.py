"""Other people's learners behind our evaluator, and our streams in their libraries.

A learner that takes one batch after another is a part that owns the step (``guest``): our loop runs it. A library with
a loop of its own is an engine: it runs what it is given, and our evaluator looks on.
"""

from __future__ import annotations

from collections.abc import Sequence

from clbench.adapters.run_setup import Job, RunSetup
from clbench.core.registry import load
from clbench.strategies.part import Part

ENGINES = {"avalanche": "clbench.adapters.avalanche.avalanche_run:AvalancheRun"}
"""Name of an engine -> the class whose objects run what it is given, ``(parts, setup) -> Job``."""


def host(engine: str, parts: Sequence[Part], setup: RunSetup) -> Job:
    """Return a run by another library's loop.

    Args:
        engine: The name of the library in :data:`ENGINES`.
        parts: The strategy.
        setup: What every loop is given.

    Raises:
        Refused: The library cannot do what is asked.
    """
    made: Job = load(ENGINES[engine])(parts, setup)
    return made
