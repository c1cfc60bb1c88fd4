"""What a module of other people's does beside giving an answer: change its input, draw from Python's and NumPy's
generators. Found out once, on a copy; what would harm stored rows or make a run irreproducible is then provided for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clbench.core.global_rng import comparable_states, preserved

SEED = 0
"""Of the rows that a module is tried on."""


@dataclass
class Layer:
    """A linear layer of a module as it ran once.

    Args:
        name: Among ``module.named_modules()``.
        input, output: What went in and came out, of one row.
    """

    name: str
    input: Tensor
    output: Tensor


@dataclass
class Manners:
    """What was seen of a module.

    Args:
        output: What it gives for one row in evaluation mode.
        layers: Its linear layers, in the order in which they ran.
        changes_input: Whether it changes its input in place.
        draws: Whether it draws from Python's or NumPy's global generator.
        training: What it gives for two rows in training mode; ``None`` where it fails on them.
    """

    output: Any
    layers: list[Layer] = field(default_factory=list)
    changes_input: bool = False
    draws: bool = False
    training: Any = None


def rows(n: int, shape: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Rows (n, *shape) in [0, 1) to try a module on, always the same."""
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(SEED)).to(device)


def observe(module: nn.Module, shape: Sequence[int], *, gradients: bool = False) -> Manners:
    """Try a module on a row in evaluation mode, and on two in training mode; the generators are left as they were.

    Args:
        module: From rows (B, *shape) float32; a copy that nothing else uses, since it is hooked, and may be changed.
        shape: Of one row.
        gradients: Whether outputs keep their graph, so that it can be asked what depends on what.

    Raises:
        Exception: Whatever it raises in evaluation mode.
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
        output, changed = _try(module, rows(1, shape, device))
        found = Manners(output, list(layers), changed)
        if not gradients:
            module.train()
            with suppress(Exception):  # two rows may be too few for it: training will tell
                found.training, changed = _try(module, rows(2, shape, device))
                found.changes_input |= changed
        after = comparable_states()
        found.draws = any(after[name] != before[name] for name in ("random", "numpy"))
    return found


def _try(module: nn.Module, x: Tensor) -> tuple[Any, bool]:
    """What it gives, and whether ``x`` is another one afterwards: by torch's own count of changes, and by value."""
    version, before = x._version, x.clone()
    output = module(x)
    return output, x._version != version or not torch.equal(x, before)


def protect(module: nn.Module) -> None:
    """From now on give a module copies of its inputs, once and for all."""
    if _copies not in module._forward_pre_hooks.values():
        module.register_forward_pre_hook(_copies)


def _copies(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(each.clone() if isinstance(each, Tensor) else each for each in inputs)


def draws(module: nn.Module) -> bool:
    """Whether a module that :func:`clbench.models.wrap.wrap` returned draws from Python's or NumPy's generator."""
    return bool(module.__dict__.get("_draws", False))
