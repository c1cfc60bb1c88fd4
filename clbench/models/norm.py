"""The normalisation layers of convolutional models."""

from __future__ import annotations

import math

from torch import nn


def norm_layer(kind: str, channels: int) -> nn.Module:
    """Return a normalisation layer for ``channels``: ``group``, ``batch`` or ``none``.

    Group normalisation has the largest number of equal groups that divides 8, so that any width is possible.
    """
    if kind == "group":
        return nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.Identity()
