"""Whether parts do anything: their hooks, watched as they are called, so that silence can be told from work.

A watched hook is compared before and after until it has had an effect, the first experience left out where boundaries
are visible: at each of its first calls, then at every 32nd. That costs little, draws nothing, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clbench.strategies.part import Part

EACH, EVERY = 64, 32
"""How many calls are all compared, and which of the further ones: to compare makes the host wait for a GPU."""


class Effect(Enum):
    """What a hook may change."""

    TERM = "adds a term to the loss"
    GRADIENT = "changes the gradient"
    WEIGHTS = "moves the weights"
    ROWS = "arranges rows, or the classes that compete on them"


TERM, GRADIENT, WEIGHTS, ROWS = Effect
WATCHED = {
    "loss": TERM,
    "gradient": GRADIENT,
    "before_step": WEIGHTS,
    "order": ROWS,
    "merge": ROWS,
    "batch": ROWS,
}
"""The hooks that are watched, and what each may change."""


@dataclass(eq=False)
class Watch:
    """A hook that is watched; called like the hook itself.

    Args:
        hook: A bound method of a part.
        part: Whose it is.
        effect: What it may change.
        calls: How often it was called behind the first experience, before it had an effect.
        looked: How often it was compared.
        acted: Whether it had an effect then.
    """

    hook: Callable[..., Any]
    part: Part
    effect: Effect
    calls: int = 0
    looked: int = 0
    acted: bool = False

    def __call__(self, learner: Any, *arguments: Any) -> Any:
        if self.acted or learner.experience == 0:  # in the first nothing is kept yet that a method could act on
            return self.hook(learner, *arguments)
        self.calls += 1
        if self.calls > EACH and self.calls % EVERY:
            return self.hook(learner, *arguments)
        watched = {GRADIENT: learner.g, WEIGHTS: learner.w.data}.get(self.effect)
        if watched is not None:
            before: Any = watched.clone()
        elif self.effect is ROWS:
            before = getattr(arguments[-1], "outline", arguments[-1])  # of a batch, or an order
        result = self.hook(learner, *arguments)
        self.looked += 1
        if watched is not None:
            self.acted = bool((watched != before).any())
        elif self.effect is TERM:
            self.acted = result is not None and bool(result != 0)
        elif result is None:
            self.acted = getattr(arguments[-1], "outline", before) != before
        else:
            self.acted = getattr(before, "shape", None) != result.shape or bool((result != before).any())
        return result

    @property
    def state(self) -> list[int]:
        """Its counts."""
        return [self.calls, self.looked, int(self.acted)]

    @state.setter
    def state(self, counts: list[int]) -> None:
        self.calls, self.looked, self.acted = counts[0], counts[1], bool(counts[2])
