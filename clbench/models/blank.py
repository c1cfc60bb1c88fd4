"""A placeholder model for learners that have a model of their own, or none."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clbench.models.output import Output


class Blank(nn.Module):
    """Return logits (B, C) of zeros; its single weight never changes."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.n_outputs = n_outputs
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Output:
        zeros = x.new_zeros((len(x), self.n_outputs)) + self.nothing
        return Output(zeros, zeros)
