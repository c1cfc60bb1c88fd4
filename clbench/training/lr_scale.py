"""Learning rates of kinds of weights: the change that a step makes is multiplied by a factor. Letters: P weights."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from clbench.benchmark.rate_factors import BODY
from clbench.core.errors import Refused
from clbench.models import weight_groups
from clbench.models.weight_groups import Group

Ranges = tuple[tuple[int, int, float], ...]
"""Start and end in the flat weights, and the factor, in order; a factor of 1 is left out."""


def ranges(model: nn.Module, slices: Mapping[str, slice], factors: Mapping[str, float]) -> Ranges:
    """Return the ranges of weights whose steps are multiplied, and by what.

    Args:
        model: Any model with a ``head``.
        slices: Parameter name -> its slice of the flat weights.
        factors: Kind of weights -> factor, as :func:`clbench.models.weight_groups.select` takes kinds; ``body`` is all
            that is not the head, and other kinds count before it.

    Raises:
        Refused: The model has no weights of a kind, or two kinds but ``body`` have weights in common.
    """
    found = weight_groups.groups(weight_groups.layers(model, slices))
    scale = torch.ones(sum(each.stop - each.start for each in slices.values()), dtype=torch.float64)
    taken: dict[str, Tensor] = {}
    for kind, factor in sorted(factors.items(), key=lambda entry: entry[0] != BODY):
        own = weight_groups.mask(_chosen(found, kind), scale)
        for other, mask in taken.items():
            if BODY not in (kind, other) and bool((own & mask).any()):
                raise Refused(
                    f"training.lr_scale gives two factors to the same weights: {other} and {kind} overlap; name kinds "
                    "that have no weights in common",
                    "lr_scale",
                )
        taken[kind] = own
        scale[own] = factor
    edges = [0, *((scale[1:] != scale[:-1]).nonzero().flatten() + 1).tolist(), len(scale)]
    spans = ((start, stop, float(scale[start])) for start, stop in pairwise(edges) if start < stop)
    return tuple(span for span in spans if span[2] != 1.0)


def _chosen(found: tuple[Group, ...], kind: str) -> tuple[Group, ...]:
    if kind == BODY:
        body = tuple(group for group in found if group.kind != "head")
        if not body:
            raise Refused(
                "training.lr_scale has a factor for body, and all that is trained is the head (the last layer); leave "
                "body out, or train more of the model",
                "lr_scale",
            )
        return body
    try:
        return weight_groups.select(found, kind)
    except Refused as error:
        raise Refused(f"training.lr_scale: {error}; body is all but the head", "lr_scale") from None


class ScaledSteps:
    """Multiply the change that each step of an optimiser makes.

    It is the step at a learning rate that is as many times larger, for every optimiser whose step is linear in the
    rate: SGD, with momentum and decay, Adam and AdamW among them. Momentum and moments stay as they are. Weights with
    the factor 0 keep their bits.

    Args:
        ranges: As :func:`ranges` returns them.
    """

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges
        self._before: list[Tensor] = []  # kept between steps, since fresh memory costs more than the copy

    def __deepcopy__(self, memo: object) -> ScaledSteps:
        return ScaledSteps(self._ranges)

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Multiply the steps of an optimiser over the flat weights, or over the parameters one by one in their
        order."""
        optimizer.register_step_pre_hook(self._keep)
        optimizer.register_step_post_hook(self._multiply)

    def _keep(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        pieces = [piece for piece, _ in self._pieces(optimizer)]
        if [(b.shape, b.dtype, b.device) for b in self._before] != [(p.shape, p.dtype, p.device) for p in pieces]:
            self._before = [torch.empty_like(piece) for piece in pieces]
        for before, piece in zip(self._before, pieces, strict=True):
            before.copy_(piece)

    def _multiply(self, optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        for before, (piece, factor) in zip(self._before, self._pieces(optimizer), strict=True):
            if factor == 0.0:
                piece.copy_(before)
            else:
                torch.lerp(before, piece, factor, out=piece)  # before + factor · (piece - before)

    def _pieces(self, optimizer: torch.optim.Optimizer) -> list[tuple[Tensor, float]]:
        """Return pieces of the weights that an optimiser steps, without graph, and their factors."""
        weights = [w for group in optimizer.param_groups for w in group["params"]]
        pieces, start = [], 0
        for w in weights:
            flat, stop = w.detach().view(-1), start + w.numel()
            for first, last, factor in self._ranges:
                if first < stop and last > start:
                    pieces.append((flat[max(first - start, 0) : last - start], factor))
            start = stop
        return pieces
