"""The small vision transformer, and the blocks of all vision transformers. Letters: B samples, N tokens, D width, A
heads, n tokens of a prefix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clbench.models.output import Output

Prefix = tuple[Tensor, Tensor]
"""Further keys and values (B or 1, n, D) that all tokens of a block attend to, before its own."""


class Attention(nn.Module):
    """Apply self-attention with separate layers for query, key, value and output.

    Args:
        width: D, width of a token.
        heads: A, heads.
        fused: Whether to use torch's fused kernel, which is faster but has no gradients per sample.
    """

    def __init__(self, width: int, heads: int, *, fused: bool = False) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, prefix: Prefix | None = None) -> Tensor:
        """Map tokens (B, N, D) to (B, N, D)."""
        read = [layer(x) for layer in (self.query, self.key, self.value)]
        if prefix is not None:
            for place, more in enumerate(prefix, start=1):
                read[place] = torch.cat([more.expand(len(x), -1, -1), read[place]], dim=1)
        q, k, v = (tensor.unflatten(-1, (self.heads, -1)).transpose(1, 2) for tensor in read)
        if self.fused:
            attended = F.scaled_dot_product_attention(q, k, v)
        else:  # written out, (B, A, N, N): the fused kernels do not support gradients per sample
            attended = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1) @ v
        mixed: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """Apply attention and a two-layer network, each with a norm before it and a shortcut.

    Args:
        width: D, width of a token.
        heads: Heads of the attention.
        hidden: Width of the two-layer network.
        eps: What norms add to the variance.
        layer_scale: Whether a factor for each of the D values multiplies what is added to the shortcut.
        activation: The activation of the two-layer network.
        fused: As in :class:`Attention`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        eps: float = 1e-5,
        layer_scale: bool = False,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        fused: bool = False,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.attention = Attention(width, heads, fused=fused)
        self.mlp_norm = nn.LayerNorm(width, eps=eps)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.attention_scale = nn.Parameter(torch.ones(width)) if layer_scale else None
        self.mlp_scale = nn.Parameter(torch.ones(width)) if layer_scale else None
        self.adapter: nn.Module | None = None
        """What reads the same tokens beside the two-layer network, before its norm, and is added to its output."""
        self._activation = activation

    def forward(self, x: Tensor, prefix: Prefix | None = None) -> Tensor:
        """Map tokens (B, N, D) to (B, N, D)."""
        mixed = self.attention(self.attention_norm(x), prefix)
        x = x + (mixed if self.attention_scale is None else self.attention_scale * mixed)
        output: Tensor = self.mlp(self.mlp_norm(x))
        output = x + (output if self.mlp_scale is None else self.mlp_scale * output)
        return output if self.adapter is None else output + self.adapter(x)

    def mlp(self, x: Tensor) -> Tensor:
        """Apply the two-layer network to normed tokens (B, N, D)."""
        output: Tensor = self.down(self._activation(self.up(x)))
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

    def tokens(self, x: Tensor) -> Tensor:
        """Map images (B, channels, height, width) to tokens (B, N, D), before the first block."""
        x = x.unflatten(3, (-1, self.patch)).unflatten(
            2, (-1, self.patch)
        )  # (B, channels, rows, patch, columns, patch)
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, N, channels * patch * patch)
        embedded: Tensor = self.embedding(x) + self.positions
        return embedded

    def encode(self, tokens: Tensor, prefixes: Mapping[int, Prefix] | None = None) -> Tensor:
        """Pass tokens (B, N, D) through all blocks and the last norm, as all transformers do."""
        return through(self, tokens, prefixes)

    def pool(self, encoded: Tensor) -> Tensor:
        """Map encoded tokens (B, N, D) to features (B, D), their mean."""
        return encoded.mean(1)

    def features(self, x: Tensor) -> Tensor:
        """Map images (B, channels, height, width) to features (B, D), the mean over tokens."""
        return self.pool(self.encode(self.tokens(x)))

    def forward(self, x: Tensor) -> Output:
        features = self.features(x)  # (B, D)
        return Output(self.head(features), features)


def through(model: nn.Module, tokens: Tensor, prefixes: Mapping[int, Prefix] | None = None) -> Tensor:
    """Pass tokens (B, N, D) through the blocks of a model, each with the prefix of its number, and its last norm."""
    blocks: nn.ModuleList = model.blocks  # type: ignore[assignment]
    norm: nn.Module = model.norm  # type: ignore[assignment]
    for number, block in enumerate(blocks):
        tokens = block(tokens, prefixes.get(number)) if prefixes else block(tokens)
    encoded: Tensor = norm(tokens)
    return encoded
