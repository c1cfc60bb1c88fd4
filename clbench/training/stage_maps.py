"""The feature maps of a convolutional model's stages in a pass, with their graph.

A stage is all that is computed at one resolution. Letters: B samples of a batch, C channels of a map.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd

MAPS = "stage_maps"
"""Attribute of the features of an output: the maps of its pass."""


class StageMaps:
    """Note the last map (B, C, height, width) of each resolution in every pass of a model that has a graph.

    A map is the output of a module, and a resolution counts if a convolution has made a map of it. So what pools the
    last map counts for nothing. Where an activation is no module, the map is the one before it.

    Args:
        model: Returns ``Output``. It gets hooks, until :meth:`close`.
    """

    def __init__(self, model: nn.Module) -> None:
        self._last: dict[tuple[int, int], Tensor] = {}
        self._counted: set[tuple[int, int]] = set()
        self._always = False
        self._handles = [model.register_forward_pre_hook(self._begin), model.register_forward_hook(self._end)]
        inner = [module for module in model.modules() if module is not model]
        self._handles += [module.register_forward_hook(self._note) for module in inner]

    def __deepcopy__(self, memo: dict[int, Any]) -> StageMaps:
        """Return a recorder without a model, so that a copy of the model is free of the maps of this one."""
        made = object.__new__(StageMaps)
        made._last, made._counted, made._always, made._handles = {}, set(), False, []
        return made

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    @contextmanager
    def without_graph(self) -> Iterator[None]:
        """Note maps in passes without a graph too, while the block runs."""
        self._always = True
        try:
            yield
        finally:
            self._always = False

    def _begin(self, _module: nn.Module, _inputs: Any) -> None:
        self._last.clear()
        self._counted.clear()

    def _note(self, module: nn.Module, _inputs: Any, output: Any) -> None:
        if not (self._always or torch.is_grad_enabled()) or not isinstance(output, Tensor) or output.dim() != 4:
            return
        size = (output.shape[2], output.shape[3])
        self._last[size] = output
        if isinstance(module, _ConvNd):
            self._counted.add(size)

    def _end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        features = output.features
        maps = tuple(m for size, m in self._last.items() if size in self._counted and len(m) == len(features))
        self._begin(module, inputs)
        if maps:
            setattr(features, MAPS, maps)


def maps_of(features: Tensor) -> tuple[Tensor, ...]:
    """Return the maps of the pass that made these features, from the first stage on; empty if none were noted."""
    maps: tuple[Tensor, ...] = getattr(features, MAPS, ())
    return maps


def pooled(each: Tensor) -> Tensor:
    """Return the squares of a map (B, C, h, w), summed over width and over height: (B, C (h + w)) of unit length."""
    squares = each.float().square()
    return F.normalize(torch.cat([squares.sum(3).flatten(1), squares.sum(2).flatten(1)], dim=1), dim=1)


def pooled_distance(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> Tensor:
    """Return the mean over maps and samples of the distance between :func:`pooled` maps, a scalar.

    Source: Douillard et al. 2020, arXiv 2004.13513, section 3.1, and its code.
    """
    each = [torch.linalg.vector_norm(pooled(a) - pooled(b), dim=1).mean() for a, b in zip(ours, theirs, strict=True)]
    return torch.stack(each).mean()
