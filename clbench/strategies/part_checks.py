"""Checks of a part's class when it is defined: its declarations, the settings of its protocol, names of methods."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from clbench.benchmark.schema import Evaluation, MemoryBudget, Training
from clbench.core.errors import Refused, did_you_mean


def check_declaration(cls: type, name: str, value: Any, *, several: bool, allowed: frozenset[Any]) -> None:
    """Check the value of a class variable.

    Args:
        cls: The part's class.
        name: The name of the class variable.
        value: Its value.
        several: Whether it is a set.
        allowed: The possible values, or members of the set.

    Raises:
        Refused: The value is not allowed, or not a set although several are possible.
    """
    if several and not isinstance(value, set | frozenset):
        raise Refused(f"{cls.__name__}.{name} = {value!r} is not a set; write it like frozenset({{{min(allowed)!r}}})")
    for each in value if several else (value,):
        if each not in allowed:
            known = [str(known) for known in allowed if known is not None]
            raise Refused(f"{cls.__name__}.{name}: {each!r} is not allowed; {did_you_mean(str(each), known)}")


def check_random_stream(cls: type, name: Any) -> None:
    """Refuse a name of a random stream that is not a string, or empty."""
    if not isinstance(name, str) or not name:
        raise Refused(
            f"{cls.__name__}.random_stream = {name!r} is not a name; use a string such as "
            f"{cls.__name__!r}, or leave it out"
        )


def check_families(cls: type, value: Any) -> None:
    """Refuse families of tasks that are not a set of names."""
    if not isinstance(value, set | frozenset) or not value or not all(isinstance(each, str) for each in value):
        raise Refused(
            f"{cls.__name__}.families = {value!r} is not a set of names; write it like frozenset({{'regression'}}), or "
            "EVERY_FAMILY"
        )


def check_protocol(cls: type, protocol: Any) -> None:
    """Refuse a setting that no cell has, which would never be compared."""
    if not isinstance(protocol, Mapping):
        raise Refused(
            f"{cls.__name__}.protocol = {protocol!r} is not a mapping; write it like {{'stream.output': 'all'}}"
        )
    sections: dict[str, Any] = {"training": Training, "memory": MemoryBudget, "evaluation": Evaluation}
    for key in protocol:
        section, _, name = str(key).partition(".")
        if section not in (*sections, "stream", "model") or not name:
            raise Refused(
                f"{cls.__name__}.protocol: {key!r} is not a setting of a benchmark; write it like 'stream.output', "
                "with stream, model, training, memory or evaluation before the dot"
            )
        if section in sections and name not in sections[section].model_fields:
            hint = did_you_mean(name, sections[section].model_fields)
            raise Refused(f"{cls.__name__}.protocol: {section} has no setting {name!r}; {hint}")


def check_spelling(cls: type, name: str, hooks: Iterable[str]) -> None:
    """Refuse a method whose name is nearly that of a hook, since it would never be called."""
    near = difflib.get_close_matches(name, list(hooks), n=1, cutoff=0.85)
    if near and not name.startswith("_"):
        raise Refused(
            f"{cls.__name__} has a method {name!r}, which nothing calls; did you mean the hook {near[0]!r}? A helper "
            f"of your own may be called {'_' + name!r}"
        )
