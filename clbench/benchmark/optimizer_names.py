"""Optimisers by name: those of torch that benchmarks use, and optimisers of your own. This module imports no torch.

An own optimiser is a class of ``torch.optim.Optimizer``, or a function that makes one, called as
``NAME(weights, lr=..., **settings)``. ``lr``, ``weight_decay`` and ``momentum`` are those of the section ``training``;
all other parameters are settings. Other packages add optimisers by the entry point ``clbench.optimizers``.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any

from clbench.benchmark.schedule_notation import SOURCE, Written, split, with_source
from clbench.core.errors import Refused
from clbench.core.parameters import validate
from clbench.core.registry import Registry

OPTIMIZERS = Registry(
    "optimizer",
    "clbench.optimizers",
    {
        "sgd": ("clbench.training.optimizers:sgd", "stochastic gradient descent, with momentum if it is set"),
        "adam": ("clbench.training.optimizers:adam", "Adam; weight decay is added to the gradient"),
        "adamw": ("clbench.training.optimizers:adamw", "Adam; weight decay shrinks the weights directly"),
    },
)
"""Optimisers by name, each called as ``optimizer(weights, lr=..., **settings)``."""

SECTION = ("lr", "weight_decay", "momentum")
"""Parameters of optimisers that the section ``training`` sets."""
PLAIN = frozenset({int, float, bool, str, type(None), tuple, list, dict, Any})
"""Types that a benchmark file can hold."""


@cache
def declared(optimizer: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose keyword-only parameters are the settings of an optimiser."""
    kept = [each for name, each in accepted(optimizer).items() if name not in SECTION]

    def settings(**_: Any) -> None: ...

    settings.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [each.replace(kind=each.KEYWORD_ONLY) for each in kept]
    )
    settings.__annotations__ = {each.name: _plain(_hint(optimizer, each)) for each in kept}
    settings.given = SECTION  # type: ignore[attr-defined]
    return settings


def accepted(optimizer: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of an optimiser after the first, which are the weights."""
    parameters = list(inspect.signature(optimizer).parameters.values())[1:]
    return {each.name: each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}


def _hint(optimizer: Any, parameter: inspect.Parameter) -> Any:
    """Return the type of a parameter, which may be written as text; ``Any`` if it cannot be read."""
    function = inspect.getattr_static(optimizer, "__init__") if isinstance(optimizer, type) else optimizer

    def alone() -> None: ...

    alone.__annotations__ = {} if parameter.annotation is parameter.empty else {"it": parameter.annotation}
    try:
        return typing.get_type_hints(alone, globalns=getattr(function, "__globals__", {}), include_extras=True).get(
            "it", Any
        )
    except Exception:  # it names something that is only imported for type checkers
        return Any


def _plain(hint: Any) -> Any:
    """Return a type without those that no benchmark file can hold, such as tensors."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kept = [each for each in map(_plain, typing.get_args(hint)) if each is not Any]
        return typing.Union[tuple(kept)] if kept else Any  # noqa: UP007 the members are known only now
    inside = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated:
        return hint if _plain(inside[0]) is inside[0] else _plain(inside[0])
    if typing.get_origin(hint) in (tuple, list):
        plain = tuple(each if each is Ellipsis else _plain(each) for each in inside)
        return typing.get_origin(hint)[plain]
    return hint if hint in PLAIN or typing.get_origin(hint) is typing.Literal else Any


def canonical(written: Written) -> str | dict[str, Any]:
    """Return an optimiser as cells hold it: ``"sgd"``, or ``{name: {setting: value}}`` with what identifies its code.

    Settings at their default are left out: the identity of the code covers them, and optimisers of torch have many.

    Raises:
        Refused: An unknown name or setting, a wrong type, or not exactly one name.
    """
    read = split(written)
    if read is None:
        raise Refused(f"optimizer {written!r} must be one name, or {{name: {{setting: value}}}}")
    name, given = read
    if name not in OPTIMIZERS:
        raise Refused(f"there is no optimizer {name!r}; {OPTIMIZERS.hint(name)}")
    known = OPTIMIZERS.get(name)
    if "lr" not in accepted(known):
        raise Refused(f"optimizer {name!r} takes no lr; it is called as NAME(weights, lr=..., **settings)")
    where = f"optimizer {name!r}"
    filled = _listed(validate(declared(known), given or {}, where=where))
    usual = {key: _listed(each.default) for key, each in inspect.signature(declared(known)).parameters.items()}
    changed = {key: value for key, value in filled.items() if key not in usual or value != usual[key]}
    if not changed and not OPTIMIZERS.source(name):
        return name
    return with_source(OPTIMIZERS, name, changed, written)


def _listed(value: Any) -> Any:
    """Return plain data with lists in place of tuples, as JSON holds them."""
    if isinstance(value, dict):
        return {name: _listed(each) for name, each in value.items()}
    return [_listed(each) for each in value] if isinstance(value, list | tuple) else value


def check_section(written: Written, *, weight_decay: float, momentum: float) -> None:
    """Refuse settings of the section ``training`` that an own optimiser does not take.

    Raises:
        Refused: Such a setting is not 0.
    """
    if isinstance(written, str):
        return  # of clbench: adam and adamw have always left out momentum
    name, given = split(written) or ("", None)
    if not written.get(SOURCE):
        own = given or {}
        if name == "sgd" and own.get("nesterov") and (not momentum or own.get("dampening")):
            raise Refused("nesterov = true goes with a momentum above 0 and without dampening; set training.momentum")
        return
    takes = accepted(OPTIMIZERS.get(name))
    for setting, value in (("weight_decay", weight_decay), ("momentum", momentum)):
        if value and setting not in takes:
            raise Refused(f"{setting} = {value:g} is set, and optimizer {name!r} takes no {setting}; leave it out")
