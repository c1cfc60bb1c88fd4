"""How a benchmark file writes a schedule: its name alone, or ``{name: {setting: value}}``.

In a cell every setting is written out, followed by what identifies the code of a schedule that does not come with
clbench: ``{name: {setting: value}, source: checksum}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clbench.core.errors import Refused
from clbench.core.public_names import public
from clbench.core.registry import Registry

Written = str | Mapping[str, Any]
"""A schedule in a benchmark file or a cell."""

SOURCE = "source"
"""The key that identifies the code of a schedule."""


def split(written: Written) -> tuple[str, Any] | None:
    """Return the name of a schedule and what is written after it, or ``None`` unless there is exactly one name.

    Args:
        written: The schedule; what is written after a name alone is ``None``.
    """
    named = {written: None} if isinstance(written, str) else {k: v for k, v in written.items() if k != SOURCE}
    return next(((str(name), given) for name, given in named.items()), None) if len(named) == 1 else None


def shown(written: Any) -> Any:
    """Return ``mine.py:Lion(betas=[0.9, 0.98])`` for a named thing in a cell; anything else unchanged."""
    if not isinstance(written, Mapping) or (read := split(written)) is None:
        return written
    name, given = read
    if not isinstance(given, Mapping) or not given:
        return public(name)
    return f"{public(name)}({', '.join(f'{key}={value}' for key, value in given.items())})"


def with_source(registry: Registry, name: str, given: Any, written: Written) -> dict[str, Any]:
    """Return a schedule in canonical form, with what identifies its code if it does not come with clbench.

    Args:
        registry: The schedules of its kind.
        name: Its name; a file in it becomes an absolute path.
        given: What is written after the name, checked and completed.
        written: The schedule as it was read; if it comes from a cell, what identifies its code stays the same.
    """
    source = registry.source(name) if isinstance(written, str) else written.get(SOURCE) or registry.source(name)
    filled = {registry.located(name): given}
    return {**filled, SOURCE: source} if source else filled


def load(registry: Registry, name: str, written: Written) -> Any:
    """Return the schedule of a name, as in a cell.

    Raises:
        Refused: The cell was planned with other code.
    """
    planned = "" if isinstance(written, str) else written.get(SOURCE, "")
    if planned and planned != registry.source(name):
        raise Refused(
            f"the code of the {registry.kind} {name!r} is not the code that this cell was planned with; put the old "
            "code back, or run the command again"
        )
    return registry.get(name)
