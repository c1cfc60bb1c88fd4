"""Bounds: naive fine-tuning below, and two that break the rules of the stream above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clbench.strategies.part import Part


@dataclass(kw_only=True)
class Merged(Part):
    """Sees the whole stream as one experience: the same rows and epochs, hence the same number of updates."""

    sees: ClassVar[str] = "merged"


@dataclass(kw_only=True)
class Accumulated(Part):
    """Sees in each experience all rows of the experiences so far, each once."""

    sees: ClassVar[str] = "accumulated"


def naive() -> list[Part]:
    """Plain training on the stream as it comes; the lower bound."""
    return []


def joint() -> list[Part]:
    """Training on all rows of the stream at once, shuffled; the usual upper bound."""
    return [Merged()]


def cumulative() -> list[Part]:
    """Going on from the last weights on all rows so far; shows the gap that joint training has too."""
    return [Accumulated()]
