"""The residual networks for small pictures of He et al. 2016, section 4.2: ResNet-20, 32, 44, 56 and 110."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from clbench.models.norm import norm_layer
from clbench.models.output import Output


class Subsampled(nn.Module):
    """Take every second row and column, and add channels of zeros: a shortcut without weights (option A)."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self.more = more

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.more))


class PlainBlock(nn.Module):
    """Apply two 3x3 convolutions, and a shortcut without weights."""

    def __init__(self, inputs: int, outputs: int, *, norm: str) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.first_norm = norm_layer(norm, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = norm_layer(norm, outputs)
        self.shortcut: nn.Module = nn.Identity() if stride == 1 else Subsampled(outputs - inputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.shortcut(x))


class CifarResNet(nn.Module):
    """Compute logits by a residual network of three stages; see :func:`clbench.models.builders.resnet_cifar`."""

    def __init__(self, shape: Sequence[int], n_outputs: int, *, blocks: int, width: int, norm: str) -> None:
        super().__init__()
        self.stem = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
        self.stem_norm = norm_layer(norm, width)
        self.blocks = nn.ModuleList()
        inputs = width
        for outputs in (width, 2 * width, 4 * width):
            for _ in range(blocks):
                self.blocks.append(PlainBlock(inputs, outputs, norm=norm))
                inputs = outputs
        self.head = nn.Linear(4 * width, n_outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: Tensor) -> Tensor:
        """Map images (B, channels, height, width) to features (B, 4 * width)."""
        x = F.relu(self.stem_norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Output:
        features = self.features(x)  # (B, H)
        return Output(self.head(features), features)
