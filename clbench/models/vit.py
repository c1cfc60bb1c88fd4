"""The small vision transformer. Letters: B samples, N tokens, D width, A heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clbench.models.output import Output


class Attention(nn.Module):
    """Apply self-attention with separate layers for query, key, value and output."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, D) to (B, N, D)."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        # written out, (B, A, N, N): the fused kernels do not support gradients per sample
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
        mixed: Tensor = self.output((weights @ v).transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """Apply attention and a two-layer network, each with a norm before it and a shortcut."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens (B, N, D) to (B, N, D)."""
        x = x + self.attention(self.attention_norm(x))
        output: Tensor = x + self.down(F.gelu(self.up(self.mlp_norm(x))))
        return output


class ViT(nn.Module):
    """Compute logits by a vision transformer; see :func:`clbench.models.builders.vit`."""

    def __init__(
        self, shape: Sequence[int], n_outputs: int, *, patch: int, width: int, depth: int, heads: int, mlp_ratio: float
    ) -> None:
        super().__init__()
        channels, rows, columns = shape
        self.patch = patch
        self.embedding = nn.Linear(channels * patch * patch, width)
        self.positions = nn.Parameter(0.02 * torch.randn(rows // patch * (columns // patch), width))  # (N, D)
        self.blocks = nn.ModuleList(Block(width, heads, round(mlp_ratio * width)) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_outputs)

    def features(self, x: Tensor) -> Tensor:
        """Map images (B, channels, height, width) to features (B, D), the mean over tokens."""
        x = x.unflatten(3, (-1, self.patch)).unflatten(
            2, (-1, self.patch)
        )  # (B, channels, rows, patch, columns, patch)
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, N, channels * patch * patch)
        x = self.embedding(x) + self.positions
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.norm(x).mean(1)
        return features

    def forward(self, x: Tensor) -> Output:
        features = self.features(x)  # (B, D)
        return Output(self.head(features), features)
