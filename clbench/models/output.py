"""The output of a model."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """Hold the logits and the features that the last layer reads.

    Args:
        logits: (B, C) scores of the output units, any real numbers.
        features: (B, H) input of the last linear layer.
    """

    logits: Tensor
    features: Tensor
