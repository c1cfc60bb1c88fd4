"""What was verified of results: read from the statements beside records, and shown as badges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from clbench.core.errors import Refused
from clbench.submission.findings import STATUSES
from clbench.submission.folder_reader import read_folders
from clbench.submission.statement_status import read_status

STATEMENT = "verification.json"
"""File beside the folder ``records`` with the report of a verification."""


def lowest(statuses: Iterable[str]) -> str:
    """Return the lowest of some statuses; ``self-reported`` if there is none."""
    return min(statuses, key=STATUSES.index, default=STATUSES[0])


def folder_status(folder: Path) -> str:
    """Return the status that the statement in a result folder gives to the records in it.

    The statement may be written by anybody, so nothing in it can make the site fail. A statement of other records
    counts for nothing: its sha256 is compared with that of the folder.

    Returns:
        ``self-reported`` if there is no readable statement of these records.
    """
    path = folder / STATEMENT
    if not path.is_file():
        return STATUSES[0]
    try:
        return read_status(path, read_folders(folder).digest)
    except Refused:  # it holds no records, or more than a submission may
        return STATUSES[0]


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
