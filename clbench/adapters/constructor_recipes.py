"""Recipes from constructors of other libraries: their plain settings become a strategy's parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from clbench.core.errors import Refused, did_you_mean
from clbench.core.registry import from_file, makes
from clbench.strategies.part import Part

PLAIN = (bool, int, float, str, type(None))


def find(scheme: str, rest: str, kind: str, *, known: Collection[str] = (), within: str = "") -> Any:
    """Return the class or function of ``SCHEME:FILE.py:NAME`` or ``SCHEME:package.module.NAME``.

    Args:
        scheme: The scheme, such as ``sklearn``.
        rest: The text after it.
        kind: The kind in the singular, as used in messages: ``"learner"``.
        known: Names that the scheme knows without a module; this is none of them.
        within: A package that an import path may leave out.

    Raises:
        Refused: It does not exist, or its module does not import.
    """
    if ".py:" in rest:
        return from_file(rest, kind)
    write = f"write {scheme}:FILE.py:NAME or {scheme}:package.module.NAME"
    if rest.endswith(".py"):
        raise Refused(f"{scheme}:{rest} names a file without a name in it; write {scheme}:{rest}:NAME")
    module, _, name = rest.rpartition(".")
    if known and "." not in rest:
        near = did_you_mean(rest, known)
        raise Refused(f"{scheme}:{rest} does not exist; {near if near.startswith('did') else f'{near}; else {write}'}")
    if not (module and all(piece.isidentifier() for piece in rest.split("."))):
        raise Refused(f"{scheme}:{rest} names no module and no file; {write}")
    found = _module(module, within, f"{scheme}:{rest}", write)
    if not hasattr(found, name):
        near = did_you_mean(name, [each for each in vars(found) if not each.startswith("_")])
        raise Refused(f"{module} has no {name!r} to be a {kind}; {near if near.startswith('did') else write}")
    return makes(getattr(found, name), kind, f"{scheme}:{rest}")


def _module(module: str, within: str, name: str, write: str) -> ModuleType:
    if within:
        try:
            return import_module(f"{within}.{module}")
        except ModuleNotFoundError:
            pass  # then the path is complete
    try:
        return import_module(module)
    except Exception as error:
        raise Refused(f"{name}: {module} does not import ({type(error).__name__}: {error}); {write}") from error


def recipe_of(
    name: str,
    constructor: Callable[..., Any],
    make: Callable[[Mapping[str, Any]], Part],
    *,
    source: str,
    leave_out: Collection[str] = (),
) -> Callable[..., Part]:
    """Return a recipe: a function whose keyword parameters are the constructor's settings.

    Args:
        name: Name in messages.
        constructor: A class or function of another library.
        make: A function from all settings to the part.
        source: The identity of the code, such as a version; part of a cell's key.
        leave_out: Parameters that clbench sets itself.
    """

    def recipe(**parameters: Any) -> Part:
        return make(parameters)

    settings = _settings(constructor, leave_out)
    recipe.__name__ = recipe.__qualname__ = name
    recipe.__doc__ = inspect.getdoc(constructor)
    recipe.__annotations__ = {setting.name: setting.annotation for setting in settings}
    recipe.__signature__ = inspect.Signature(settings)  # type: ignore[attr-defined]
    recipe.source = source  # type: ignore[attr-defined]
    recipe.given = tuple(leave_out)  # type: ignore[attr-defined]
    return recipe


def _settings(constructor: Callable[..., Any], leave_out: Collection[str]) -> list[inspect.Parameter]:
    """Return keyword-only parameters for those that a benchmark file can hold: required, or with a plain default."""
    found = []
    for parameter in _signature(constructor).parameters.values():
        variable = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        needed = parameter.default is inspect.Parameter.empty
        if variable or parameter.name in leave_out or not (needed or is_plain(parameter.default)):
            continue
        hint = parameter.annotation if parameter.annotation in PLAIN[:4] else Any
        if not needed and hint is not Any and not isinstance(parameter.default, hint):
            hint = Any  # a default that its own annotation excludes: None, or 0.1 for an int
        found.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hint))
    return found


def _signature(constructor: Callable[..., Any]) -> inspect.Signature:
    """Return the signature, with annotations in text form resolved if possible."""
    try:
        return inspect.signature(constructor, eval_str=True)
    except Exception:  # an annotation may name something that only a type checker imports
        return inspect.signature(constructor)


def is_plain(value: Any) -> bool:
    """Return whether a benchmark file can hold a value."""
    if isinstance(value, list | tuple):
        return all(is_plain(each) for each in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(each) for key, each in value.items())
    return type(value) in PLAIN
