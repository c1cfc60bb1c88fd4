"""Images as a pretrained network reads them: three channels, a size, and a normalisation. Letters: B samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ImageInput(nn.Module):
    """Convert images (B, 1 or 3, height, width) in [0, 1] to the input of a pretrained network.

    Args:
        mean, std: Three numbers each; the images become (x - mean) / std. Zeros and ones leave them in [0, 1].
        size: Height and width to which images are resized, bilinearly; ``None`` leaves their size.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], size: int | None) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(tuple(mean)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(tuple(std)).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        if self.size is not None and x.shape[2:] != (self.size, self.size):
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", align_corners=False, antialias=False)
        return (x - self.mean) / self.std


class WithInput(nn.Module):
    """Pass images through an :class:`ImageInput` and a network."""

    def __init__(self, images: ImageInput, model: nn.Module) -> None:
        super().__init__()
        self.images = images
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(self.images(x))
        return logits
