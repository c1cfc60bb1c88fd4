"""What a hook of a part is: where it acts among other parts, which parts may have it, and what it can affect.

A hook is declared once, by :func:`hook` above its method in :class:`clbench.strategies.part.Part`. The table of all
hooks, ``clbench.strategies.part.HOOKS``, is made from these declarations. The checks of a part's class, the chain, the
watching of effects, the alarms and the page on strategies use the table.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


class Effect(Enum):
    """Name what a hook may change."""

    TERM = "added a term to the loss other than 0"
    GRADIENT = "changed the gradient"
    WEIGHTS = "moved the weights"
    MODEL = "moved the weights or running statistics"
    ROWS = "changed the samples that are learned, the classes that compete, or what is frozen"
    ANY = "acted"


@dataclass(frozen=True)
class Hook:
    """Describe a place of the loop, or of evaluation, where parts may act.

    Args:
        name: The name of the method.
        summary: What a part does there: the first paragraph of the method's docstring, on one line.
        order: The declaration of parts that sets their order there; empty for their order in the chain.
        owned: What a part owns if it has the hook, so that only one part of a chain may have it; empty if several may.
        in_step: Whether it belongs to clbench's own step, so that it runs unless a part skips or makes the step.
        effect: What it can affect, which is watched; ``ANY`` if only calls are counted, ``None`` if nothing is watched.
        effect_if: A declaration and its value, if only parts with that value are watched.
        arranges_rows: Whether it only arranges samples and does not act on what is made of them.
        prepares: Whether it keeps something for another hook of its part, which has the effect.
        reads_out: Whether it changes the scores of evaluation.
    """

    name: str
    summary: str
    order: str = ""
    owned: str = ""
    in_step: bool = False
    effect: Effect | None = None
    effect_if: tuple[str, Any] | None = None
    arranges_rows: bool = False
    prepares: bool = False
    reads_out: bool = False

    def is_watched(self, part: Any) -> bool:
        """Return whether the hook of this part is watched."""
        if self.effect is None:
            return False
        return self.effect_if is None or getattr(part, self.effect_if[0]) == self.effect_if[1]


def hook(**declared: Any) -> Callable[[Function], Function]:
    """Declare a method of :class:`clbench.strategies.part.Part` as a hook.

    Args:
        declared: Fields of :class:`Hook` other than its name and summary.
    """

    def mark(function: Function) -> Function:
        paragraph = inspect.cleandoc(function.__doc__ or "").split("\n\n")[0]
        function.__dict__["hook"] = Hook(function.__name__, " ".join(paragraph.split()), **declared)
        return function

    return mark


def hooks_of(base: type) -> dict[str, Hook]:
    """Return the hooks that a class declares, by name, in the order of its methods."""
    return {name: value.hook for name, value in vars(base).items() if isinstance(getattr(value, "hook", None), Hook)}
