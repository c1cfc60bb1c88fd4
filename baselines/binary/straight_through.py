"""Binary weights by the straight-through estimator: the control that has neither distributions nor a divergence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clbench import Part


class SignLinear(nn.Linear):
    """Compute Σ sign(θ) x / √N; the gradient of sign(θ) is taken as that of θ."""

    def __init__(self, like: nn.Linear) -> None:
        super().__init__(like.in_features, like.out_features, bias=False)
        nn.init.normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        sign = torch.where(self.weight >= 0, 1.0, -1.0)
        return F.linear(x, self.weight + (sign - self.weight).detach()) / self.in_features**0.5


@dataclass(kw_only=True)
class StraightThrough(Part):
    """Train the signs of N(0, 1) fields by the straight-through estimator, with fields clipped to [-1, 1].

    Source: Courbariaux et al. 2016, arXiv 1602.02830.
    """

    def build(self, model, shape, n_outputs):
        for parent in list(model.modules()):
            for name, layer in list(parent.named_children()):
                if type(layer) is nn.Linear:
                    setattr(parent, name, SignLinear(layer))
        return model

    def after_step(self, learner, batch):
        learner.w.data.clamp_(-1, 1)
