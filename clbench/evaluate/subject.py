"""What an evaluator needs: our learner, or one of another library through an adapter."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor, nn

from clbench.core.cost import Cost
from clbench.families.class_mask import ClassMask
from clbench.models.output import Output


class Subject(Protocol):
    """Describe what an evaluator needs of a learner.

    Attributes:
        cost: The cost account of the run, which counts evaluations.
        scratch: What was computed for the running evaluation; empty when an evaluation begins.
        class_mask_changes: Changes whenever the class mask changes inside an experience.
        modules: The parts of its model whose values may be wide; they set how many samples go through at a time.
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
        """Run code in evaluation mode, and restore modes, buffers and generators afterwards."""
        ...

    def output(self, x: Tensor, task: Tensor | None) -> Output:
        """Return the output for inputs (B, ...); ``task`` (B,) are their labels if the stream reveals them."""
        ...

    def predict(self, output: Output, task: Tensor | None) -> Tensor:
        """Return the scores (B, C) of all classes for an output; of those that compete, the highest is predicted."""
        ...

    def standing(self) -> object:
        """Return what predictions depend on besides weights, inputs and the classes that compete, to be compared.

        If it equals what it was at an evaluation, and nothing was learned since, the same samples get the same scores.
        """
        ...

    def class_mask(self, task: Tensor) -> ClassMask:
        """Return the class mask of samples of some tasks (B,)."""
        ...
