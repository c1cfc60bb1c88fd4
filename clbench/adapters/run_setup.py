"""What a run by another library is given, and what it has to give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from clbench.core.cost import Cost
from clbench.core.record import Trace
from clbench.core.types import Stream
from clbench.evaluate import Evaluator
from clbench.training.assemble import TrainerSetup


@dataclass(kw_only=True)
class RunSetup(TrainerSetup):
    """Hold what every strategy of a cell is given alike, whoever's loop runs it.

    Args:
        shown: The stream as the benchmark has it; ``stream`` is the same, or merged or accumulated.
        evaluator: Evaluates the learner during the run.
    """

    shown: Stream
    evaluator: Evaluator

    @property
    def memory_size(self) -> int:
        """Return how many samples the benchmark lets a strategy keep."""
        return self.settings.memory.size


class Skip(Exception):
    """The cell cannot run on this stream; the message says why."""


class Job(Protocol):
    """A run, whoever's loop it is.

    Attributes:
        stream: What is learned.
        share: Experiences of the benchmark in one of this run's.
        resumable: Whether it goes on bit for bit from a snapshot; else it begins anew after an interruption.
        data: Checksum of the data set that the stream was made of.
    """

    data: str
    stream: Stream
    evaluator: Evaluator
    share: int
    resumable: bool

    def train(self, tick: Callable[[int, float], Any] | None = None) -> None:
        """Learn to the end of the stream, calling ``tick`` with steps and fraction done after every step.

        Raises:
            Diverged: Something that has to be finite is not.
        """
        ...

    def account(self) -> Cost:
        """What has been spent."""
        ...

    def trace(self) -> Trace:
        """What has been seen."""
        ...

    def alarms(self, *, done: bool = True) -> tuple[str, ...]:
        """What looks wrong although nothing failed; where it did, nothing is said to have never happened."""
        ...

    def shorten(self, places: list[int], iterations: int, evaluator: Any) -> None:
        """Learn only these experiences, so many iterations each, with something else in the evaluator's place."""
        ...
