"""Running statistics of batch norms in a part's own loop: which of them change, and how they are recomputed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.models.weight_groups import Group
    from clbench.training.learner import Learner

CHUNK = 512
"""Largest number of samples for a batch norm when its statistics are recomputed."""


@contextmanager
def norm_modes(learner: Learner, training: tuple[Group, ...]) -> Iterator[None]:
    """Put norm layers with running statistics into evaluation mode, except those of some groups."""
    from clbench.models import weight_groups

    table = weight_groups.groups(weight_groups.layers(learner.model, learner.slices))
    moving = weight_groups.norms(learner.model, training)
    kept = [(module, module.training) for module in weight_groups.norms(learner.model, table)]
    for module, _ in kept:
        module.train(any(module is other for other in moving))
    try:
        yield
    finally:
        for module, mode in kept:
            module.train(mode)


def recompute(learner: Learner, chosen: tuple[Group, ...], index: Tensor) -> None:
    """Set the norm layers of some groups to the statistics of samples (5, N): averages over chunks of equal size."""
    import torch

    from clbench.models import weight_groups

    own = weight_groups.norms(learner.model, chosen)
    modes = [(module, module.training) for module in learner.model.modules()]
    momenta = [module.momentum for module in own]
    for module, _ in modes:
        module.__dict__["training"] = any(module is other for other in own)
    for module in own:
        module.reset_running_stats()  # type: ignore[operator]
        module.momentum = None  # type: ignore[assignment]  # cumulative averages
    try:
        with torch.no_grad():
            for rows in index.tensor_split(-(-index.shape[1] // CHUNK), dim=1):
                learner.model(learner.batch(rows).x)
                learner.cost.extra_forward_rows += rows.shape[1]
    finally:
        for module, mode in modes:
            module.__dict__["training"] = mode
        for module, momentum in zip(own, momenta, strict=True):
            module.momentum = momentum
