"""Whether parts do anything: their hooks, watched as they are called, so that silence can be told from work.

A watched hook is compared before and after until it has had an effect, at each of its first calls, then at every 32nd;
the first experience is left out where it is not the only one and boundaries are visible, but for hooks whose comparison
costs nothing. That costs little, draws nothing, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clbench.strategies.hooks import Effect, Hook

if TYPE_CHECKING:
    from clbench.strategies.part import Part

EACH, EVERY = 64, 32
"""How many calls are all compared, and which of the further ones: to compare makes the host wait for a GPU."""


TERM, GRADIENT, WEIGHTS, MODEL, ROWS, ANY = Effect


@dataclass(eq=False)
class Watch:
    """A hook that is watched; called like the hook itself.

    Args:
        hook: A bound method of a part.
        part: Whose it is.
        declared: What the table says of the hook.
        single: Whether the stream has one experience only, which then counts.
        calls: How often it was called behind the first experience, before it had an effect.
        looked: How often it was compared.
        acted: Whether it had an effect then.
    """

    hook: Callable[..., Any]
    part: Part
    declared: Hook
    single: bool = False
    calls: int = 0
    looked: int = 0
    acted: bool = False

    def __post_init__(self) -> None:
        assert self.declared.effect is not None
        self.name, self.effect = self.declared.name, self.declared.effect

    def __call__(self, learner: Any, *arguments: Any) -> Any:
        first = learner.experience == 0 and not self.single  # nothing is kept yet that a method could act on
        if self.acted or (first and self.effect is not ROWS):
            return self.hook(learner, *arguments)
        self.calls += not first
        if self.effect is ANY or (self.calls > EACH and self.calls % EVERY):
            return self.hook(learner, *arguments)
        before = self._seen(learner, arguments)
        result = self.hook(learner, *arguments)
        self.looked += not first
        if self.effect is TERM:
            self.acted = result is not None and bool(result != 0)
        else:
            self.acted = _differ(before, self._seen(learner, arguments))
        if self.effect is ROWS and result is not None and not self.acted:  # an order, or rows of memory to be merged
            given = arguments[-1]
            same = getattr(given, "shape", None) == result.shape and not bool((result != given).any())
            self.acted = not same
        return result

    def _seen(self, learner: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the hook may change, as it is now."""
        if self.effect is GRADIENT:
            return (learner.g.clone(),)
        if self.effect is WEIGHTS:
            return (learner.w.data.clone(),)
        if self.effect is MODEL:
            return (learner.w.data.clone(), *(buffer.clone() for buffer in learner.model.buffers()))
        if self.effect is not ROWS:
            return ()
        outline = getattr(arguments[-1], "outline", ()) if arguments else ()
        return (outline, learner.frozen_outline)

    @property
    def state(self) -> list[int]:
        """Its counts."""
        return [self.calls, self.looked, int(self.acted)]

    @state.setter
    def state(self, counts: list[int]) -> None:
        self.calls, self.looked, self.acted = counts[0], counts[1], bool(counts[2])


def _differ(before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    return any(bool((a != b).any()) if hasattr(a, "any") else a != b for a, b in zip(before, after, strict=True))
