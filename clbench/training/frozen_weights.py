"""Weights that a step must not move, by masks that add up. Letters: P weights."""

from __future__ import annotations

import torch
from torch import Tensor

from clbench.models.flat_weights import Flat

UNSEEN, IDLE = "unseen heads", "idle heads"
"""Names of the masks that the learner itself sets."""
INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integer type of as many bytes as a number."""


class FrozenWeights:
    """Keep named masks of weights, and make optimiser steps without changing those weights.

    Args:
        flat: The flat weights.

    Attributes:
        masks: Name -> (P,) bool, true if a weight must not move.
    """

    def __init__(self, flat: Flat) -> None:
        self.masks: dict[str, Tensor] = {}
        self._w = flat.w
        self._bits = (torch.empty(0), 0, torch.empty(0))

    def freeze(self, name: str, mask: Tensor | None) -> None:
        """Set the mask (P,) of a name; ``None`` removes it."""
        if mask is None:
            self.masks.pop(name, None)
        else:
            self.masks[name] = mask

    @property
    def mask(self) -> Tensor | None:
        """Return the weights (P,) bool that any mask freezes; ``None`` for none."""
        masks = list(self.masks.values())
        if not masks:
            return None
        return masks[0] if len(masks) == 1 else torch.stack(masks).any(0)

    @property
    def outline(self) -> tuple[object, ...]:
        """Return an outline of the masks that parts have set; equal if none of them was replaced."""
        return tuple((name, id(mask)) for name, mask in self.masks.items() if name not in (UNSEEN, IDLE))

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Make one optimiser step; frozen weights, their momentum and their moments stay as they are."""
        frozen = self.mask
        if frozen is None:
            optimizer.step()
            return
        before = {name: t.clone() for name, t in self._held(optimizer)}
        optimizer.step()
        for name, tensor in self._held(optimizer):
            kept = self._all_bits(frozen, INTEGERS[tensor.element_size()])
            now = tensor.view(kept.dtype)
            old = before[name].view(kept.dtype) if name in before else 0  # a moment that this step created
            now.bitwise_xor_((now ^ old).bitwise_and_(kept))  # much faster than a selection by mask

    def _all_bits(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        """Return integers with all bits set if a mask (P,) is true; computed anew only for another mask."""
        known, version, bits = self._bits
        if known is not mask or version != mask._version or bits.dtype != dtype:
            bits = mask.to(dtype).neg_()
            self._bits = (mask, mask._version, bits)
        return bits

    def _held(self, optimizer: torch.optim.Optimizer) -> list[tuple[str, Tensor]]:
        """Return weights and the optimiser's tensors of the same shape, by name."""
        state = {"w": self._w.data, **optimizer.state.get(self._w, {})}
        return [(name, t) for name, t in state.items() if isinstance(t, Tensor) and t.shape == self._w.shape]
