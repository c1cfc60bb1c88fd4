"""Whether parts do anything: their hooks, watched at a sample of steps, so that silence can be told from work.

A watched hook is compared before and after at its 1st, 2nd, 4th, 8th, ... call and at every 32nd, the first experience
left out where boundaries are visible. That costs little, draws nothing, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

EVERY = 32


class Effect(Enum):
    """What a hook may change."""

    TERM = "adds a term to the loss"
    GRADIENT = "changes the gradient"
    WEIGHTS = "moves the weights"


TERM, GRADIENT, WEIGHTS = Effect


@dataclass(eq=False)
class Watch:
    """A hook that is watched; called like the hook itself.

    Args:
        hook: A bound method of a part.
        part: Name of the part's class.
        effect: What it may change.
        calls: How often it was called.
        looked: How often it was compared.
        acted: How often it had an effect then.
    """

    hook: Callable[..., Any]
    part: str
    effect: Effect
    calls: int = 0
    looked: int = 0
    acted: int = 0

    def __call__(self, learner: Any, *arguments: Any) -> Any:
        self.calls += 1
        n = self.calls
        if n & (n - 1) and n % EVERY:
            return self.hook(learner, *arguments)
        if learner.experience == 0:  # nothing is kept yet that a method could act on
            return self.hook(learner, *arguments)
        watched = {Effect.GRADIENT: learner.g, Effect.WEIGHTS: learner.w.data}.get(self.effect)
        before = None if watched is None else watched.clone()
        result = self.hook(learner, *arguments)
        self.looked += 1
        self.acted += (
            bool((watched != before).any()) if watched is not None else result is not None and bool(result != 0)
        )
        return result

    @property
    def state(self) -> list[int]:
        """Its counts."""
        return [self.calls, self.looked, self.acted]

    @state.setter
    def state(self, counts: list[int]) -> None:
        self.calls, self.looked, self.acted = counts
