"""Small models with given initial weights, for strategies that need them; they are made locally, without downloads.

In a benchmark file they are ``{name: FILE.py:mlp, weights: made}``. As with published weights, body and weights are
equal for every seed and strategy, and the head is new and depends on the run's seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from clbench.core.global_rng import preserved
from clbench.models import builders

SEEDS = {"made": 1}
"""Seed of the initial weights."""


def mlp(shape: tuple[int, ...], n_outputs: int, *, weights: Literal["made"], dropout: float = 0.0) -> Any:
    """Build a multilayer perceptron with given initial weights.

    Args:
        shape: Shape of one sample, which is flattened.
        n_outputs: Number of output units C.
        weights: Name of the initial weights.
        dropout: Fraction of hidden units that dropout removes in training, in [0, 1).
    """
    return _begun(weights, lambda: builders.mlp(shape, n_outputs, hidden=(12,), dropout=dropout))


def cnn(shape: tuple[int, ...], n_outputs: int, *, weights: Literal["made"]) -> Any:
    """Build a convolutional network with given initial weights.

    Args:
        shape: (channels, height, width) of one image.
        n_outputs: Number of output units C.
        weights: Name of the initial weights.
    """
    return _begun(weights, lambda: builders.cnn(shape, n_outputs, width=4, hidden=8))


def _begun(weights: str, make: Callable[[], Any]) -> Any:
    with preserved():
        torch.manual_seed(SEEDS[weights])
        model = make()
    model.head.reset_parameters()
    return model
