"""The weights of the model's last layer for given output units. Letters: C output units, P weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clbench.models.flat_weights import Flat


class HeadWeights:
    """Find the weights and biases of the model's ``head`` among the flat weights.

    Args:
        model: A model; one without an attribute ``head`` has no such weights.
        flat: Its flat weights.
    """

    def __init__(self, model: nn.Module, flat: Flat) -> None:
        head = getattr(model, "head", None)
        own = () if head is None else tuple(head.parameters())
        pairs = zip(flat.slices.values(), flat.parameters, strict=True)
        self._places = [(place, p.shape) for place, p in pairs if any(p is mine for mine in own)]
        self._like = flat.g

    def serving(self, units: Tensor) -> Tensor:
        """Return (P,) bool, the weights and biases of the output units (C,) bool.

        A single row that serves all units counts if all of them do.
        """
        mask = torch.zeros_like(self._like, dtype=torch.bool)
        for place, shape in self._places:
            each = shape[:1] == units.shape
            rows = units.reshape(-1, *(1 for _ in shape[1:])) if each else units.all()
            mask[place] = rows.expand(shape).reshape(-1)
        return mask
