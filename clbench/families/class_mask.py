"""The class mask: which classes compete on a sample, in the loss, in a prediction and in an evaluation."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ALL", "ClassMask"]


class ClassMask:
    """Say which classes compete: the same for all samples, or one answer for each sample.

    A class that does not compete gets the score -inf, so it has no share in a softmax and is never predicted.

    Args:
        competes: (C,) or (B, C) bool, True if the class competes; ``None`` if all classes compete on all samples.
    """

    __slots__ = ("_others", "competes")

    def __init__(self, competes: Tensor | None) -> None:
        self.competes = competes
        self._others: Tensor | None = None

    def __repr__(self) -> str:
        return f"ClassMask({'all' if self.competes is None else self.competes})"

    @property
    def per_row(self) -> bool:
        """Tell whether each sample has an answer of its own."""
        return self.competes is not None and self.competes.dim() == 2

    def masked(self, scores: Tensor, fill: float = -torch.inf) -> Tensor:
        """Return scores (B, C) with ``fill`` if a class does not compete; the same tensor if all classes do."""
        if self.competes is None:
            return scores
        if self._others is None:
            if torch.is_inference_mode_enabled():
                with torch.inference_mode(False):  # a mask made for an evaluation may serve a training step later
                    self._others = ~self.competes
            else:
                self._others = ~self.competes
        return scores.masked_fill(self._others, fill)

    def rows(self, which: slice | Tensor) -> ClassMask:
        """Return the class mask of some samples, by slice or by positions."""
        if self.competes is None or self.competes.dim() == 1:
            return self
        mask = ClassMask(self.competes[which])
        if self._others is not None:
            mask._others = self._others[which]
        return mask

    def expanded(self, scores: Tensor) -> Tensor:
        """Return the mask as a bool tensor in the shape (B, C) of some scores."""
        if self.competes is None:
            return torch.ones_like(scores, dtype=torch.bool)
        return self.competes.expand(scores.shape)

    def classes(self) -> Tensor | None:
        """Return (C,) bool, the classes that compete on at least one sample; ``None`` if all do."""
        return None if self.competes is None else self.competes.reshape(-1, self.competes.shape[-1]).any(0)

    def restricted(self, span: slice, classes: Tensor, rows: int) -> ClassMask:
        """Return a class mask in which only some of the competing classes compete on a range of samples.

        Args:
            span: The range, of ``rows`` samples in all; the mask of the other samples stays as it is.
            classes: (C,) bool, the classes that may still compete there.
            rows: B.
        """
        if self.competes is None:
            competes = torch.ones(rows, len(classes), dtype=torch.bool, device=classes.device)
        else:
            competes = self.competes.expand(rows, len(classes)).clone()
        competes[span] &= classes
        return ClassMask(competes)

    def opened(self, span: slice, scores_shape: tuple[int, int]) -> ClassMask:
        """Return a class mask in which all classes compete on a range of samples; the others keep theirs.

        Args:
            span: The range.
            scores_shape: (B, C).
        """
        if self.competes is None:
            return self
        competes = self.competes.expand(scores_shape).clone()
        competes[span] = True
        return ClassMask(competes)


ALL = ClassMask(None)
"""The class mask in which all classes compete."""
