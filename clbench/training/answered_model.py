"""The model as a part answers with it in training, as one module: for other weights and gradients per sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from clbench.models.flat_weights import Flat
from clbench.models.output import Output

if TYPE_CHECKING:
    from clbench.training.learner import Learner

Answer = Callable[["Learner", Tensor, Tensor | None], Output]
"""A part's ``answer`` hook: from the learner, inputs (B, ...) and task labels (B,), if revealed, to the output."""
PREFIX = "model."
"""What comes before the names of the model's parameters and buffers in :class:`AnsweredModel`."""


class AnsweredModel(nn.Module):
    """Compute the output as a part answers in training; parameters are those of the learner's model.

    Args:
        learner: The learner.
        answer: The hook.
        task: The task label of every sample, a scalar int64; ``None`` if it is given with the samples, or hidden.
    """

    def __init__(self, learner: Learner, answer: Answer, task: Tensor | None = None) -> None:
        super().__init__()
        self.model = learner.model
        self.__dict__.update(_learner=learner, _answer=answer, _task=task)

    def forward(self, x: Tensor, task: Tensor | None = None) -> Output:
        own: Tensor | None = self.__dict__["_task"]
        if task is None and own is not None:
            task = own.expand(len(x))
        output: Output = self.__dict__["_answer"](self.__dict__["_learner"], x, task)
        return output


def with_prefix(flat: Flat) -> Flat:
    """Return flat weights whose slices have the names of parameters in :class:`AnsweredModel`."""
    return replace(flat, slices={PREFIX + name: place for name, place in flat.slices.items()})
