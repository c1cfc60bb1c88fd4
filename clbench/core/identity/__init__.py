"""Checksums of objects that a program hands over: models, parts, data sets. They are equal in every process.

The key of a cell includes these checksums. If the code or the values of a model change, its checksum must change;
otherwise it must stay the same in every later process. Pickles do not give that. They name importable code instead of
including it, and they number the classes of a script differently in each process.

The checksum of a function covers its compiled code, its defaults, its closure and the globals that it reads. The
checksum of an object covers its class and its attributes. Code of a library is covered by its name alone. An object
without readable content (an open file, a generator, code that reads files or looks up names at run time) raises
:class:`Unidentified`.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from clbench.core.identity.checksum import checksum
from clbench.core.identity.object_walk import Unidentified

__all__ = ["Unidentified", "checksum", "describe_model", "reasons", "source"]


def describe_model(model: Any) -> dict[str, Any]:
    """Return the ``model`` section of a cell for a module or function that the program hands over.

    Args:
        model: A ``torch.nn.Module``: the checksum covers its structure, code, weights and hooks. Or a callable that
            makes one: the checksum covers its code and values, and all objects of the program that it refers to.

    Returns:
        ``name`` and ``checksum``. If the model cannot be identified, the checksum is random, so that no record is ever
        found under it, and ``unidentified`` gives the reason.
    """
    made = model
    while isinstance(made, functools.partial):
        made = made.func
    name = getattr(made, "__qualname__", type(made).__qualname__)
    try:
        return {"name": f"given:{name}", "checksum": checksum(model)}
    except Unidentified as error:
        return {"name": f"given:{name}", "checksum": _drawn(), "unidentified": str(error)}


def source(obj: Any) -> str:
    """Return the checksum of an object that the program added to a registry; if it has none, a random one and the
    reason."""
    try:
        return checksum(obj)
    except Unidentified as error:
        return f"{_drawn()} {MARK} {error}"


MARK = "unidentified:"


def reasons(cell: Any) -> list[str]:
    """Return the reasons why a cell's record cannot be found again, one sentence for each unidentified object."""
    told = dict.fromkeys(_unidentified(cell))
    return [f"its record is not found again, and it runs anew every time: {text}" for text in told]


def _unidentified(settings: Any) -> Iterator[str]:
    for name, value in settings.items() if isinstance(settings, Mapping) else enumerate(settings):
        if isinstance(value, Mapping | list):
            yield from _unidentified(value)
        elif name == "unidentified":
            yield str(value)
        elif name == "source" and MARK in str(value):
            yield str(value).partition(f"{MARK} ")[2]


def _drawn() -> str:
    return uuid.uuid4().hex[:16]
