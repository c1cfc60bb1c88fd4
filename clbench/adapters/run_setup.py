"""The interface between a cell and a run: the setup that a run gets, and the job that it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from clbench.core.cost import Cost
from clbench.core.record import Trace
from clbench.core.types import Stream
from clbench.evaluate import Evaluator
from clbench.evaluate.early_stopping import EarlyStopping
from clbench.scenarios.held_out_rows import HeldOutRows
from clbench.training.assemble import TrainerSetup


@dataclass(kw_only=True)
class RunSetup(TrainerSetup):
    """Hold everything of a cell that is equal for all strategies, in any loop.

    Args:
        shown: The benchmark's stream; ``stream`` is the same, or merged or accumulated.
        evaluator: Evaluates the learner during the run.
        stopping: Ends experiences early, if the settings ask for it.
        held_out: The samples of each experience that measure what was learned in it, if the run chooses settings
            itself; ``stream`` is without them.
    """

    shown: Stream
    evaluator: Evaluator
    stopping: EarlyStopping | None = None
    held_out: HeldOutRows | None = None

    @property
    def memory_size(self) -> int:
        """Return the size of the replay buffer."""
        return self.settings.memory.size


class Skip(Exception):
    """Report that the cell cannot run on this stream; the message gives the reason."""


class Job(Protocol):
    """Describe a run in any loop.

    Attributes:
        stream: The stream to learn.
        share: Experiences of the benchmark in one of this run's.
        resumable: Whether it resumes bit for bit from a snapshot; otherwise it starts again after an interruption.
        data: Checksum of the data set of the stream.
    """

    data: str
    stream: Stream
    evaluator: Evaluator
    share: int
    resumable: bool

    def train(self, tick: Callable[[int, float], Any] | None = None) -> None:
        """Learn to the end of the stream, and call ``tick`` with steps and fraction after every step.

        Raises:
            Diverged: A value that must be finite is not.
        """
        ...

    def account(self) -> Cost:
        """Return the cost."""
        ...

    def trace(self) -> Trace:
        """Return the trace."""
        ...

    def alarms(self, *, done: bool = True) -> tuple[str, ...]:
        """Return the alarms; if the run did not finish (``done``), none says that something never happened."""
        ...

    def shorten(self, places: list[int], iterations: int, evaluator: Any) -> None:
        """Learn only these experiences, for a given number of iterations each, with another object as evaluator."""
        ...
