"""Decide whether two runs were made on platforms that give the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DECISIVE = {
    "torch": "torch",
    "device": "device",
    "hardware": "processor",
    "capability": "instruction set",
}
"""Fields of a record's environment that can change the order of floating-point sums, and thus bits of a trace, with
their names for people. The number of threads is part of the cell."""


def platform_difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Return in which way two platforms differ, in words; empty if they give the same bits.

    Args:
        theirs: The environment of one record.
        ours: That of another one. A field that one of them lacks is not compared: older records have no
            ``capability``.
    """
    told = [
        f"{name} {theirs[field]} and {ours[field]}"
        for field, name in DECISIVE.items()
        if theirs.get(field) and ours.get(field) and theirs[field] != ours[field]
    ]
    return ", ".join(told)
