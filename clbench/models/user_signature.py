"""How a user's class or function is called to make a network: by position, or by the names of its parameters.

This module imports no torch. Two forms are accepted:

- ``(shape, n_outputs, **settings)``: the shape of a sample and the number of outputs come first, under any names.
- Parameters with the usual names, such as ``(in_channels, num_classes, width=32)``: one of :data:`OUTPUTS` is among
  them, and inputs are described by the names of :data:`INPUTS`.

All other parameters are settings.
"""

from __future__ import annotations

import inspect
import json
import math
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pydantic.errors import PydanticSchemaGenerationError

from clbench.core.errors import Refused
from clbench.core.parameters import schema, validate

OUTPUTS = (
    ("n_outputs", "num_outputs", "num_classes", "n_classes", "nb_classes", "num_labels"),
    ("out_features", "output_size", "output_dim", "out_dim", "n_out"),
)
"""Names of the number of outputs. Names of the second row count only if none of the first is a parameter."""
SHAPES = ("shape", "input_shape", "in_shape")
CHANNELS = ("in_channels", "input_channels", "num_input_channels", "in_chans", "in_ch")
VALUES = ("in_features", "input_dim", "in_dim", "n_inputs", "num_inputs")
SIDES = ("image_size", "img_size")
EITHER = "input_size"
"""Of vectors their number of values; of images their side, if the number of channels is asked for too."""
INPUTS = (*SHAPES, *CHANNELS, *VALUES, *SIDES, EITHER)
"""Names of what describes a sample: its shape, channels, number of values, or the side of a square image."""
FORMS = (
    "write it as NAME(shape, n_outputs, **settings), with the shape of a sample and the number of outputs, or with "
    "parameters of the usual names, such as NAME(in_channels, num_classes) or NAME(in_features, num_classes)"
)


def filled(target: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the parameters that clbench gives; empty if it gives the first two by position."""
    parameters = _parameters(target)
    if any(each.kind is each.POSITIONAL_ONLY for each in parameters):
        return ()
    names = [each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    outputs = next((found for row in OUTPUTS if (found := [name for name in names if name in row])), [])
    return (*outputs[:1], *(name for name in names if name in INPUTS)) if outputs else ()


def makes_network(target: Any) -> bool:
    """Return whether an object is a class of torch modules, or a function that asks for what a network needs."""
    if isinstance(target, type):
        return any(base.__module__.startswith("torch.nn.") and base.__name__ == "Module" for base in target.__mro__)
    return bool(filled(target))


def arguments(
    target: Callable[..., Any], shape: tuple[int, ...], n_outputs: int, settings: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and the named arguments with which a target makes a network.

    Args:
        target: A class or function.
        shape: Shape of one sample.
        n_outputs: Number of outputs C.
        settings: Settings by name.

    Raises:
        Refused: A parameter asks for something that samples of this shape do not have, or the two positional arguments
            do not fit.
    """
    names = filled(target)
    if names:
        asked = {name: _value(name, shape, n_outputs, names) for name in names if name not in settings}
        return (), {**asked, **settings}
    try:
        inspect.signature(target).bind(shape, n_outputs, **settings)
    except TypeError:
        raise Refused(
            f"it cannot be called with the shape of a sample {shape} and {n_outputs} outputs; {FORMS}"
        ) from None
    except ValueError:  # a built-in without a signature
        pass
    return (shape, n_outputs), dict(settings)


def _value(name: str, shape: tuple[int, ...], n_outputs: int, names: tuple[str, ...]) -> Any:
    """Return the value of a parameter that clbench gives."""
    image = len(shape) == 3
    if name in SHAPES:
        return shape
    if name in CHANNELS and image:
        return shape[0]
    if name in VALUES or (name == EITHER and not image):
        return math.prod(shape)
    square = image and shape[1] == shape[2]
    if square and (name in SIDES or (name == EITHER and any(other in CHANNELS for other in names))):
        return shape[1]
    if name not in INPUTS:
        return n_outputs
    what = f"images of shape {shape}" if image else f"vectors of {math.prod(shape)} values"
    raise Refused(f"its parameter {name} has no clear value for {what}; set {name} in the model section, or {FORMS}")


def canonical(target: Any, given: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return the settings of a target as a cell holds them: checked values where given, plain defaults otherwise.

    Args:
        target: A class or function.
        given: The values that the user wrote.
        where: Name of the target in messages.

    Raises:
        Refused: It is a network already, or a setting is unknown, of a wrong type, missing, or given by clbench.
    """
    if hasattr(target, "state_dict") and not isinstance(target, type):
        raise Refused(
            f"{where} is a network, whose initial weights would differ in every process; name the class or a function "
            "that makes it"
        )
    asked = filled(target)
    if asked and asked[0] in given:
        raise Refused(f"{where}: {asked[0]} is the number of outputs, which the stream sets; leave it out", asked[0])
    checked = validate(settable(target), given, where=where)
    return {name: value for name, value in checked.items() if name in given or name not in asked}


@cache
def settable(target: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose keyword parameters are the settings of a target.

    Parameters whose default no file can hold, such as a class, are no settings.
    """
    asked, parameters = filled(target), []
    positional = 0
    for each in _parameters(target):
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            continue
        if not asked and each.kind is not each.KEYWORD_ONLY and positional < 2:
            positional += 1  # the shape and the number of outputs
            continue
        if each.name in asked:
            each = each.replace(default=None, annotation=Any)
        if each.default is each.empty or _plain(each.default):
            parameters.append(each.replace(kind=each.KEYWORD_ONLY))
    made = _declared(target, parameters, _hints(target))
    try:
        schema(made)
    except (PydanticSchemaGenerationError, TypeError, NameError):  # annotations that are no plain types
        made = _declared(target, parameters, {})
    return made


def _declared(
    target: Callable[..., Any], parameters: list[inspect.Parameter], hints: Mapping[str, Any]
) -> Callable[..., Any]:
    def declared(**settings: Any) -> None: ...

    declared.__name__ = getattr(target, "__name__", "model")
    declared.__doc__ = inspect.getdoc(target)
    declared.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    free = {each.name for each in parameters if each.annotation is Any}
    declared.__annotations__ = {name: hint for name, hint in hints.items() if name not in free}
    return declared


def _parameters(target: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # a built-in without a signature
        return []


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(vars(target).get("__init__", target) if isinstance(target, type) else target)
    except Exception:  # names that only a type checker imports
        return {}


def _plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
