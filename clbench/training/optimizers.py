"""The benchmark's optimiser over some weights."""

from __future__ import annotations

import torch
from torch import nn

from clbench.benchmark.schema import Training


def optimizer(training: Training, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Return the benchmark's optimiser over some weights."""
    lr, decay = training.lr, training.weight_decay
    if training.optimizer == "sgd":
        return torch.optim.SGD(weights, lr=lr, momentum=training.momentum, weight_decay=decay)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    made: torch.optim.Optimizer = kinds[training.optimizer](weights, lr=lr, weight_decay=decay)
    return made
