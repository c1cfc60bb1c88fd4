"""The slim ResNet-18 of the continual-learning literature."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from clbench.models.norm import norm_layer
from clbench.models.output import Output


class Block(nn.Module):
    """Apply two 3x3 convolutions and a shortcut, which is a 1x1 convolution if the shape changes."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, norm: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.first_norm = norm_layer(norm, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = norm_layer(norm, outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            convolution = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(convolution, norm_layer(norm, outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.shortcut(x))


class SlimResNet18(nn.Module):
    """Compute logits by a ResNet-18 with few channels; see :func:`clbench.models.builders.resnet`."""

    def __init__(self, shape: Sequence[int], n_outputs: int, *, width: int, norm: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
        self.stem_norm = norm_layer(norm, width)
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        self.blocks = nn.ModuleList()
        for stage, (inputs, outputs) in enumerate(pairwise(widths)):
            self.blocks.append(Block(inputs, outputs, stride=1 if stage == 0 else 2, norm=norm))
            self.blocks.append(Block(outputs, outputs, stride=1, norm=norm))
        self.head = nn.Linear(8 * width, n_outputs)

    def features(self, x: Tensor) -> Tensor:
        """Map images (B, channels, height, width) to features (B, 8 * width)."""
        x = F.relu(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Output:
        features = self.features(x)  # (B, H)
        return Output(self.head(features), features)
