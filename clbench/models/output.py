"""What a model returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """Logits and the features that the last layer reads them from.

    Args:
        logits: (B, C) scores of the output units, any real numbers.
        features: (B, H) input of the last linear layer.
    """

    logits: Tensor
    features: Tensor
