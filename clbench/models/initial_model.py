"""Make the model of a run with its initial weights, which depend on the benchmark and the seed alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from clbench.core.global_rng import preserved, seed_others
from clbench.core.rng import derive
from clbench.models import make
from clbench.models.user_models import build


def initial_model(
    network: Mapping[str, Any],
    shape: tuple[int, ...],
    n_outputs: int,
    *,
    seed: int,
    given: Any = None,
    tokens: bool = False,
) -> nn.Module:
    """Return a model with the run's initial weights, on the CPU.

    The global random number generators are as before afterwards.

    Args:
        network: Name and settings, as :func:`clbench.models.make` takes them.
        shape: The shape of one sample.
        n_outputs: C, output units.
        seed: The seed of the run.
        given: The user's own module, or a function ``(shape, n_outputs) -> module``, in place of ``network``.
        tokens: Whether samples are int64 tokens, not float32 values.
    """
    with preserved():
        seed_others(seed, "init")
        torch.manual_seed(derive(seed, "init"))
        if given is not None:
            return build(given, shape, n_outputs, tokens=tokens)
        model: nn.Module = make(network, shape, n_outputs)
        return model
