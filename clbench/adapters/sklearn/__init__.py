"""scikit-learn, both ways: its estimators with ``partial_fit`` in our loop, and a strategy of ours as a classifier."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["ContinualClassifier"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"clbench.adapters.sklearn has no {name!r}; public names: {', '.join(__all__)}")
    return getattr(import_module("clbench.adapters.sklearn.classifier"), name)
