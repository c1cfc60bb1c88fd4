"""Losses that are not finite end a run."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Diverged(Exception):
    """Something that has to be finite is not; the run ends.

    Args:
        step: Where it showed, in optimiser steps.
        what: What it was.
    """

    def __init__(self, step: int, what: str = "the model's outputs are not finite after") -> None:
        super().__init__(f"{what} step {step}; a smaller learning rate or strength may help")
        self.step = step


class LossCheck:
    """Check that the loss of every step is finite, on a GPU without a wait at every step.

    Args:
        device: Where losses live.
    """

    def __init__(self, device: torch.device) -> None:
        self._at_once = device.type == "cpu"
        self._noted: list[tuple[int, Tensor]] = []

    def note(self, loss: Tensor, step: int) -> None:
        """Check the loss of a step, a scalar; on a GPU :meth:`check` does so later.

        Raises:
            Diverged: It is not finite.
        """
        if self._at_once:
            if not math.isfinite(loss.item()):
                raise Diverged(step, "the loss is not finite at")
        else:
            self._noted.append((step, loss.detach()))

    def check(self) -> None:
        """Check the losses noted since the last time.

        Raises:
            Diverged: One of them is not finite.
        """
        noted, self._noted = self._noted, []
        if noted:
            wrong = (~torch.stack([loss for _, loss in noted]).isfinite()).nonzero()
            if len(wrong):
                raise Diverged(noted[int(wrong[0])][0], "the loss is not finite at")
