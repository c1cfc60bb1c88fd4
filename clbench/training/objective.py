"""The objective of classification streams; it belongs to the family of tasks, not to a strategy."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from clbench.training.batch import Batch, Source


def classification_loss(logits: Tensor, batch: Batch, only: Source | None = None) -> Tensor:
    """Cross-entropy over the allowed classes: Σ over sources of coefficient · mean over the source's rows.

    A source without a coefficient counts with its share of the batch's rows; where no source has one, this is the plain
    mean over the batch.

    Args:
        logits: (B, C).
        batch: Labels, allowed classes and sources.
        only: Leave out the terms of all other sources.
    """
    if batch.allowed is not None:
        logits = logits.masked_fill(~batch.allowed, -torch.inf)
    if only is None and all(source.coefficient is None for source in batch.sources):
        return F.cross_entropy(logits, batch.y)
    losses = F.cross_entropy(logits, batch.y, reduction="none")  # (B,)
    return over_sources(losses, batch, only=only)


def over_sources(losses: Tensor, batch: Batch, *, only: Source | None = None) -> Tensor:
    """Σ over sources of coefficient · mean over the source's rows, a scalar.

    Args:
        losses: (B,) a loss per row.
        batch: Its sources; one without a coefficient counts with its share of the rows.
        only: Leave out the terms of all other sources.
    """
    total = losses.new_zeros(())
    for source in batch.sources if only is None else (only,):
        if len(source):
            coefficient = len(source) / len(batch) if source.coefficient is None else source.coefficient
            total = total + coefficient * losses[source.span].mean()
    return total
