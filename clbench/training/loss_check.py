"""The check that losses are finite."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from clbench.core import host_reads


class Diverged(Exception):
    """Report that a value is not finite, which ends the run.

    Args:
        step: The optimiser step at which it was noticed.
        what: Description of what is not finite.
    """

    def __init__(self, step: int, what: str = "the model's outputs are not finite after") -> None:
        super().__init__(f"{what} step {step}; a smaller learning rate or strength may help")
        self.step = step


class LossCheck:
    """Check that the loss of every step is finite, on a GPU without waiting for it at every step.

    Args:
        device: The device of the losses.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._noted: list[tuple[int, Tensor]] = []

    def note(self, loss: Tensor, step: int) -> None:
        """Check the loss of a step, a scalar; on a GPU, :meth:`check` does so later.

        Raises:
            Diverged: It is not finite.
        """
        if host_reads.free(self._device):
            try:
                finite = math.isfinite(loss.item())
            except (RuntimeError, AttributeError):  # the other errors of item() are those of the device
                if isinstance(loss, Tensor) and loss.numel() == 1:
                    raise
                raise TypeError(_no_scalar(loss)) from None
            if not finite:
                raise Diverged(step, "the loss is not finite at")
        else:
            self._noted.append((step, loss.detach()))

    def check(self) -> None:
        """Check the losses noted since the last call.

        Raises:
            Diverged: One of them is not finite.
        """
        noted, self._noted = self._noted, []
        if noted:
            wrong = (~torch.stack([loss for _, loss in noted]).isfinite()).nonzero()
            if len(wrong):
                raise Diverged(noted[int(wrong[0])][0], "the loss is not finite at")


def _no_scalar(loss: object) -> str:
    """Return a sentence about a loss that is no scalar tensor."""
    found = f"has the shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"is {loss!r}"
    return (
        f"the loss of a step {found}, and has to be one number as a tensor: a hook (loss, objective) of a part returns "
        "something else; take the mean over samples, and do not forget the return"
    )
