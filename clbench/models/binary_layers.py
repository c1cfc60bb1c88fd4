"""Layers with weights of ±1 of which only a distribution is learned: one field for each weight.

Every weight w = ±1 has a field θ and the distribution p(w) = e^(βθw) / (2 cosh βθ), with mean μ = tanh βθ and variance
σ² = 1 - μ². A layer never draws weights in training: a sum of N of them is nearly Gaussian, so that its mean and its
variance are computed, and one normal number is drawn for each output. Letters: B samples, N inputs of a unit (fan-in).

Source: Li et al. 2023, Physical Review E 108, 014309 (arXiv 2212.02846); the draw of sums in place of weights is the
local reparametrisation of Kingma et al. 2015, arXiv 1506.02557.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clbench.models.perceptron import ProbitUnit

TINY = 1e-20
"""Added to variances, so that the slope of their root is finite where a sample has only zeros."""

STRIDE = 0x1E3779B97F4A7C15
"""Distance between the seeds of two draws: an odd number, so that no two of them have one seed."""

ReadOut = Literal["mean", "sign", "sample"]
"""The weights in evaluation mode: the ``mean`` μ; the more probable value, the ``sign`` of the field; or sums that are
drawn as in training (``sample``)."""


class BinaryLayer:
    """Give a linear or convolutional layer binary weights; its parameter ``weight`` holds the fields θ.

    Attributes:
        weight: The fields, of the shape of the layer's weights.
        beta: β, a buffer without dimensions.
        draws: How often it has drawn, a buffer without dimensions, so that a pass which leaves no trace draws what the
            next one draws.
        seed: Determines what it draws.
        read_out: The weights in evaluation mode; see :data:`ReadOut`.
    """

    weight: Tensor
    beta: Tensor
    draws: Tensor
    training: bool
    seed: int = 0
    read_out: ReadOut = "mean"

    def _begin(self) -> None:
        """Draw the fields from N(0, 1) and set β to 1."""
        assert isinstance(self, nn.Module)
        nn.init.normal_(self.weight)
        self.register_buffer("beta", torch.ones((), dtype=self.weight.dtype, device=self.weight.device))
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64, device=self.weight.device))

    def normal(self, like: Tensor) -> Tensor:
        """Draw standard normal numbers with the shape, type and device of a tensor."""
        seed = (self.seed + int(self.draws) * STRIDE) % 2**63
        self.draws.add_(1)
        return torch.empty_like(like).normal_(generator=torch.Generator(like.device).manual_seed(seed))

    @property
    def fan_in(self) -> int:
        """Return N, the number of inputs of a unit."""
        return self.weight[0].numel()

    @property
    def mean(self) -> Tensor:
        """Return the means μ of the weights, of the shape of the fields."""
        return torch.tanh(self.beta * self.weight)

    @property
    def sign(self) -> Tensor:
        """Return the more probable values ±1 of the weights, of the shape of the fields."""
        return torch.where(self.weight >= 0, 1.0, -1.0)

    def moments(self, x: Tensor, apply: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the sums Σ w x / √N over the distribution of the weights.

        Args:
            x: Inputs (B, ...).
            apply: The layer's operation: inputs and weights to sums.
        """
        mean = self.mean
        return apply(x, mean) / self.fan_in**0.5, apply(x * x, 1 - mean * mean) / self.fan_in

    def sums(self, x: Tensor, apply: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Return the layer's output: drawn in training mode; in evaluation mode as ``read_out`` says."""
        if not self.training and self.read_out != "sample":
            fixed: Tensor = apply(x, self.mean if self.read_out == "mean" else self.sign) / self.fan_in**0.5
            return fixed
        mean, variance = self.moments(x, apply)
        return mean + self.normal(mean) * (variance + TINY).sqrt()


class BinaryLinear(BinaryLayer, nn.Linear):
    """Compute Σ w x / √N with binary weights, without a bias.

    Args:
        like: The layer whose place it takes.
    """

    def __init__(self, like: nn.Linear) -> None:
        super().__init__(like.in_features, like.out_features, bias=False)
        self._begin()

    def forward(self, x: Tensor) -> Tensor:
        return self.sums(x, F.linear)


class BinaryConv2d(BinaryLayer, nn.Conv2d):
    """Compute a convolution with binary weights, divided by √N, without a bias; arguments as for a linear layer."""

    def __init__(self, like: nn.Conv2d) -> None:
        super().__init__(
            like.in_channels,
            like.out_channels,
            like.kernel_size,  # type: ignore[arg-type]
            stride=like.stride,  # type: ignore[arg-type]
            padding=like.padding,  # type: ignore[arg-type]
            dilation=like.dilation,  # type: ignore[arg-type]
            groups=like.groups,
            bias=False,
            padding_mode=like.padding_mode,
        )
        self._begin()

    def forward(self, x: Tensor) -> Tensor:
        return self.sums(x, lambda x, weights: self._conv_forward(x, weights, None))


class BinaryUnit(BinaryLayer, ProbitUnit):
    """Compute the mean of Σ w x / √N over its standard deviation: with a probit, the exact probability of its sign.

    Nothing is drawn, since the probability that the sum is above 0 is known. Arguments as for a linear layer.
    """

    def __init__(self, like: ProbitUnit) -> None:
        super().__init__(like.in_features)
        self._begin()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training and self.read_out != "mean":
            return self.sums(x, F.linear)
        mean, variance = self.moments(x, F.linear)
        return mean / (variance + TINY).sqrt()


BINARY: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Linear: BinaryLinear,
    nn.Conv2d: BinaryConv2d,
    ProbitUnit: BinaryUnit,
}
"""Layers that can have binary weights, and what takes their place. Other classes, subclasses too, stay as they are,
because they may use their weights in another way."""


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")
"""Attributes with the hooks of a module that are called in a forward pass."""


def with_binary_weights(model: nn.Module) -> int:
    """Replace the layers of a model by binary ones, in place; fields are drawn from torch's generator.

    Args:
        model: A model; a layer that it uses in several places becomes one binary layer.

    Returns:
        The number of layers that were replaced.
    """
    made: dict[int, nn.Module] = {}
    for parent in list(model.modules()):
        for name, layer in list(parent._modules.items()):
            if layer is None or type(layer) not in BINARY:
                continue
            if id(layer) not in made:
                made[id(layer)] = BINARY[type(layer)](layer).train(layer.training)
                for kept in HOOKS:  # such as the one by which a wrapper reads the features
                    made[id(layer)].__dict__[kept].update(layer.__dict__[kept])
            setattr(parent, name, made[id(layer)])
    return len(made)


def binary_layers(model: nn.Module) -> Iterator[tuple[str, BinaryLayer]]:
    """Yield the names and the layers of a model that have binary weights."""
    for name, module in model.named_modules():
        if isinstance(module, BinaryLayer):
            yield name, module
