"""Replace a model, scenario or data set by another: settings that do not fit the other are left out, with a notice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from clbench import data, models, scenarios
from clbench.benchmark.assignments import Assignment, key
from clbench.core.errors import Refused
from clbench.core.notices import notice
from clbench.core.parameters import validate
from clbench.core.public_names import public

Fits = Callable[[str, str, Any], bool]
"""Say whether a thing of this name has a setting of this name and value."""


def fitted(before: Mapping[str, Any], after: dict[str, Any], assignments: Iterable[Assignment]) -> dict[str, Any]:
    """Return a document in which replaced things have no settings of the ones before.

    If assignments name another model, scenario or data set, those of its settings that stand in the file and that the
    new one does not have, or not with such a value, are left out. One notice tells which.

    Args:
        before: The document of the file.
        after: The document with the assignments, which is changed.
        assignments: What was assigned; settings that it sets are kept, so that mistakes in them are refused.
    """
    assigned = {key(each) for each in assignments}
    for path, name_key, kept, fits in SECTIONS:
        old, new = _at(before, path), _at(after, path)
        names = [_name(section, name_key) for section in (old, new)]
        if not isinstance(new, dict) or None in names or names[0] == names[1]:
            continue
        dropped = {
            setting: new[setting]
            for setting in [each for each in new if each not in (name_key, *kept)]
            if isinstance(old, Mapping)
            and setting in old
            and not any(f"{each}.".startswith(f"{'.'.join(path)}.{setting}.") for each in assigned)
            and not fits(str(names[1]), setting, new[setting])
        }
        for setting in dropped:
            del new[setting]
        if dropped:
            told = ", ".join(f"{setting}={_shown(value)}" for setting, value in dropped.items())
            what = ".".join([*path, name_key])
            notice(f"{what}={public(names[1])}: left out are settings of {public(names[0])} that do not fit it: {told}")
    return after


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        document = document.get(step) if isinstance(document, Mapping) else None
    return document


def _name(section: Any, name_key: str) -> str | None:
    """Return the name in a section, which may be the section itself; lists of data sets are joined."""
    found = section.get(name_key) if isinstance(section, Mapping) else section
    return "+".join(map(str, found)) if isinstance(found, list) else found if isinstance(found, str) else None


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _accepts(check: Callable[[], Any], setting: str) -> bool:
    """Return whether a check finds nothing wrong with a setting; mistakes elsewhere are reported later."""
    try:
        check()
    except Refused as error:
        return error.key != setting
    return True


def _model_fits(name: str, setting: str, value: Any) -> bool:
    return _accepts(lambda: models.canonical({"name": name, setting: value}), setting)


def _scenario_fits(name: str, setting: str, value: Any) -> bool:
    if name not in scenarios.SCENARIOS:
        return True  # refused later
    where = f"scenario {name!r}"
    return _accepts(lambda: validate(scenarios.SCENARIOS.get(name), {setting: value}, where=where), setting)


def _dataset_fits(name: str, setting: str, _value: Any) -> bool:
    return setting not in data.READING or data.takes(name, setting)


SECTIONS: tuple[tuple[tuple[str, ...], str, tuple[str, ...], Fits], ...] = (
    (("model",), "name", ("heads",), _model_fits),
    (("stream",), "scenario", ("dataset", "apply"), _scenario_fits),
    (("stream", "dataset"), "name", ("features",), _dataset_fits),
)
"""Path of each section with a name, the key of the name, settings that every such thing has, and what fits it."""
