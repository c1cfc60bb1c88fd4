"""The model of learners that have one of their own, or none: it stands where one is asked for, and nothing is read."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clbench.models.output import Output


class Blank(nn.Module):
    """No model: one weight that nothing moves, and logits (B, C) of zeros."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.n_outputs = n_outputs
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Output:
        zeros = x.new_zeros((len(x), self.n_outputs)) + self.nothing
        return Output(zeros, zeros)
