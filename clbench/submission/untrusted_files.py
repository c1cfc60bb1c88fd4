"""Read files that strangers wrote, without following links, waiting for devices, or reading more than a limit."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from clbench.core.zip_members import ZipLimits

MOST_FILES = 5_000
"""The most files of a submission."""
MOST_BYTES = 200_000_000
"""The most bytes of all files of a submission together."""
BUNDLE = ZipLimits(files=MOST_FILES, size=MOST_BYTES, ratio=100)
"""The limits of a bundle."""


def content_of(path: Path, most: int, *, links: bool = False) -> bytes:
    """Return the content of a plain file.

    Args:
        path: The file.
        most: The most bytes.
        links: Whether the path may be a link, because the user has named it.

    Raises:
        ValueError: It is no plain file, or is larger; the message gives the reason.
        OSError: It cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not links:
        if path.is_symlink():
            raise ValueError("it is a link")
        flags |= getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no plain file")
        if found.st_size > most:
            raise ValueError(f"it has {found.st_size:,} bytes; at most {most:,} are allowed")
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content
