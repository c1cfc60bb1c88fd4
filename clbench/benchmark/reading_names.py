"""How a benchmark file writes readings: a list of names, each alone or as ``{name: {setting: value}}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from clbench.benchmark.schedule_notation import Written, load, split, with_source
from clbench.core.errors import Refused
from clbench.core.parameters import schema, validate
from clbench.core.public_names import public
from clbench.readings import READINGS

MOST = 20
"""The most readings of a run."""


def canonical(written: Sequence[Written]) -> list[str | dict[str, Any]]:
    """Return readings as cells hold them, with every setting written out.

    Args:
        written: Names, with or without settings. A reading may be taken several times with different settings.

    Raises:
        Refused: A name or setting is unknown, a type is wrong, or a reading is given twice.
    """
    found: list[str | dict[str, Any]] = []
    for each in written:
        read = split(each) if isinstance(each, str | Mapping) else None
        if read is None:
            raise Refused(f"evaluation.readings: {each!r} must be one name, or {{name: {{setting: value}}}}")
        name, given = read
        if name not in READINGS:
            raise Refused(f"there is no reading {name!r}; {READINGS.hint(name)}")
        if given is not None and not isinstance(given, Mapping):
            raise Refused(f"reading {name!r} takes settings as {{name: {{setting: value}}}}, and got {given!r}")
        filled = validate(READINGS.get(name), given or {}, where=f"reading {name!r}")
        made = with_source(READINGS, name, filled, each)
        found.append(name if made == {name: {}} else made)
    labels = [label(each) for each in found]
    twice = next((each for each in labels if labels.count(each) > 1), None)
    if twice is not None:
        raise Refused(f"evaluation.readings has {twice} twice; leave one of them out, or give it other settings")
    if len(found) > MOST:
        raise Refused(f"evaluation.readings has {len(found)} readings; at most {MOST} are allowed")
    return found


def label(written: Written) -> str:
    """Return the name of a reading in traces: with the settings that differ from their default, such as
    ``dormant(tau=0.1)``."""
    name, given = split(written) or ("", None)
    usual = schema(READINGS.get(name)).model_fields
    changed = {key: value for key, value in (given or {}).items() if value != usual[key].default}
    settings = ", ".join(f"{key}={value}" for key, value in changed.items())
    return f"{public(name)}({settings})" if settings else str(public(name))


def functions(written: Sequence[Written]) -> dict[str, Callable[..., Any]]:
    """Return the functions of readings by their names in traces.

    Args:
        written: As in :func:`canonical`.

    Raises:
        Refused: As in :func:`canonical`, or the cell of a reading was planned with other code.
    """
    found: dict[str, Callable[..., Any]] = {}
    for each in canonical(written):
        name, given = split(each) or ("", None)
        found[label(each)] = partial(load(READINGS, name, each), **(given or {}))
    return found
