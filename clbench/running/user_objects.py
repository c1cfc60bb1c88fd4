"""The objects of a user's program that replace names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from clbench.core.types import Dataset, Stream
from clbench.strategies.part import Part


@dataclass
class UserObjects:
    """Hold the data set, stream, model and parts of a user's program that replace names.

    Args:
        dataset: The data set that replaces the benchmark's.
        stream: The stream that replaces the benchmark's: one for all seeds, or a function from a seed to its stream.
        model: A module, whose weights are every run's initial weights, or a function ``(shape, n_outputs) -> module``.
        alter: A function from the strategy's parts to the parts that run instead.
    """

    dataset: Dataset | None = None
    stream: Stream | Callable[[int], Stream] | None = None
    model: nn.Module | Callable[[tuple[int, ...], int], nn.Module] | None = None
    alter: Callable[[list[Part]], list[Part]] | None = None
