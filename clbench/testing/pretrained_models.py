"""Small models that begin from given weights, for strategies that need them: made on the spot, nothing is downloaded.

In a benchmark file they are ``{name: FILE.py:mlp, weights: made}``. As with published weights, body and weights are the
same for every seed and strategy, and the head is new and follows the run's seed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from clbench.core.global_rng import preserved
from clbench.models import builders

SEEDS = {"made": 1}
"""Of the weights to begin with."""


def mlp(shape: tuple[int, ...], n_outputs: int, *, weights: Literal["made"], dropout: float = 0.0) -> Any:
    """A multilayer perceptron that begins from given weights.

    Args:
        shape: Shape of one row; flattened.
        n_outputs: Number of output units C.
        weights: Where they come from.
        dropout: Fraction of hidden units dropped while training, in [0, 1).
    """
    return _begun(weights, lambda: builders.mlp(shape, n_outputs, hidden=(12,), dropout=dropout))


def cnn(shape: tuple[int, ...], n_outputs: int, *, weights: Literal["made"]) -> Any:
    """A convolutional network that begins from given weights.

    Args:
        shape: (channels, height, width) of one image.
        n_outputs: Number of output units C.
        weights: Where they come from.
    """
    return _begun(weights, lambda: builders.cnn(shape, n_outputs, width=4, hidden=8))


def _begun(weights: str, make: Callable[[], Any]) -> Any:
    with preserved():
        torch.manual_seed(SEEDS[weights])
        model = make()
    model.head.reset_parameters()
    return model
