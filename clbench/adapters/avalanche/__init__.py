"""Strategies of avalanche-lib with clbench's evaluator: ``avalanche:Replay(mem_size=500) +
avalanche:EWCPlugin(...)``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {"ContinualEvaluationPlugin": "evaluation_plugin"}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"clbench.adapters.avalanche has no {name!r}; public names: {', '.join(sorted(_PUBLIC))}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
