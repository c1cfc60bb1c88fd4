"""Whether parts have an effect: their hooks are watched, so that a part that never acts can be reported.

A watched hook is compared before and after until it has had an effect, at each of its first calls, then at every 32nd.
The first experience is left out if there are more and boundaries are visible, except for hooks whose comparison costs
nothing. Watching costs little, draws no random numbers and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clbench.strategies.hooks import Effect, Hook

if TYPE_CHECKING:
    from clbench.strategies.part import Part

EACH, EVERY = 64, 32
"""How many calls are all compared, and which of the further ones. On a GPU, each comparison waits for the device."""


TERM, GRADIENT, WEIGHTS, MODEL, ROWS, ANY = Effect


@dataclass(eq=False)
class WatchedHook:
    """Watch a hook; it is called like the hook itself.

    Args:
        hook: A bound method of a part.
        part: The part that has the hook.
        declared: The hook's entry in the table.
        single: Whether the stream has only one experience, which then counts.
        calls: How often it was called after the first experience, before it had an effect.
        compared: How often it was compared.
        acted: Whether it had an effect.
    """

    hook: Callable[..., Any]
    part: Part
    declared: Hook
    single: bool = False
    calls: int = 0
    compared: int = 0
    acted: bool = False

    def __post_init__(self) -> None:
        assert self.declared.effect is not None
        self.name, self.effect = self.declared.name, self.declared.effect

    def __call__(self, learner: Any, *arguments: Any) -> Any:
        first = learner.experience == 0 and not self.single  # the method has kept nothing yet on which it could act
        if self.acted or (first and self.effect is not ROWS):
            return self.hook(learner, *arguments)
        self.calls += not first
        if self.effect is ANY or (self.calls > EACH and self.calls % EVERY):
            return self.hook(learner, *arguments)
        before = self._seen(learner, arguments)
        result = self.hook(learner, *arguments)
        self.compared += not first
        if self.effect is TERM:
            self.acted = result is not None and bool(result != 0)
        else:
            self.acted = _differ(before, self._seen(learner, arguments))
        if self.effect is ROWS and result is not None and not self.acted:  # an order, or samples to be merged
            given = arguments[-1]
            same = getattr(given, "shape", None) == result.shape and not bool((result != given).any())
            self.acted = not same
        return result

    def _seen(self, learner: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the current state of what the hook may change."""
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
        """Return its counts."""
        return [self.calls, self.compared, int(self.acted)]

    @state.setter
    def state(self, counts: list[int]) -> None:
        self.calls, self.compared, self.acted = counts[0], counts[1], bool(counts[2])


def _differ(before: tuple[Any, ...], after: tuple[Any, ...]) -> bool:
    return any(bool((a != b).any()) if hasattr(a, "any") else a != b for a, b in zip(before, after, strict=True))
