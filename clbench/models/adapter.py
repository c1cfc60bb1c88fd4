"""Adapters: small two-layer networks beside those of a transformer's blocks. Letters: B samples, N tokens, D width."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Adapter(nn.Module):
    """Compute scale · U ReLU(V x + v) + scale · u for tokens x, beside the two-layer network of a block.

    U and u begin at 0, so that a new adapter adds nothing.

    Args:
        width: D, width of a token.
        hidden: Width of the layer between.
        scale: The factor.
    """

    def __init__(self, width: int, hidden: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, width)
        nn.init.kaiming_uniform_(self.down.weight, a=5**0.5)
        for start in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(start)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, D) to (B, N, D)."""
        added: Tensor = self.scale * self.up(torch.relu(self.down(x)))
        return added


def add_adapters(model: nn.Module, hidden: int, scale: float) -> None:
    """Put an adapter beside the two-layer network of every block of a transformer, in place.

    Args:
        model: A transformer as :func:`clbench.models.transformer.is_transformer` says.
        hidden, scale: Of each :class:`Adapter`.
    """
    for block in model.blocks:  # type: ignore[union-attr]
        block.adapter = Adapter(block.up.in_features, hidden, scale)
