"""The small convolutional network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from clbench.models.norm import norm_layer
from clbench.models.output import Output


class CNN(nn.Module):
    """Compute logits by four 3x3 convolutions and a hidden layer; see :func:`clbench.models.builders.cnn`."""

    def __init__(
        self, shape: Sequence[int], n_outputs: int, *, width: int, hidden: int, norm: str, bias: bool = True
    ) -> None:
        super().__init__()
        channels, rows, columns = shape
        widths = [channels, width, width, 2 * width, 2 * width]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1, bias=bias and norm == "none") for a, b in pairwise(widths)
        )
        self.norms = nn.ModuleList(norm_layer(norm, b) for b in widths[1:])
        self.hidden = nn.Linear(2 * width * (rows // 4) * (columns // 4), hidden, bias=bias)
        self.head = nn.Linear(hidden, n_outputs, bias=bias)

    def features(self, x: Tensor) -> Tensor:
        """Map images (B, channels, height, width) to features (B, H)."""
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = F.relu(norm(convolution(x)))
            if i % 2:
                x = F.max_pool2d(x, 2)
        return F.relu(self.hidden(x.flatten(1)))

    def forward(self, x: Tensor) -> Output:
        features = self.features(x)  # (B, H)
        return Output(self.head(features), features)
