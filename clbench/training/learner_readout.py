"""Predictions of the learner: the model's outputs, as the parts change them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn

from clbench.core.cost import Cost
from clbench.families.class_mask import ClassMask
from clbench.models.output import Output
from clbench.training.learner import Learner


class Readout:
    """Predict with a learner, for an evaluator.

    Args:
        learner: The learner.

    Attributes:
        predictors: The ``predict`` hooks of parts, which change scores in this order.
        reader: The ``answer`` hook of a part, which computes the output instead of the model, or ``None``.
        modules: The modules of the model.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.predictors: tuple[Callable[..., Tensor], ...] = ()
        self.reader: Callable[[Learner, Tensor, Tensor | None], Output] | None = None
        self.modules: tuple[nn.Module, ...] = tuple(learner.model.modules())

    @property
    def cost(self) -> Cost:
        """Return the cost account of the run."""
        return self.learner.cost

    @property
    def scratch(self) -> dict[str, Any]:
        """Return what parts computed for the running evaluation."""
        return self.learner.scratch

    @property
    def class_mask_changes(self) -> int:
        """Return a count that rises whenever the class mask changes inside an experience."""
        return self.learner.classes.changes

    def class_mask(self, task: Tensor) -> ClassMask:
        """Return the class mask of evaluation samples of some tasks (B,)."""
        return self.learner.classes.mask_of_tasks(task)

    def undisturbed(self, *, training: bool) -> AbstractContextManager[None]:
        """Run code in evaluation mode, and restore modes, buffers and generators afterwards."""
        return self.learner.side_work.undisturbed(training=training)

    def output(self, x: Tensor, task: Tensor | None) -> Output:
        """Return the output for inputs (B, ...): the model's, or that of a part's ``answer`` hook.

        Args:
            x: The inputs.
            task: (B,) task labels if the stream reveals them.
        """
        if self.reader is not None:
            return self.reader(self.learner, x, task)
        output: Output = self.learner.model(x)
        return output

    def predict(self, output: Output, task: Tensor | None) -> Tensor:
        """Return scores (B, C) of all classes: the logits, as parts change them.

        Args:
            output: The result of :meth:`output`.
            task: (B,) task labels if the stream reveals them.
        """
        scores = output.logits
        for act in self.predictors:
            scores = act(self.learner, output, task, scores)
        return scores

    def standing(self) -> object:
        """Return what predictions depend on besides weights, inputs and class mask.

        This is what an ``answer`` or ``predict`` hook may read of the learner and that changes when an experience
        begins.
        """
        if not self.predictors and self.reader is None:
            return None
        return self.learner.experience, tuple(self.learner.classes.seen.tolist())
