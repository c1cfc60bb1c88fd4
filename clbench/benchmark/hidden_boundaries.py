"""Settings that follow the experiences of a stream: refused where boundaries are hidden, since results would depend on
where the stream is cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from clbench.core.errors import Refused

FOLLOW: Mapping[tuple[str, str], tuple[Callable[[Any], bool], str]] = {
    ("training", "lr_schedule"): (lambda value: value == "constant", "constant"),
    ("memory", "admit"): (lambda value: value != "end", "first_pass or every_pass"),
    ("memory", "policy"): (lambda value: value != "per_experience", "reservoir or class_balanced"),
}
"""Section and setting -> whether a value does not follow experiences, and what to use in place of one that does."""


def check_hidden(settings: Mapping[str, Any]) -> None:
    """Check the settings of a cell whose stream hides boundaries.

    Args:
        settings: Its sections in canonical form.

    Raises:
        Refused: One of them follows experiences.
    """
    for (section, name), (free, instead) in FOLLOW.items():
        if section == "memory" and not settings[section]["size"]:
            continue
        value = settings[section].get(name)
        if value is not None and not free(value):
            raise Refused(
                f"{section}.{name} = {value} follows the experiences of the stream, whose boundaries are hidden here, "
                f"so that results would depend on where it is cut; use {instead}, or stream.boundaries = true",
                name,
            )
