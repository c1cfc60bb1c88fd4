"""The check for hidden boundaries: settings that depend on experiences are refused, since results would depend on the
split of the stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from clbench.core.errors import Refused

FOLLOW: Mapping[tuple[str, str], tuple[Callable[[Any], bool], str]] = {
    ("training", "lr_schedule"): (lambda value: value == "constant", "constant"),
    ("training", "first"): (lambda value: value is None, "no first"),
    ("training", "stop"): (lambda value: value is None, "no stop"),
    ("memory", "admit"): (lambda value: value != "end", "first_pass or every_pass"),
    ("memory", "policy"): (
        lambda value: value not in ("per_experience", "shrinking_herding"),
        "reservoir or class_balanced",
    ),
}
"""Map a section and setting to a test whether a value is independent of experiences, and to values that are."""


def check_hidden(settings: Mapping[str, Any]) -> None:
    """Check the settings of a cell whose stream hides its boundaries.

    Args:
        settings: The sections of the cell in canonical form.

    Raises:
        Refused: A setting depends on experiences.
    """
    for (section, name), (free, instead) in FOLLOW.items():
        if section == "memory" and not settings[section]["size"]:
            continue
        value = settings[section].get(name)
        if value is not None and not free(value):
            raise Refused(
                f"{section}.{name} = {value} depends on experiences, whose boundaries are hidden here, "
                f"so that results would depend on how it is split; use {instead}, or stream.boundaries = true",
                name,
            )
