"""clbench: continual-learning benchmarks that evaluate at every iteration.

Public names are loaded at first use; importing this package imports no torch.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PUBLIC = {
    "Batch": "clbench.training.batch",
    "ClassMask": "clbench.families.class_mask",
    "CompetingClasses": "clbench.training.competing_classes",
    "Dataset": "clbench.core.types",
    "Draw": "clbench.training.replay_buffer",
    "Experience": "clbench.core.types",
    "ExperienceView": "clbench.training.learner",
    "Family": "clbench.families.family",
    "Learner": "clbench.training.learner",
    "Memory": "clbench.training.replay_buffer",
    "Output": "clbench.models.output",
    "Part": "clbench.strategies.part",
    "Record": "clbench.core.record",
    "Refused": "clbench.core.errors",
    "Search": "clbench.core.search_space",
    "SideWork": "clbench.training.side_work",
    "Source": "clbench.training.batch",
    "Stream": "clbench.core.types",
    "Task": "clbench.core.types",
    "Trace": "clbench.core.record",
    "ablate": "clbench.ablation",
    "board": "clbench.api",
    "diff": "clbench.api",
    "export_model": "clbench.running.saved_models",
    "forget": "clbench.api",
    "from_avalanche": "clbench.adapters.avalanche.from_avalanche",
    "html": "clbench.leaderboard.notebook",
    "load": "clbench.api",
    "load_model": "clbench.running.saved_models",
    "merge": "clbench.api",
    "numbers": "clbench.api",
    "plot": "clbench.api",
    "run": "clbench.api",
    "status": "clbench.api",
    "stream": "clbench.api",
    "tune": "clbench.tuning",
    "submit": "clbench.submission.bundle_writer",
    "to_avalanche": "clbench.adapters.avalanche.to_avalanche",
    "verify": "clbench.submission.verification",
    "weight_path": "clbench.running.weight_path",
    "write_site": "clbench.site",
}

_ROOMS = (
    "benchmark", "core", "data", "families", "leaderboard", "metrics", "models", "plots", "running", "scenarios",
    "strategies", "testing", "training",
)  # fmt: skip
"""Packages that are imported at first use too, such as ``clbench.data``."""

__version__ = "0.1.0"
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC and name not in _ROOMS:
        raise AttributeError(f"clbench has no {name!r}; public names: {', '.join(sorted(_PUBLIC))}")
    from importlib import import_module

    if name in _ROOMS:
        return import_module(f"clbench.{name}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
