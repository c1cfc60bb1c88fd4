"""Write files atomically: a file appears complete under its name, or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from clbench.core.errors import Refused


def write(path: Path, content: bytes) -> None:
    """Write a file atomically: it appears complete under its name, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")  # machines may share a folder
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_or_refuse(path: Path, content: bytes) -> None:
    """Write a file that the user has asked for atomically.

    Raises:
        Refused: The file cannot be written.
    """
    try:
        write(path, content)
    except OSError as error:
        raise Refused(
            f"{path} cannot be written: {error.strerror or error}; make room or choose another place"
        ) from None


def set_aside(path: Path) -> Path:
    """Move an unusable file or folder into ``damaged/`` next to it.

    Returns:
        The new path.

    Raises:
        OSError: The folder cannot be written.
    """
    folder = path.parent / "damaged"
    folder.mkdir(exist_ok=True)
    place, number = folder / path.name, 1
    while place.exists():
        number += 1
        place = folder / f"{path.name}.{number}"
    return path.rename(place)
