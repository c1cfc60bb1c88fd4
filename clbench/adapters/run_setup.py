"""What a run by another library is given, and what it has to give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from clbench.benchmark.schema import Training
from clbench.core.cost import Cost
from clbench.core.record import Trace
from clbench.core.types import Stream
from clbench.evaluate import Evaluator
from clbench.training.device_rows import Resident


@dataclass
class RunSetup:
    """What every strategy of a cell meets alike, whoever's loop runs it.

    Args:
        settings: The cell's, in canonical form.
        seed: The cell's.
        shown: The stream as the benchmark has it.
        stream: The stream as the strategy sees it: the same, or merged or accumulated.
        rows: The training rows, resident.
        model: With the run's initial weights, on its device; returns :class:`clbench.models.output.Output`.
        training: How every strategy steps.
        evaluator: Looks on.
        device: ``cpu`` or ``cuda``.
    """

    settings: Mapping[str, Any]
    seed: int
    shown: Stream
    stream: Stream
    rows: Resident
    model: nn.Module
    training: Training
    evaluator: Evaluator
    device: str

    @property
    def share(self) -> int:
        """Experiences of the benchmark in one that the strategy sees: all of them where they are merged."""
        return len(self.shown) // len(self.stream)

    @property
    def memory_size(self) -> int:
        """The benchmark's budget of rows to keep."""
        return int(self.settings["memory"]["size"])


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
