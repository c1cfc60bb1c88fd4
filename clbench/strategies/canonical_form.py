"""Check the names and settings of a strategy, and write every setting out: its canonical form.

The canonical form is a list of ``{"name": ..., "parameters": {...}}`` with every parameter written out, so that two
ways to write a strategy are one cell. Code that is not clbench's adds a ``source``.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from clbench.core.errors import Refused
from clbench.core.parameters import validate, without_options
from clbench.strategies import STRATEGIES
from clbench.strategies.part import Part

Item = dict[str, Any]


def canonical(
    calls: Sequence[tuple[str, Mapping[str, Any]]], defaults: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Item]:
    """Return the canonical form of a strategy.

    Args:
        calls: Name and settings of each recipe, as :func:`clbench.strategies.notation.calls` reads them.
        defaults: The benchmark's values for parameters that have no published default, by recipe name.

    Raises:
        Refused: An unknown name or parameter, a wrong type, or a missing value.
    """
    items = []
    for called, given in calls:
        name = STRATEGIES.resolve(called)
        target = STRATEGIES.get(name)
        _refuse_hidden_fields(target, called)
        _refuse_positional(target, called)
        filled = validate(target, given, where=f"strategy {called!r}", fill=(defaults or {}).get(called))
        filled = target.settled(filled) if is_part(target) else filled
        filled = without_options(target, filled)
        _refuse_unwritable(filled, called)
        source = STRATEGIES.source(name)
        items.append({"name": name, "parameters": filled, **({"source": source} if source else {})})
    return items


def is_part(obj: Any) -> bool:
    """Return whether an object is a subclass of ``Part``."""
    return isinstance(obj, type) and issubclass(obj, Part)


def is_recipe(obj: Any) -> bool:
    """Return whether a function is annotated to return a list of parts; the annotation is Python or text."""
    if not inspect.isfunction(obj):
        return False
    returned = inspect.get_annotations(obj).get("return")
    if isinstance(returned, str):
        try:
            returned = eval(returned, obj.__globals__)
        except Exception:  # names what only a type checker imports
            return re.fullmatch(r"list\[(\w+\.)*Part\]", returned.replace(" ", "")) is not None
    return typing.get_origin(returned) is list and all(map(is_part, typing.get_args(returned)))


def _refuse_hidden_fields(target: Any, name: str) -> None:
    """Refuse a part with settings that are no fields: they would be unknown, and missing from every cell."""
    if not is_part(target):
        return
    maker = next(cls for cls in target.__mro__ if "__init__" in vars(cls))
    if "__dataclass_fields__" not in vars(maker):
        raise Refused(
            f"strategy {name!r}: {maker.__name__} has an __init__ of its own, and parts are dataclasses, whose fields "
            "are their settings; write @dataclass(kw_only=True) above the class, and fields in place of __init__"
        )
    fields = {each.name for each in dataclasses.fields(target)}
    for what, hint in inspect.get_annotations(target).items():
        if what not in fields and "ClassVar" not in str(hint):
            raise Refused(
                f"strategy {name!r}: {what!r} is no setting, since {target.__name__} is no dataclass; write "
                "@dataclass(kw_only=True) above the class"
            )


def _refuse_unwritable(filled: Mapping[str, Any], name: str) -> None:
    """Refuse a setting that no file and no record can hold."""
    for what, value in filled.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            raise Refused(
                f"strategy {name!r}: {what} = {value!r} cannot be written in a file; settings are numbers, texts, and "
                "lists and mappings of them"
            ) from None


def _refuse_positional(target: Any, name: str) -> None:
    """Refuse a part or recipe with a parameter that cannot be set by name and checked."""
    if not (is_part(target) or inspect.isfunction(target)):
        return  # no strategy at all: the making of its parts reports it
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            form = "@dataclass(kw_only=True)" if isinstance(target, type) else f"def {target.__name__}(*, ...)"
            raise Refused(f"strategy {name!r}: {parameter.name!r} is not keyword-only, as settings are; write {form}")
