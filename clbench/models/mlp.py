"""The multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clbench.models.linear import linear
from clbench.models.output import Output

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "elu": F.elu, "gelu": F.gelu}


class MLP(nn.Module):
    """Compute logits by fully connected layers; see :func:`clbench.models.builders.mlp`."""

    def __init__(
        self,
        shape: Sequence[int],
        n_outputs: int,
        *,
        hidden: Sequence[int],
        activation: str,
        dropout: float,
        bias: bool = True,
    ) -> None:
        super().__init__()
        widths = [math.prod(shape), *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=bias) for a, b in pairwise(widths))
        self.head = nn.Linear(widths[-1], n_outputs, bias=bias)
        self.activation = ACTIVATIONS[activation]
        self.dropout = dropout

    def features(self, x: Tensor) -> Tensor:
        """Map samples (B, ...) to features (B, H)."""
        x = x.flatten(1)
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            x = linear(layer, x, relu=True) if self.activation is torch.relu else self.activation(linear(layer, x))
            if self.dropout:
                x = F.dropout(x, self.dropout, self.training)
        return x

    def forward(self, x: Tensor) -> Output:
        features = self.features(x)  # (B, H)
        return Output(linear(self.head, features), features)
