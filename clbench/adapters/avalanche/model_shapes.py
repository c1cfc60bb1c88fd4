"""The benchmark's model in the forms that avalanche-lib's strategies need.

Letters: B samples, C classes, H features, T tasks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clbench.adapters.avalanche.library import BaseModel, DynamicModule, MultiTaskModule
from clbench.core.global_rng import preserved
from clbench.models.module_modes import preserved_modes

HIDDEN = -1000.0
"""Logit of a class that does not compete, as in ``avalanche.models.IncrementalClassifier``; exp of it is 0."""


class SharedHead(DynamicModule, BaseModel):
    """Return logits of the benchmark's model, with all units from the start and a class mask.

    Args:
        model: A model that returns :class:`clbench.models.output.Output`.
        n_outputs: Number of output units C.
        grows: Whether only the classes seen so far compete; otherwise all do.
        trains_only: Whether the mask applies only in training mode, for methods that store logits.
    """

    def __init__(self, model: nn.Module, n_outputs: int, *, grows: bool, trains_only: bool = False) -> None:
        super().__init__()
        self.model = model
        self.trains_only = trains_only
        self.looked_at = False
        self.register_buffer("active", torch.full((n_outputs,), not grows))

    def adaptation(self, experience: Any) -> None:
        """Add an experience's classes to those that compete."""
        self.active[list(experience.classes_in_this_experience)] = True

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, C)."""
        logits: Tensor = self.model(x).logits
        if self.looked_at or (self.trains_only and not self.training):
            return logits
        return logits.masked_fill(~self.active, HIDDEN)

    def get_features(self, x: Tensor) -> Tensor:
        """Return the input of the last layer, (B, H)."""
        features: Tensor = self.model(x).features
        return features


_ALL: Any = object()


class PerTask(MultiTaskModule, BaseModel):
    """Return logits of the benchmark's model with the class mask of each sample's task.

    Args:
        model: A model that returns :class:`clbench.models.output.Output`.
        by_task: (T, C) bool, the classes of each task.
    """

    def __init__(self, model: nn.Module, by_task: Tensor) -> None:
        super().__init__()
        self.model = model
        self.looked_at = False
        self.register_buffer("by_task", by_task)

    def forward(self, x: Tensor, task_labels: Tensor | int | None = _ALL) -> Any:
        """Return logits (B, C) with the mask of the task; for ``None`` a dictionary of all tasks; without labels no
        mask."""
        if task_labels is _ALL or self.looked_at:
            return self.model(x).logits
        if task_labels is None:
            return self.forward_all_tasks(x)
        return self._among(self.model(x).logits, task_labels)

    def forward_single_task(self, x: Tensor, task_label: int) -> Tensor:
        """Return logits (B, C) with the mask of one task."""
        return self._among(self.model(x).logits, task_label)

    def forward_all_tasks(self, x: Tensor) -> dict[int, Tensor]:
        """Return logits (B, C) for each task seen so far."""
        logits = self.model(x).logits
        return {task: self._among(logits, task) for task in sorted(self.known_train_tasks_labels)}

    def _among(self, logits: Tensor, task: Tensor | int) -> Tensor:
        return logits.masked_fill(~self.by_task[task], HIDDEN)

    def get_features(self, x: Tensor) -> Tensor:
        """Return the input of the last layer, (B, H)."""
        features: Tensor = self.model(x).features
        return features


class Features(nn.Module):
    """Return the input of the last layer of the benchmark's model, (B, H).

    Args:
        model: A model that returns :class:`clbench.models.output.Output`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Return features of inputs (B, ...)."""
        features: Tensor = self.model(x).features
        return features


def width(model: nn.Module, row: Tensor) -> int:
    """Return H, the number of features of a sample (1, ...); the model stays unchanged."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with preserved_modes(model.modules()), preserved(), torch.no_grad():
        found = int(model.eval()(row).features.shape[1])
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    return found
