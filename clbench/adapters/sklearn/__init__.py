"""scikit-learn, both ways: its estimators with ``partial_fit`` in our loop, and a strategy of ours as a classifier."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {"ContinualClassifier": "classifier"}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"clbench.adapters.sklearn has no {name!r}; public names: {', '.join(sorted(_PUBLIC))}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
