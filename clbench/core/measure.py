"""What a score means: its name, unit, bounds, chance level, and how people read it. No torch is imported here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """Say what the scores of a trace are. A higher score is better, whatever the measure.

    Args:
        name: Name for people, as on an axis: ``"accuracy"``.
        short: Name in titles of columns: ``"ACC"``.
        unit: Unit after a printed value: ``"%"``; empty for none.
        low: Smallest score, ``-math.inf`` for none.
        high: Largest score, ``math.inf`` for none.
        chance: Score of a guess; ``"classes"`` is 1 / the number of classes that compete; ``None`` where there is no
            such level.
        factor: Printed values are the score times this.
        decimals: Decimals of a printed value.
        lower_is_better: Whether people read the negative of the score, of which lower is better (a loss).
        legend: What a reader has to know of the values, for the line below a board.
        columns: Names of further metrics that boards of this measure show.
    """

    name: str
    short: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    chance: float | Literal["classes"] | None = None
    factor: float = 1.0
    decimals: int = 3
    lower_is_better: bool = False
    legend: str = ""
    columns: tuple[str, ...] = ()

    @property
    def bounded(self) -> bool:
        """Return whether scores are in [0, 1]."""
        return (self.low, self.high) == (0.0, 1.0)

    def shown(self, score: float) -> float:
        """Return the number that people read for a score, without its unit."""
        return -self.factor * score if self.lower_is_better else self.factor * score

    def number(self, score: float, *, fewer: int = 0) -> str:
        """Print a score without its unit: ``83.17``.

        Args:
            score: The score.
            fewer: Decimals that are left out, where room is short.
        """
        return f"{self.shown(score):.{max(0, self.decimals - fewer)}f}"

    def text(self, score: float, *, fewer: int = 0) -> str:
        """Print a score with its unit: ``83.17 %``; arguments as in :meth:`number`."""
        return f"{self.number(score, fewer=fewer)} {self.unit}".rstrip()

    def change(self, change: float, *, fewer: int = 0) -> str:
        """Print a change of scores, or its half-width, without unit; arguments as in :meth:`number`."""
        return f"{self.factor * change:.{max(0, self.decimals - fewer)}f}"


ACCURACY = Measure(
    name="accuracy",
    short="ACC",
    unit="%",
    low=0.0,
    high=1.0,
    chance="classes",
    factor=100.0,
    decimals=2,
    legend="accuracies in percent",
)
"""The measure of classification, and of every trace that names no other."""
