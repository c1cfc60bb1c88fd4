"""What was verified of results: read from the statements beside records, and shown as badges."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

STATUSES = ("self-reported", "consistent", "reproduced", "honest seeds")
"""The statuses, from the least to the most that was done."""
STATEMENT = "verification.json"
"""File beside the folder ``records`` with the report of a verification."""
LARGEST = 5_000_000
"""Largest size in bytes of a statement that is read."""


def lowest(statuses: Iterable[str]) -> str:
    """Return the lowest of some statuses; ``self-reported`` if there is none."""
    return min(statuses, key=STATUSES.index, default=STATUSES[0])


def folder_status(folder: Path) -> str:
    """Return the status that the statement in a result folder gives; ``self-reported`` if it has no readable one.

    The statement may be written by anybody, so nothing in it can make the site fail.
    """
    path = folder / STATEMENT
    try:
        if path.stat().st_size > LARGEST:
            return STATUSES[0]
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        status = found["predicate"]["status"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return STATUSES[0]
    return status if isinstance(status, str) and status in STATUSES else STATUSES[0]


COLOURS = {"self-reported": "#6b7280", "consistent": "#0b62a8", "reproduced": "#0f7a4d", "honest seeds": "#7a4a00"}
LETTER, PAD, HEIGHT = 6.6, 8.0, 20
"""Width of a letter, room beside a text, and height of a badge, in pixels."""


def badge_path(status: str) -> str:
    """Return the path of the badge of a status below the folder of a site."""
    return f"badges/{status.replace(' ', '-')}.svg"


def badge_files() -> Iterator[tuple[str, bytes]]:
    """Yield a badge for each status, as an SVG file that a README can show."""
    for status in STATUSES:
        yield badge_path(status), _badge("clbench", status, COLOURS[status]).encode()


def _badge(left: str, right: str, colour: str) -> str:
    first, second = (round(len(text) * LETTER + 2 * PAD) for text in (left, right))
    middle = HEIGHT / 2 + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{first + second}" height="{HEIGHT}" role="img" '
        f'aria-label="{left}: {right}"><rect width="{first + second}" height="{HEIGHT}" rx="3" fill="#30363f"/>'
        f'<path d="M{first} 0h{second - 3}a3 3 0 0 1 3 3v{HEIGHT - 6}a3 3 0 0 1-3 3H{first}z" fill="{colour}"/>'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{first / 2:g}" y="{middle:g}">{left}</text>'
        f'<text x="{first + second / 2:g}" y="{middle:g}">{right}</text></g></svg>\n'
    )
