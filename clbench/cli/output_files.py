"""Choose the format of a file by its suffix, and refuse a suffix that no format has before any work is done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PICTURES = {".png": "png", ".svg": "svg", ".pdf": "pdf"}
"""The formats of pictures by suffix."""


def format_of(path: Path, formats: Mapping[str, str], what: str = "a picture") -> str:
    """Return the format of a file by its suffix.

    Args:
        path: The file that the user named.
        formats: Suffix -> format.
        what: What the file will hold, for the message.

    Raises:
        Refused: No format has this suffix.
    """
    from clbench.core.errors import Refused

    if path.suffix.lower() not in formats:
        raise Refused(f"cannot write {what} as {path.name!r}; end its name in {', '.join(formats)}")
    return formats[path.suffix.lower()]
