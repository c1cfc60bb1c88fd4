"""What a source of pretrained weights gives: a network, or the weights of a vision transformer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's colours in [0, 1]."""
UNIT = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
"""Pixels stay in [0, 1]."""


@dataclass(frozen=True)
class Loaded:
    """Hold a pretrained network, or the weights of a vision transformer.

    Args:
        what: Name of the weights, for messages.
        module: A network that ends in a linear layer, which is replaced; ``None`` for a vision transformer.
        state: The weights of a vision transformer under the names of its library; ``None`` for a network.
        form: What names and shapes of the weights do not tell: ``heads``, ``eps``, ``activation``.
        mean, std: How the network's inputs were normalised in its training.
        antialias: Whether the library resizes positions with antialiasing.
        size: Height and width of images that the network was trained on, if it is known.
    """

    what: str
    module: nn.Module | None = None
    state: Mapping[str, Tensor] | None = None
    form: Mapping[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] = IMAGENET[0]
    std: tuple[float, ...] = IMAGENET[1]
    antialias: bool = False
    size: int | None = None


def weights_checksum(state: Mapping[str, Tensor]) -> str:
    """Return the checksum of weights, 32 hex digits: BLAKE2b over names, types, shapes and bytes, in order of names."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()
