"""The objective of a step: the loss of the family of tasks, weighed by the sources of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from clbench.training.batch import Batch, Source


class Terms(Protocol):
    """Describe what a strategy adds to the loss and to the gradient."""

    objective: Callable[..., Tensor] | None
    loss: tuple[Callable[..., Tensor | None], ...]
    adds: tuple[Callable[..., None], ...]


def task_loss(outputs: Tensor, batch: Batch, only: Source | None = None) -> Tensor:
    """Return the family's loss on a batch: Σ over sources of coefficient · mean over the source's samples, a scalar.

    A source without a coefficient has its share of the batch's samples as coefficient; if no source has one, this is
    the mean over the batch.

    Args:
        outputs: (B, C).
        batch: Family, targets, class mask and sources.
        only: Leave out the terms of all other sources.
    """
    family, target, class_mask = batch.family, batch.target, batch.class_mask
    if only is None and all(source.coefficient is None for source in batch.sources):
        return family.mean_loss(outputs, target, class_mask)
    return over_sources(family.loss(outputs, target, class_mask), batch, only=only)  # (B,)


def over_sources(losses: Tensor, batch: Batch, *, only: Source | None = None) -> Tensor:
    """Return Σ over sources of coefficient · mean over the source's samples, a scalar.

    Args:
        losses: (B,) one loss per sample.
        batch: Its sources; one without a coefficient has its share of the samples.
        only: Leave out the terms of all other sources.
    """
    total = losses.new_zeros(())
    for source in batch.sources if only is None else (only,):
        if len(source):
            coefficient = len(source) / len(batch) if source.coefficient is None else source.coefficient
            total = total + coefficient * losses[source.span].mean()
    return total
