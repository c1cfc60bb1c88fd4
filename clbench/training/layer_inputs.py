"""The inputs that linear and convolutional layers read in a forward pass, one row for each product with the weights.

The gradient of a layer's weight matrix is a sum of such rows, each times a backward signal. So it lies in their span,
on which methods of gradient projection are built. Letters: n rows, I fan-in of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

Rows = dict[str, Tensor]
"""Name of a layer, as in ``named_modules`` -> its inputs (n, I)."""


@contextmanager
def recorded(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Record the inputs of each linear and convolutional layer while the block runs the model.

    Args:
        model: Any module. A layer counts when it is called as a module, also under other weights
            (``torch.func.functional_call``); a layer whose weights another module uses does not.

    Yields:
        Name of a layer -> a list with a tensor (n, I) for each call of it. Layers that share their weights share the
        name of the first.
    """
    seen: dict[str, list[Tensor]] = {}
    names: dict[int, str] = {}
    handles = []
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Linear | _ConvNd) or isinstance(layer, _ConvTransposeNd):
            continue
        shared = names.setdefault(id(layer.weight), name)

        def note(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], name: str = shared) -> None:
            x: Tensor = args[0] if args else kwargs["input"]
            assert isinstance(layer.weight, Tensor)
            seen.setdefault(name, []).append(as_rows(layer, x.detach().to(layer.weight.dtype)))

        handles.append(layer.register_forward_pre_hook(note, with_kwargs=True))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def joined(seen: dict[str, list[Tensor]]) -> Rows:
    """Return what :func:`recorded` recorded, with the tensors of a layer joined."""
    return {name: found[0] if len(found) == 1 else torch.cat(found) for name, found in seen.items()}


def as_rows(layer: nn.Module, x: Tensor) -> Tensor:
    """Return the input of a layer as rows that its weight matrix multiplies.

    Args:
        layer: A linear layer, or a convolution of 1 to 3 dimensions.
        x: Its input: (..., I) of a linear layer, of which each position is a row, or (B, channels, ...) of a
            convolution.

    Returns:
        (n, I), a copy. A row of a convolution is a patch: I = channels / groups x kernel, in the order of
        ``weight.flatten(1)``; the patches of all groups are rows.
    """
    if isinstance(layer, nn.Linear):
        return x.reshape(-1, x.shape[-1]).clone()  # the next operation may change x in place
    assert isinstance(layer, _ConvNd)
    sizes = zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)
    if x.dim() == len(layer.kernel_size) + 1:
        x = x[None]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    for axis, (kernel, stride, dilation) in enumerate(sizes, start=2):
        x = x.unfold(axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
    x = x.unflatten(1, (layer.groups, -1))  # (B, groups, channels / groups, *positions, *kernel)
    places = range(3, x.dim())
    half = len(layer.kernel_size)
    rows = x.permute(0, 1, *places[:half], 2, *places[half:]).flatten(-1 - half)
    return rows.reshape(-1, rows.shape[-1]).contiguous()
