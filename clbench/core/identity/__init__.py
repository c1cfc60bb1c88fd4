"""What identifies a thing that a program hands over: its code and its values, the same in every process.

Records are found again by the content hash of their cell, so a model or a part whose code or values changed must hash
anew, and one that did not must hash the same tomorrow. Pickles do neither: they name importable code instead of holding
it, and number the classes of a script anew in each process.

A function counts by its compiled code, its defaults, what its closure holds and the global names that it reads; an
object by its class and its attributes; a library's code by its name. What has no content that can be read (an open
file, a generator, code that reads files or names at run time) is :class:`Unidentified`.
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
    """The ``model`` section of a cell for a given module or function: a name and a checksum.

    Args:
        model: A ``torch.nn.Module``, whose structure, code, weights and hooks count, or anything that makes one when it
            is called: its code and values count, and those of everything in the program that it refers to.

    Returns:
        ``name`` and ``checksum``; where the model cannot be identified the checksum is drawn, so that no record is
        found under it again, and ``unidentified`` says why.
    """
    made = model
    while isinstance(made, functools.partial):
        made = made.func
    name = getattr(made, "__qualname__", type(made).__qualname__)
    try:
        return {"name": f"given:{name}", "checksum": checksum(model)}
    except Unidentified as error:
        return {"name": f"given:{name}", "checksum": _drawn(), "unidentified": str(error)}


def source(thing: Any) -> str:
    """What identifies a thing that a program has added to a registry; drawn, with the reason, where nothing does."""
    try:
        return checksum(thing)
    except Unidentified as error:
        return f"{_drawn()} {MARK} {error}"


MARK = "unidentified:"


def reasons(cell: Any) -> list[str]:
    """Why a cell's record is not found again: what in it could not be identified, a sentence each."""
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
