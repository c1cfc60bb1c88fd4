"""What the units of a model give: every output of an activation function, by whichever call the model computes it.

A model may write an activation as a module, as ``F.relu``, as a method of a tensor, in place, or inside a kernel that
multiplies as well. All of them reach torch's dispatcher, where they are seen. Letters: U units of a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from clbench.models.linear import fused_available

ACTIVATIONS = frozenset(
    {
        "relu", "relu6", "prelu", "_prelu_kernel", "leaky_relu", "rrelu", "rrelu_with_noise", "elu", "selu", "celu",
        "gelu", "silu", "mish", "softplus", "hardswish", "hardtanh", "tanh", "threshold",
    }
)  # fmt: skip
"""Activation functions by their names in torch's dispatcher. Sigmoids are gates and no units."""
CLAMPS = frozenset({"clamp_min", "clamp", "clip"})
"""Functions that are a ReLU if their lower bound is 0 and an input is negative."""
MATRICES = frozenset({"addmm", "mm", "bmm", "baddbmm", "linear", "matmul"})
"""Products of matrices: after one, the units of a layer are in the last dimension; after a convolution, in the second.
"""


@dataclass
class Activity:
    """Hold how active the units of one layer are: sums over samples of the mean over positions.

    A unit of a convolutional layer is a channel, a unit of a layer on tokens is an entry of a token.

    Args:
        positive: (U,) float64, the share of positive values.
        magnitude: (U,) float64, the mean absolute value.
        samples: Number of samples.
    """

    positive: Tensor
    magnitude: Tensor
    samples: int = 0

    @property
    def units(self) -> int:
        """Return U, the number of units."""
        return len(self.positive)


@dataclass
class Activities:
    """Hold the activity of the layers of a model, in the order in which they run.

    Args:
        layers: Position of the activation in a forward pass, and its number of units -> its activity.
    """

    layers: dict[tuple[int, int], Activity] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Activity]:
        return iter([self.layers[place] for place in sorted(self.layers)])

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def active(self) -> list[Tensor]:
        """Return (U,) of each layer: the share of samples and positions on which a unit is positive."""
        return [layer.positive / layer.samples for layer in self]

    @property
    def magnitude(self) -> list[Tensor]:
        """Return (U,) of each layer: the mean absolute value of a unit over samples and positions."""
        return [layer.magnitude / layer.samples for layer in self]


def active_share(activities: Activities) -> float:
    """Return the fraction of active units: the share of units and samples whose value is positive; NaN without units.

    Source: Ma et al. 2024, arXiv 2310.07418. There units are averaged over the hidden layers, as here.
    """
    shares = activities.active
    return float(torch.cat(shares).mean()) if shares else float("nan")


def dormant_share(activities: Activities, tau: float) -> float:
    """Return the share of units whose mean absolute value is at most ``tau`` times the mean over their layer.

    Source: Sokar et al. 2023, arXiv 2302.12902.
    """
    found = [each <= tau * each.mean() for each in activities.magnitude]
    return float(torch.cat(found).double().mean()) if found else float("nan")


@contextmanager
def watched_activations(model: nn.Module) -> Iterator[Activities]:
    """Record the activity of a model's units in the forward passes that are made inside.

    The model and the results of its forward passes stay as they are. Each forward pass adds its samples, whether it
    computes gradients or not.

    Args:
        model: The model; its forward pass marks where counting of layers begins.

    Yields:
        The activities, which are complete when all forward passes are done.
    """
    fused_available()  # its first call in a process computes an activation of its own
    found = Activities()
    watch = _Watch(found)
    handle = model.register_forward_pre_hook(watch.begin)
    try:
        with watch:
            yield found
    finally:
        handle.remove()


def activations_of(model: nn.Module, batches: Iterable[Tensor]) -> Activities:
    """Return the activity of a model's units on batches of inputs (B, ...), in the mode in which the model is.

    No gradient is computed. Fused kernels that hide activations are avoided.
    """
    with watched_activations(model) as found, torch.enable_grad():
        for x in batches:
            model(x)
    return found


class _Watch(TorchDispatchMode):
    """See every operation, and record those that are activations.

    Args:
        found: Where activities are recorded.
    """

    def __init__(self, found: Activities) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._found = found
        self._place, self._after_convolution = 0, False

    def begin(self, _module: nn.Module, _inputs: Any) -> None:
        """Begin to count layers: a forward pass begins."""
        self._place, self._after_convolution = 0, False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        name = func._schema.name.partition("::")[2].rstrip("_")
        negative = name in CLAMPS and _is_relu(args, given) and bool((args[0] < 0).any())
        output = func(*args, **given)
        if "convolution" in name:
            self._after_convolution = True
        elif name in MATRICES:
            self._after_convolution = False
        fused = name == "_linear_pointwise" and any(isinstance(each, str) and each == "relu" for each in args)
        if fused:
            self._after_convolution = False
        if name in ACTIVATIONS or negative or fused:
            self._note(output)
        return output

    def _note(self, output: Any) -> None:
        value = output[0] if isinstance(output, tuple) else output
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.dim() < 2 or not len(value):
            return
        value = value.detach()
        unit = 1 if self._after_convolution or value.dim() == 2 else value.dim() - 1
        samples = len(value)
        spread = value.transpose(0, unit).reshape(value.shape[unit], -1)  # (U, samples and positions)
        share = samples / spread.shape[1]
        positive = (spread > 0).sum(1, dtype=torch.float64) * share
        magnitude = spread.abs().sum(1, dtype=torch.float64) * share
        place, self._place = (self._place, spread.shape[0]), self._place + 1
        held = self._found.layers.get(place)
        if held is None:
            self._found.layers[place] = Activity(positive, magnitude, samples)
        else:
            held.positive += positive
            held.magnitude += magnitude
            held.samples += samples


def _is_relu(args: Any, kwargs: Any) -> bool:
    """Return whether the bounds of a clamp are those of a ReLU or ReLU6."""
    low = args[1] if len(args) > 1 else kwargs.get("min")
    return isinstance(args[0], Tensor) and args[0].is_floating_point() and not isinstance(low, Tensor) and low == 0
