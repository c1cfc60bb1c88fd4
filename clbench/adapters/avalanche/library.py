"""Imports of avalanche-lib: everything that clbench uses of it, imported once (it takes seconds), without its
warnings."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from clbench.core.compat import import_torchvision

PACKAGES = ("avalanche", "torchvision", "wandb", "qpsolvers", "torchmetrics", "pytorchcv", "tensorboard", "pycocotools")
OWN = re.compile(rf"[/\\]({'|'.join(PACKAGES)})[/\\]")
"""Files whose warnings do not concern the user's run: those of avalanche-lib and its dependencies."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of avalanche-lib and its imports about themselves; all others stay.

    Filters alone are not sufficient: its own annotations put their filters first whenever they warn.
    """
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_others(message: Any, category: Any, filename: str, *rest: Any) -> None:
            if not OWN.search(filename):
                show(message, category, filename, *rest)

        warnings.showwarning = show_others  # type: ignore[assignment]
        for package in PACKAGES:
            warnings.filterwarnings("ignore", module=rf"{package}(\.|$)")
        yield


VERSION = version("avalanche-lib")

with quiet():
    import_torchvision()
    import avalanche.models as models
    import avalanche.training.plugins as plugins
    import avalanche.training.storage_policy as storage
    import avalanche.training.supervised as supervised
    from avalanche.benchmarks.scenarios.dataset_scenario import DatasetExperience
    from avalanche.benchmarks.utils import AvalancheDataset, _make_taskaware_classification_dataset
    from avalanche.core import BasePlugin, SupervisedPlugin
    from avalanche.models import DynamicModule, MultiTaskModule, NCMClassifier, SCRModel
    from avalanche.models.base_model import BaseModel
    from avalanche.models.dynamic_modules import avalanche_model_adaptation
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.plugins.clock import Clock
    from avalanche.training.storage_policy import ExemplarsBuffer
    from avalanche.training.templates.base import BaseTemplate
    from avalanche.training.utils import ParamData

__all__ = [
    "VERSION",
    "AvalancheDataset",
    "BaseModel",
    "BasePlugin",
    "BaseTemplate",
    "Clock",
    "DatasetExperience",
    "DynamicModule",
    "EvaluationPlugin",
    "ExemplarsBuffer",
    "MultiTaskModule",
    "NCMClassifier",
    "ParamData",
    "SCRModel",
    "SupervisedPlugin",
    "_make_taskaware_classification_dataset",
    "avalanche_model_adaptation",
    "models",
    "plugins",
    "quiet",
    "storage",
    "supervised",
]
