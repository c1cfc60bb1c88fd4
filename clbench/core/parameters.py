"""Parameters of scenarios, models and parts: read from signatures, checked with pydantic, printed for people.

The keyword-only parameters of a function, or the fields of a dataclass, are the whole declaration. Names, types and
defaults are written once, at the place that uses them. An unknown name or a wrong type gives one sentence that says
what is allowed.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from clbench.core.errors import Refused, UnknownSetting, did_you_mean

NonNegative = Annotated[float, Field(ge=0)]
"""A setting of at least 0, such as a strength."""
Fraction = Annotated[float, Field(ge=0, le=1)]
"""A setting between 0 and 1."""
Count = Annotated[int, Field(ge=1)]
"""A setting that counts something; at least 1."""


@dataclasses.dataclass(frozen=True)
class Option:
    """Mark a setting that a cell holds only if it differs from its default, so that older cells keep their keys.

    It stands beside the type: ``bias: Annotated[bool, Option()] = True``. A setting that is added to a function that
    has cells already is marked.
    """


@cache
def schema(target: Callable[..., Any]) -> type[BaseModel]:
    """Return the pydantic model of a callable's keyword parameters. Positional parameters (data, generator) are not
    settings."""
    hints = typing.get_type_hints(target if inspect.isfunction(target) else _init_hints(target), include_extras=True)
    made = (
        {each.name: each.default_factory for each in dataclasses.fields(cast(Any, target))}
        if _is_dataclass(target)
        else {}
    )
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        factory = made.get(parameter.name, dataclasses.MISSING)
        if factory is not dataclasses.MISSING:
            default = Field(default_factory=factory)
        fields[parameter.name] = (hints.get(parameter.name, Any), default)
    return create_model(
        getattr(target, "__name__", "Parameters"),
        __config__=ConfigDict(extra="forbid", protected_namespaces=(), validate_default=True, allow_inf_nan=False),
        **fields,
    )


def _is_dataclass(target: Any) -> bool:
    return isinstance(target, type) and dataclasses.is_dataclass(target)


def _init_hints(target: Any) -> Any:
    return target if _is_dataclass(target) else target.__init__


def validate(
    target: Callable[..., Any], given: Mapping[str, Any], *, where: str, fill: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return all parameters of ``target``: checked values where given, defaults otherwise.

    Args:
        target: A function with keyword-only parameters, or a dataclass with keyword-only fields. If it has an attribute
            ``given``, the names in it are set by the benchmark and refused here.
        given: The values that the user wrote.
        where: The name of the target in messages, such as ``"strategy 'ewc'"``.
        fill: Values for parameters without a default that the user did not set (a benchmark's ``defaults``).

    Raises:
        Refused: An unknown name, a wrong type, or a missing value; the message says what is allowed.
    """
    model = schema(target)
    for name in given:
        if name in getattr(target, "given", ()):
            raise Refused(
                f"{where}: {name} is set by the benchmark, equally for all strategies; leave it out and change it "
                "in the benchmark file",
                name,
            )
        if name not in model.model_fields:
            raise UnknownSetting(f"{where} has no parameter {name!r}; {did_you_mean(name, model.model_fields)}", name)
    values = dict(given)
    for name, value in (fill or {}).items():
        if name not in model.model_fields:
            raise Refused(f"defaults for {where}: no parameter {name!r}; {did_you_mean(name, model.model_fields)}")
        values.setdefault(name, value)
    for name, value in values.items():
        if isinstance(value, bool) and _only_numbers(model.model_fields[name].annotation):
            raise Refused(f"{where}: {name} = {value} is not allowed: it is a number; write one", name)
    try:
        return model.model_validate(values).model_dump()
    except ValidationError as error:
        raise Refused(explain(error, where), str(error.errors()[0]["loc"][0])) from None


def without_options(target: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return checked values as a cell holds them: without each :class:`Option` at its default.

    Args:
        target: The function or dataclass that declares the settings.
        values: All settings, as :func:`validate` returns them.
    """
    fields = schema(target).model_fields
    unwritten = {
        name
        for name, info in fields.items()
        if any(isinstance(mark, Option) for mark in info.metadata)
        and values[name] == info.get_default(call_default_factory=True)
    }
    return {name: value for name, value in values.items() if name not in unwritten}


def _only_numbers(kind: Any) -> bool:
    """Return whether a type allows numbers but no booleans; pydantic would accept ``True`` as 1."""
    leaves = _leaves(kind)
    return bool(leaves & {int, float}) and not leaves & {bool, Any}


def allows_only_whole_numbers(kind: Any) -> bool:
    """Return whether the numbers that a type allows are all whole."""
    leaves = _leaves(kind)
    return int in leaves and float not in leaves and Any not in leaves


def _leaves(kind: Any) -> set[Any]:
    if typing.get_origin(kind) is typing.Literal:
        return {type(choice) for choice in typing.get_args(kind)}
    inside = typing.get_args(kind)[:1] if typing.get_origin(kind) is Annotated else typing.get_args(kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType, Annotated):
        return set().union(*map(_leaves, inside))
    return {kind} if not inside else set()


def explain(error: ValidationError, where: str) -> str:
    """Return one sentence about the first fault that pydantic found."""
    first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "missing":
        missing = [str(each["loc"][0]) for each in error.errors() if each["type"] == "missing"]
        names, written = " and ".join(map(repr, missing)), ", ".join(f"{each}=..." for each in missing)
        plural = len(missing) > 1
        why = "they have" if plural else "it has"
        what = f"values for {names}" if plural else f"a value for {names}"
        return f"{where} needs {what} ({why} no published default); write {'them' if plural else 'it'} as {written}"
    branches = [plain_words(e["msg"], e["input"]) for e in error.errors() if e["loc"][0] == name]  # of a union
    message = ", or ".join(dict.fromkeys(branches))
    return f"{where}: {name} = {first['input']!r} is not allowed: {message}"


def plain_words(message: str, value: Any) -> str:
    """Return a message of pydantic as the rest of a sentence, with what to write where it leaves that open.

    Args:
        message: The message.
        value: The value that it is about.
    """
    text = message.removeprefix("Value error, ")
    text = text[0].lower() + text[1:]
    if re.fullmatch(r"input should be a valid (list|tuple)", text):
        return f"input should be a valid list; write [{value}]" if isinstance(value, str | int | float) else text
    text = re.sub(r"a valid integer, .*", "a whole number", text)
    text = re.sub(r"a valid number, unable to parse.*", "a number", text)
    text = re.sub(
        r"list should have at least (\d+) items? after validation, not \d+", r"it needs at least \1 entry", text
    )
    return re.sub(r"string should match pattern .*", "use letters, digits, dots, - and _, and no spaces", text)


def settings(target: Callable[..., Any]) -> list[tuple[str, str, str]]:
    """Return name, type and default of each parameter for people; the default is empty if a value is required."""
    return [
        (
            name,
            _type_text(info.annotation),
            "" if info.is_required() else str(info.get_default(call_default_factory=True)),
        )
        for name, info in schema(target).model_fields.items()
    ]


def range_text(target: Callable[..., Any], name: str) -> str:
    """Return the range of a parameter, such as ``at least 0, below 1``; an empty text if it has none."""
    try:
        found = schema(target).model_json_schema()["properties"][name]
    except Exception:  # a type without a JSON schema
        return ""
    bounds: list[str] = []
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    for branch in (found, *found.get("anyOf", ())):
        bounds += [f"{words[key]} {branch[key]:g}" for key in words if key in branch]
    return ", ".join(dict.fromkeys(bounds))


def signature_text(target: Callable[..., Any]) -> str:
    """Return parameters as text for listings, such as ``alpha: float, rows: int | None = None``."""
    return ", ".join(f"{name}: {kind}{default and f' = {default}'}" for name, kind, default in settings(target))


def _type_text(kind: Any) -> str:
    """Return the name of a type, such as ``earlier | any``, ``int | None`` or ``list[int]``."""
    inside, origin = typing.get_args(kind), typing.get_origin(kind)
    if origin is Annotated:
        return _type_text(inside[0])
    if origin is typing.Literal:
        return " | ".join(map(str, inside))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_type_text, inside))
    if origin in (tuple, list) and inside:
        each = ("..." if one is Ellipsis else _type_text(one) for one in inside)
        return f"{origin.__name__}[{', '.join(each)}]"
    if kind is types.NoneType:
        return "None"
    return kind.__name__ if isinstance(kind, type) and not inside else str(kind).replace("typing.", "")
