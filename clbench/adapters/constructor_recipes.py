"""Constructors of other libraries read as recipes: their plain settings become a strategy's parameters."""

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
    """The class or function of ``SCHEME:FILE.py:NAME`` or ``SCHEME:package.module.NAME``.

    Args:
        scheme: Such as ``sklearn``.
        rest: What follows it.
        kind: Singular, as used in messages: ``"learner"``.
        known: Names that the scheme knows without a module, of which this is none.
        within: A package that may be left out of an import path.

    Raises:
        Refused: It is not there, or its module does not import.
    """
    if ".py:" in rest:
        return from_file(rest, kind)
    write = f"write {scheme}:FILE.py:NAME or {scheme}:package.module.NAME"
    if rest.endswith(".py"):
        raise Refused(f"{scheme}:{rest} names a file and nothing in it; write {scheme}:{rest}:NAME")
    module, _, name = rest.rpartition(".")
    if known and "." not in rest:
        near = did_you_mean(rest, known)
        raise Refused(f"{scheme}:{rest} is not there; {near if near.startswith('did') else f'{near}; else {write}'}")
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
            pass  # then the path is a whole one
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
    """A recipe, as strategies' tables hold them: a function whose keyword parameters are the constructor's settings.

    Args:
        name: How messages call it.
        constructor: A class or function of another library.
        make: From all settings to the part.
        source: What identifies the code, such as a version; part of a cell's key.
        leave_out: Parameters that clbench gives by itself.
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
    """Keyword-only parameters for those that can be written in a benchmark file: required, or with a plain default."""
    found = []
    for parameter in _signature(constructor).parameters.values():
        variable = parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        needed = parameter.default is inspect.Parameter.empty
        if variable or parameter.name in leave_out or not (needed or is_plain(parameter.default)):
            continue
        hint = parameter.annotation if parameter.annotation in PLAIN[:4] else Any
        if not needed and hint is not Any and not isinstance(parameter.default, hint):
            hint = Any  # a default that its own annotation does not allow: None, or 0.1 for an int
        found.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hint))
    return found


def _signature(constructor: Callable[..., Any]) -> inspect.Signature:
    """With annotations that a file keeps as text looked up, where they can be."""
    try:
        return inspect.signature(constructor, eval_str=True)
    except Exception:  # an annotation may name what only a type checker imports
        return inspect.signature(constructor)


def is_plain(value: Any) -> bool:
    """Whether a value can stand in a benchmark file."""
    if isinstance(value, list | tuple):
        return all(is_plain(each) for each in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(each) for key, each in value.items())
    return type(value) in PLAIN
