"""Side effects of a user's module: changes of its input, draws from Python's and NumPy's generators.

They are detected once, on a copy. clbench then protects stored samples and the reproducibility of runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clbench.core.global_rng import comparable_states, preserved

SEED = 0
"""Seed of the samples on which a module is tried."""


@dataclass
class Layer:
    """Describe a linear layer of a module after one forward pass.

    Args:
        name: Name among ``module.named_modules()``.
        input, output: Input and output of the layer for one sample.
    """

    name: str
    input: Tensor
    output: Tensor


@dataclass
class Manners:
    """Describe the observed behaviour of a module.

    Args:
        output: Output for one sample in evaluation mode.
        layers: Linear layers, in the order in which they ran.
        changes_input: Whether it changes its input in place.
        draws: Whether it draws from Python's or NumPy's global generator.
        training: Output for two samples in training mode; ``None`` if it fails on them.
    """

    output: Any
    layers: list[Layer] = field(default_factory=list)
    changes_input: bool = False
    draws: bool = False
    training: Any = None


def rows(n: int, shape: Sequence[int], device: torch.device | str = "cpu", *, tokens: bool = False) -> Tensor:
    """Return samples (n, *shape) in [0, 1), or tokens 0, for trying a module; they are always the same."""
    if tokens:
        return torch.zeros(n, *shape, dtype=torch.int64, device=device)
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(SEED)).to(device)


def observe(module: nn.Module, shape: Sequence[int], *, gradients: bool = False, tokens: bool = False) -> Manners:
    """Try a module on one sample in evaluation mode and on two in training mode; generators are restored.

    Args:
        module: A module on samples (B, *shape) float32. It must be an unused copy, since it gets hooks and may be
            changed.
        shape: Shape of one sample.
        gradients: Whether outputs keep their graph, so that dependencies can be determined.
        tokens: Whether samples are int64 tokens.

    Raises:
        Exception: The module raises an error in evaluation mode.
    """
    module.eval()
    layers: list[Layer] = []
    for name, layer in module.named_modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_hook(
                lambda _, inputs, output, name=name: layers.append(Layer(name, inputs[0], output))
            )
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    before = comparable_states()
    with preserved(device), torch.set_grad_enabled(gradients):
        output, changed = _try(module, rows(1, shape, device, tokens=tokens))
        found = Manners(output, list(layers), changed)
        if not gradients:
            module.train()
            with suppress(Exception):  # two samples may be too few; training will show it
                found.training, changed = _try(module, rows(2, shape, device, tokens=tokens))
                found.changes_input |= changed
        after = comparable_states()
        found.draws = any(after[name] != before[name] for name in ("random", "numpy"))
    return found


def _try(module: nn.Module, x: Tensor) -> tuple[Any, bool]:
    """Return the output, and whether ``x`` was changed: by torch's counter of changes, and by value."""
    version, before = x._version, x.clone()
    output = module(x)
    return output, x._version != version or not torch.equal(x, before)


def protect(module: nn.Module) -> None:
    """Make a module receive copies of its inputs from now on."""
    if _copies not in module._forward_pre_hooks.values():
        module.register_forward_pre_hook(_copies)


def _copies(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(each.clone() if isinstance(each, Tensor) else each for each in inputs)


def draws(module: nn.Module) -> bool:
    """Return whether a module from :func:`clbench.models.wrap.wrap` draws from Python's or NumPy's generator."""
    return bool(module.__dict__.get("_draws", False))
