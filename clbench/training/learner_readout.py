"""Predictions of the learner: the model's outputs, changed by the parts that read out."""

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
    """Predict with a learner, as an evaluator asks for it.

    Args:
        learner: What predicts.

    Attributes:
        predictors: What changes scores behind the model, in this order: the ``predict`` hooks of parts.
        reader: What gives the output in the model's place: the ``answer`` hook of a part, or ``None``.
        modules: The modules of the model.
    """

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.predictors: tuple[Callable[..., Tensor], ...] = ()
        self.reader: Callable[[Learner, Tensor, Tensor | None], Output] | None = None
        self.modules: tuple[nn.Module, ...] = tuple(learner.model.modules())

    @property
    def cost(self) -> Cost:
        """The account of the run."""
        return self.learner.cost

    @property
    def scratch(self) -> dict[str, Any]:
        """What parts worked out for the evaluation that is running."""
        return self.learner.scratch

    @property
    def class_mask_changes(self) -> int:
        """A count that rises whenever the class mask changes inside an experience."""
        return self.learner.classes.changes

    def class_mask(self, task: Tensor) -> ClassMask:
        """Return the class mask of evaluation rows of some tasks (B,)."""
        return self.learner.classes.mask_of_tasks(task)

    def undisturbed(self, *, training: bool) -> AbstractContextManager[None]:
        """Run something in evaluation mode, and restore modes, buffers and generators afterwards."""
        return self.learner.side_work.undisturbed(training=training)

    def output(self, x: Tensor, task: Tensor | None) -> Output:
        """Return the output for inputs (B, ...): the model's, or that of a part that reads out by itself.

        Args:
            x: The inputs.
            task: (B,) task labels where the stream reveals them.
        """
        if self.reader is not None:
            return self.reader(self.learner, x, task)
        output: Output = self.learner.model(x)
        return output

    def predict(self, output: Output, task: Tensor | None) -> Tensor:
        """Return scores (B, C) of all classes: the logits, as parts change them.

        Args:
            output: Of :meth:`output`.
            task: (B,) task labels where the stream reveals them.
        """
        scores = output.logits
        for act in self.predictors:
            scores = act(self.learner, output, task, scores)
        return scores

    def standing(self) -> object:
        """Return what predictions depend on beside weights, inputs and class mask: whatever a part that reads out may
        read of the learner and that changes where an experience begins."""
        if not self.predictors and self.reader is None:
            return None
        return self.learner.experience, tuple(self.learner.classes.seen.tolist())
