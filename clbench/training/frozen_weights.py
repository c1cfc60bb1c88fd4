"""Weights that a step must not move, by masks that add up. Letters: P weights."""

from __future__ import annotations

import torch
from torch import Tensor

from clbench.core import host_reads
from clbench.models.flat_weights import Flat

UNSEEN, IDLE = "unseen heads", "idle heads"
"""Names of the masks that the learner itself sets."""
INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integer type of as many bytes as a number."""


MOST_RANGES = 32
"""Largest number of ranges of frozen weights that are kept one by one."""


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
        self._ranges: tuple[Tensor, int, int, tuple[slice, ...] | None] = (torch.empty(0), 0, 0, None)

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
        spans = self._spans(frozen)
        if spans is not None:
            kept_spans = {name: [t[span].clone() for span in spans] for name, t in self._held(optimizer)}
            optimizer.step()
            for name, tensor in self._held(optimizer):
                for place, span in enumerate(spans):
                    if name in kept_spans:
                        tensor[span].copy_(kept_spans[name][place])
                    else:  # a moment that this step created
                        tensor[span].zero_()
            return
        before = {name: t.clone() for name, t in self._held(optimizer)}
        optimizer.step()
        for name, tensor in self._held(optimizer):
            kept = self._all_bits(frozen, INTEGERS[tensor.element_size()])
            now = tensor.view(kept.dtype)
            old = before[name].view(kept.dtype) if name in before else 0  # a moment that this step created
            now.bitwise_xor_((now ^ old).bitwise_and_(kept))  # much faster than a selection by mask

    def _spans(self, mask: Tensor) -> tuple[slice, ...] | None:
        """Return the ranges of a mask (P,) if they are few, which are kept faster than single weights.

        They are ``None`` if they are many, in the first step with a mask, which may be the only one, and on a GPU,
        which would have to wait for them.
        """
        if not host_reads.free(mask.device):
            return None
        known, version, steps, spans = self._ranges
        if known is not mask or version != mask._version:
            self._ranges = (mask, mask._version, 1, None)
            return None
        if steps == 1:
            spans = _ranges_of(mask)
        self._ranges = (mask, version, steps + 1, spans)
        return spans

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


def _ranges_of(mask: Tensor) -> tuple[slice, ...] | None:
    """Return the ranges where a mask (P,) is true, in order; ``None`` if they are more than :data:`MOST_RANGES`."""
    edge = mask.new_zeros(1)
    ends = torch.cat([edge, mask, edge]).to(torch.int8).diff().nonzero().flatten()
    if len(ends) > 2 * MOST_RANGES:
        return None
    return tuple(slice(start, stop) for start, stop in ends.view(-1, 2).tolist())
