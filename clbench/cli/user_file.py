"""Objects of a user's file, ``FILE.py:NAME``, for the command line: which kind they are, and what the file holds."""

from __future__ import annotations

import inspect
from typing import Any


def kind_of(obj: Any) -> str:
    """Return the kind of an object: ``strategies``, ``models``, ``optimizers``, ``scenarios``, or ``observe`` for
    classes with ``observe(x, y)``.

    A scenario takes ``(dataset, seed, *, settings)``, a strategy's recipe settings alone. Functions of other kinds,
    such as schedules, count as scenarios.
    """
    from clbench.models.user_signature import makes_network
    from clbench.strategies.canonical_form import is_part, is_recipe
    from clbench.training.optimizers import is_optimizer

    if is_part(obj) or is_recipe(obj):
        return "strategies"
    if isinstance(obj, type) and hasattr(obj, "observe"):
        return "observe"
    if makes_network(obj):
        return "models"
    if is_optimizer(obj):
        return "optimizers"
    positional = [p for p in inspect.signature(obj).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    return "scenarios" if positional else "strategies"


def held_by(file: str) -> list[str]:
    """Return ``FILE.py:NAME`` for each class and function that a file defines.

    Raises:
        Refused: The file cannot be read, or does not import.
    """
    from clbench.core.registry import open_file

    module = open_file(f"{file}:")
    own = [name for name, obj in vars(module).items() if getattr(obj, "__module__", "") == module.__name__]
    return [f"{file}:{name}" for name in own if not name.startswith("_")]
