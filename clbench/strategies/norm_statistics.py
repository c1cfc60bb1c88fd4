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
    from clbench.models.module_modes import preserved_modes

    table = weight_groups.groups(weight_groups.layers(learner.model, learner.slices))
    moving = weight_groups.norms(learner.model, training)
    norms = weight_groups.norms(learner.model, table)
    with preserved_modes(norms):
        for module in norms:
            module.train(any(module is other for other in moving))
        yield


def recompute(learner: Learner, chosen: tuple[Group, ...], index: Tensor) -> None:
    """Set the norm layers of some groups to the statistics of samples (5, N): averages over chunks of equal size."""
    import torch

    from clbench.models import weight_groups
    from clbench.models.module_modes import preserved_modes

    own = weight_groups.norms(learner.model, chosen)
    modules, momenta = list(learner.model.modules()), [module.momentum for module in own]
    for module in own:
        module.reset_running_stats()  # type: ignore[operator]
        module.momentum = None  # type: ignore[assignment]  # cumulative averages
    try:
        with preserved_modes(modules), torch.no_grad():
            for module in modules:
                module.__dict__["training"] = any(module is other for other in own)
            for rows in index.tensor_split(-(-index.shape[1] // CHUNK), dim=1):
                learner.run(learner.batch(rows))
                learner.cost.extra_forward_rows += rows.shape[1]
    finally:
        for module, momentum in zip(own, momenta, strict=True):
            module.momentum = momentum
