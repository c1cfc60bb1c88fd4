"""Inputs of evaluations that are made chunk by chunk, where all of them at once would take much memory."""

from __future__ import annotations

import torch
from torch import Tensor

from clbench.training.device_rows import Resident

MOST_BYTES = 256 << 20
"""Size above which the inputs of all evaluation samples are not kept as floats. It changes no result."""


class OnDemand:
    """Make inputs of evaluation samples when they are read; only the stored samples stay in memory.

    Each reading returns a new tensor, with the same bits that all inputs made at once would have.

    Args:
        split: The stored samples.
        rows: (u,) sample of each input.
        view: (u,) view under which each is shown.
        dtype: Type of inputs that are no tokens.
    """

    def __init__(self, split: Resident, rows: Tensor, view: Tensor, dtype: torch.dtype) -> None:
        self._split, self._rows, self._view, self._dtype = split, rows, view, dtype
        self._room: Tensor | None = None  # one piece of memory for all chunks

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, which: slice | Tensor) -> Tensor:
        """Return some inputs (n, ...), by slice or by positions (n,)."""
        with torch.inference_mode(False), torch.no_grad():  # what a transform keeps for later serves training too
            rows = self._rows[which]
            if self._room is None or len(self._room) < len(rows):
                self._room = self._split.x.new_empty((len(rows), *self._split.x.shape[1:]))
            x = self._split.present(rows, self._view[which], room=self._room)
            return x.to(self._dtype) if x.is_floating_point() else x

    def only(self, which: slice | Tensor) -> OnDemand:
        """Return some of the inputs, not made yet, by slice or by positions (n,)."""
        return OnDemand(self._split, self._rows[which], self._view[which], self._dtype)


Inputs = Tensor | OnDemand
"""Inputs (u, ...) of evaluations, made or not: both have a length, and a slice or positions of them are a tensor."""


def only(x: Inputs, which: slice | Tensor) -> Inputs:
    """Return some inputs, by slice or by positions; those that are made on demand stay so."""
    return x.only(which) if isinstance(x, OnDemand) else x[which]


def inputs(split: Resident, rows: Tensor, view: Tensor, dtype: torch.dtype) -> Inputs:
    """Return the inputs of samples (u,) under their views (u,): a tensor, or made on demand if it would be large.

    Args:
        split, rows, view, dtype: As for :class:`OnDemand`.
    """
    later = OnDemand(split, rows, view, dtype)
    values = len(rows) * split.x.shape[1:].numel()
    return later if values * torch.float32.itemsize > MOST_BYTES else later[:]
