"""Floating-point operations of one sample, counted once by torch; a run's total is a multiple of it.

Matrix products and convolutions of the model count, with two operations per multiply-add. They are proportional to the
number of samples, so the count of one batch is exact for every other, on every machine. Operations of parts on weight
vectors (penalties, projections) are not included.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

ROWS = 2
"""Number of samples in the counted batch; batch normalisation needs two."""


class PerRow(NamedTuple):
    """Hold the number of operations for one sample.

    Args:
        forward: Operations of the forward pass.
        backward: Operations of the backward pass: gradients of all weights, but not of the inputs.
    """

    forward: int
    backward: int


def per_row(
    model: nn.Module, shape: tuple[int, ...], *, device: torch.device | str = "cpu", tokens: bool = False
) -> PerRow:
    """Count the operations of a model that returns :class:`clbench.models.output.Output`.

    The model runs forward and backward once, in its current mode; ``learner.side_work.undisturbed`` restores its state
    afterwards.

    Args:
        model: A model on its device.
        shape: Shape of one sample.
        device: The model's device.
        tokens: Whether samples are int64 tokens.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    with FlopCounterMode(display=False) as counter:
        logits = model(torch.zeros(ROWS, *shape, device=device, dtype=torch.int64 if tokens else None)).logits
        forward = counter.get_total_flops()
        torch.autograd.grad(logits.sum(), weights, allow_unused=True)
        total = counter.get_total_flops()
    return PerRow(forward // ROWS, (total - forward) // ROWS)
