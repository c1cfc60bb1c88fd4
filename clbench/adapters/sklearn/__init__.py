"""scikit-learn in both directions: its estimators with ``partial_fit`` in clbench's loop, and strategies as a
classifier."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {"ContinualClassifier": "classifier"}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"clbench.adapters.sklearn has no {name!r}; public names: {', '.join(sorted(_PUBLIC))}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
