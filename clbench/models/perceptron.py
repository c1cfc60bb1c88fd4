"""The perceptron: one linear unit whose sign is the class, with a probit as its probability."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clbench.models.output import Output


class ProbitUnit(nn.Linear):
    """Compute z = Σ w x / √N for N inputs, without a bias; initial weights are drawn from N(0, 1).

    Args:
        inputs: N.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__(inputs, 1, bias=False)
        nn.init.normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight) / math.sqrt(self.in_features)


class Perceptron(nn.Module):
    """Return the logarithms of P(class 0) = Φ(-z) and P(class 1) = Φ(z) as logits; features are the inputs."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.head = ProbitUnit(math.prod(shape))

    def forward(self, x: Tensor) -> Output:
        x = x.flatten(1)
        z = self.head(x)  # (B, 1)
        return Output(torch.special.log_ndtr(torch.cat([-z, z], dim=1)), x)
