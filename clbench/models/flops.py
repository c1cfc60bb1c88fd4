"""Floating-point operations of one row, counted once by torch; a run's total is that times the rows it counted.

Matrix products and convolutions of the model, a multiply-add being two operations. They grow in proportion to the rows,
so the count of one batch holds for every other, exactly and on every machine. What parts compute on weight vectors
(penalties, projections) is not among them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

ROWS = 2
"""Of the batch that is counted; batch normalisation needs two."""


class PerRow(NamedTuple):
    """Operations of one row.

    Args:
        forward: Of the forward pass.
        backward: Of the backward pass, the gradient of all weights; none for the inputs.
    """

    forward: int
    backward: int


def per_row(model: nn.Module, shape: tuple[int, ...], *, device: torch.device | str = "cpu") -> PerRow:
    """Count a model that returns :class:`clbench.models.output.Output`.

    It runs forward and backward once, in the mode that it is in; ``learner.side_work.undisturbed`` restores what that
    changes.

    Args:
        model: On its device.
        shape: Of one row.
        device: The model's.
    """
    weights = [p for p in model.parameters() if p.requires_grad]
    with FlopCounterMode(display=False) as counter:
        logits = model(torch.zeros(ROWS, *shape, device=device)).logits
        forward = counter.get_total_flops()
        torch.autograd.grad(logits.sum(), weights, allow_unused=True)
        total = counter.get_total_flops()
    return PerRow(forward // ROWS, (total - forward) // ROWS)
