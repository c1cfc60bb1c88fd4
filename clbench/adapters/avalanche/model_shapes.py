"""The benchmark's model in the shapes in which avalanche-lib's strategies know models.

Letters: B rows, C classes, H features, T tasks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clbench.adapters.avalanche.library import BaseModel, DynamicModule, MultiTaskModule
from clbench.core.global_rng import preserved

HIDDEN = -1000.0
"""Logit of a class that does not compete, as in ``avalanche.models.IncrementalClassifier``; exp of it is 0."""


class SharedHead(DynamicModule, BaseModel):
    """Logits of the benchmark's model, all units there from the start, those of classes not seen yet hidden.

    Args:
        model: Returns :class:`clbench.models.output.Output`.
        n_outputs: C.
        grows: Whether only the classes seen so far compete; else all.
        trains_only: Whether they are hidden in training mode only, for methods that store logits.
    """

    def __init__(self, model: nn.Module, n_outputs: int, *, grows: bool, trains_only: bool = False) -> None:
        super().__init__()
        self.model = model
        self.trains_only = trains_only
        self.looked_at = False
        self.register_buffer("active", torch.full((n_outputs,), not grows))

    def adaptation(self, experience: Any) -> None:
        """Let an experience's classes compete."""
        self.active[list(experience.classes_in_this_experience)] = True

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, C)."""
        logits: Tensor = self.model(x).logits
        if self.looked_at or (self.trains_only and not self.training):
            return logits
        return logits.masked_fill(~self.active, HIDDEN)

    def get_features(self, x: Tensor) -> Tensor:
        """What the last layer reads, (B, H)."""
        features: Tensor = self.model(x).features
        return features


_ALL: Any = object()


class PerTask(MultiTaskModule, BaseModel):
    """Logits of the benchmark's model, of which only those of the row's task compete.

    Args:
        model: Returns :class:`clbench.models.output.Output`.
        by_task: (T, C) bool, the classes of each task.
    """

    def __init__(self, model: nn.Module, by_task: Tensor) -> None:
        super().__init__()
        self.model = model
        self.looked_at = False
        self.register_buffer("by_task", by_task)

    def forward(self, x: Tensor, task_labels: Tensor | int | None = _ALL) -> Any:
        """Logits (B, C): among the row's task; of every task, a dictionary, for ``None``; without labels, of all."""
        if task_labels is _ALL or self.looked_at:
            return self.model(x).logits
        if task_labels is None:
            return self.forward_all_tasks(x)
        return self._among(self.model(x).logits, task_labels)

    def forward_single_task(self, x: Tensor, task_label: int) -> Tensor:
        """Logits (B, C) of one task."""
        return self._among(self.model(x).logits, task_label)

    def forward_all_tasks(self, x: Tensor) -> dict[int, Tensor]:
        """Logits (B, C) of each task seen so far."""
        logits = self.model(x).logits
        return {task: self._among(logits, task) for task in sorted(self.known_train_tasks_labels)}

    def _among(self, logits: Tensor, task: Tensor | int) -> Tensor:
        return logits.masked_fill(~self.by_task[task], HIDDEN)

    def get_features(self, x: Tensor) -> Tensor:
        """What the last layer reads, (B, H)."""
        features: Tensor = self.model(x).features
        return features


class Features(nn.Module):
    """What the last layer of the benchmark's model reads, (B, H).

    Args:
        model: Returns :class:`clbench.models.output.Output`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Features of inputs (B, ...)."""
        features: Tensor = self.model(x).features
        return features


def width(model: nn.Module, row: Tensor) -> int:
    """H, the number of features of a row (1, ...); the model is left as it was."""
    modes = [module.training for module in model.modules()]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with preserved(), torch.no_grad():
        found = int(model.eval()(row).features.shape[1])
    for module, mode in zip(model.modules(), modes, strict=True):
        module.training = mode
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    return found
