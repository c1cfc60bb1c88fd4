"""What identifies a model that a program hands over: its code and its weights, the same in every process.

Records are found again by the content hash of their cell, so a model whose code or weights changed must hash anew, and
one that did not must hash the same tomorrow. Pickles do neither: they name importable code instead of holding it, and
number the classes of a script anew in each process.
"""

from __future__ import annotations

import hashlib
import inspect
import types
from collections.abc import Iterator
from typing import Any

LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "sklearn", "builtins", "clbench")
"""Code that counts by name: its version stands in every record's environment."""


def describe_model(model: Any) -> dict[str, Any]:
    """The ``model`` section of a cell for a given module or function: a name and a checksum.

    Args:
        model: A ``torch.nn.Module``, whose structure, code and weights count, or a function that makes one, whose
            source counts together with the classes and functions of the same program that it refers to.
    """
    digest = hashlib.sha256()
    if hasattr(model, "state_dict") and not isinstance(model, type):
        name = type(model).__qualname__
        digest.update(repr(model).encode())
        for part in model.modules():
            plain = {k: v for k, v in vars(part).items() if isinstance(v, int | float | str | bool) and k != "training"}
            digest.update(repr(sorted(plain.items())).encode())
            for value in [
                type(part),
                *(v for v in vars(part).values() if callable(v) and not isinstance(v, type(part))),
            ]:
                _feed(digest, value)
        for key, value in model.state_dict().items():
            digest.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    else:
        name = getattr(model, "__qualname__", type(model).__qualname__)
        _feed(digest, model)
    return {"name": f"given:{name}", "checksum": digest.hexdigest()[:16]}


def _feed(digest: Any, thing: Any) -> None:
    for text in _sources(thing, set()):
        digest.update(text.encode())


def _sources(thing: Any, met: set[int]) -> Iterator[str]:
    """Source text of a function or class and of what it refers to in the same program; a value by its ``repr``."""
    if id(thing) in met:
        return
    met.add(id(thing))
    module = (getattr(thing, "__module__", None) or "").split(".")[0]
    named = isinstance(thing, type | types.FunctionType | types.MethodType | types.BuiltinFunctionType)
    if isinstance(thing, types.ModuleType) or (named and module in LIBRARIES):
        yield f"{module}.{getattr(thing, '__qualname__', getattr(thing, '__name__', ''))}"
    elif named:
        try:
            yield inspect.getsource(thing)
        except (OSError, TypeError):  # typed at a prompt: compiled code in place of text
            yield repr(getattr(getattr(thing, "__code__", None), "co_code", getattr(thing, "__qualname__", "")))
        inside = vars(thing).values() if isinstance(thing, type) else [thing]
        functions = [f for f in inside if inspect.isfunction(f) or inspect.ismethod(f)]
        for base in getattr(thing, "__bases__", ()):
            yield from _sources(base, met)
        for function in functions:
            seen = inspect.getclosurevars(function)
            for _, value in sorted({**seen.nonlocals, **seen.globals}.items(), key=lambda item: item[0]):
                yield from _sources(value, met)
    elif isinstance(thing, int | float | str | bool | list | tuple | dict | None):
        yield repr(thing)
    else:
        yield type(thing).__qualname__
