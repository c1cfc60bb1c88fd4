"""What a run reveals to its strategy or provides it with: what a part may need."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.conv import _ConvNd

from clbench.benchmark.run_settings import RunSettings
from clbench.core.types import Stream
from clbench.models.transformer import is_transformer
from clbench.scenarios import shows_boundaries
from clbench.training.buffer_policies import POLICIES, Chosen

OF_MODELS = frozenset({"convolutions", "linear_layers", "transformer"})
"""What a part may need of the network, which is known when it is made."""


def provided_by(model: nn.Module) -> frozenset[str]:
    """Return what a network provides, of :data:`OF_MODELS`."""
    head = getattr(model, "head", None)
    last = set(head.modules()) if isinstance(head, nn.Module) else set()
    provided = {
        "convolutions": any(isinstance(module, _ConvNd) for module in model.modules()),
        "linear_layers": any(isinstance(module, nn.Linear) and module not in last for module in model.modules()),
        "transformer": is_transformer(model),
    }
    return frozenset(name for name, there in provided.items() if there)


def revealed(stream: Stream, settings: RunSettings, *, has_weights: bool = False) -> frozenset[str]:
    """Return what a run reveals or provides, of ``clbench.strategies.part.NEEDS``, without what its network provides.

    Args:
        stream: The stream of the benchmark.
        settings: The settings of the run.
        has_weights: Whether the user's own model has weights already.
    """
    memory = settings.memory
    provided = {
        "task_labels": stream.task_labels,
        "single_tasks": not stream.task_labels or all(len(experience.tasks) == 1 for experience in stream),
        "boundaries": shows_boundaries(stream),
        "memory": memory.size > 0,
        "length": "length" in settings.reveal,
        "augmentation": settings.training.augment != "none",
        "pretrained": settings.model.has_weights or has_weights,
        "side_tensors": memory.admit != "end" and not issubclass(POLICIES[memory.policy], Chosen),
    }
    return frozenset(name for name, there in provided.items() if there)
