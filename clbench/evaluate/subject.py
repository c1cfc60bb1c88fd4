"""Whatever is looked at: our learner, or one of another library behind an adapter."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor, nn

from clbench.core.cost import Cost
from clbench.families.class_mask import ClassMask
from clbench.models.output import Output


class Subject(Protocol):
    """What an evaluator needs of a learner.

    Attributes:
        cost: The account of the run, in which looks are entered.
        scratch: What was worked out for the look that is running; every look begins with none.
        class_mask_changes: Changes whenever the class mask changes inside an experience.
        modules: Of its model, the places where values may be wide; they set how many rows go through at a time.
    """

    @property
    def cost(self) -> Cost: ...

    @property
    def scratch(self) -> dict[str, Any]: ...

    @property
    def class_mask_changes(self) -> int: ...

    @property
    def modules(self) -> tuple[nn.Module, ...]: ...

    def undisturbed(self, *, training: bool) -> AbstractContextManager[None]:
        """In evaluation mode; modes, buffers and generators are as before afterwards."""
        ...

    def output(self, x: Tensor, task: Tensor | None) -> Output:
        """What it makes of inputs (B, ...); ``task`` (B,) are their labels where the stream reveals them."""
        ...

    def predict(self, output: Output, task: Tensor | None) -> Tensor:
        """Scores (B, C) of all classes for an output; of those that compete, the highest is predicted."""
        ...

    def standing(self) -> object:
        """What predictions depend on beside weights, inputs and the classes that compete, as something to compare.

        Where it equals what it was at a look, and nothing has been learned since, the same rows get the same scores.
        """
        ...

    def class_mask(self, task: Tensor) -> ClassMask:
        """Return the class mask of rows of some tasks (B,)."""
        ...
