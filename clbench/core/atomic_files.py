"""Write files atomically: a file appears complete under its name, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clbench.core.errors import Refused
from clbench.core.temporary_files import temporary_beside


def write(path: Path, content: bytes) -> None:
    """Write a file atomically: it appears complete under its name, or not at all. An existing file is replaced."""
    with _complete(path, content) as temporary:
        temporary.replace(path)


def create(path: Path, content: bytes) -> bool:
    """Write a file atomically unless there is one of its name; of several who try at once, exactly one succeeds.

    Returns:
        Whether the file was written.
    """
    with _complete(path, content) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return temporary.stat().st_nlink > 1  # a network file system may report its own success as an error
        except OSError:  # a file system without links
            if path.exists():
                return False
            temporary.replace(path)
    return True


@contextmanager
def _complete(path: Path, content: bytes) -> Iterator[Path]:
    """Write a temporary file beside a path, and remove it at the end if it still has its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
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
    """Move an unusable file or folder of a result directory into its folder ``damaged``, which is laid out in the same
    way.

    Args:
        path: Such as ``OUT/partial/KEY.pt``, which becomes ``OUT/damaged/partial/KEY.pt``.

    Returns:
        The new path.

    Raises:
        OSError: The folder cannot be written.
    """
    return path.rename(place_aside(path))


def place_aside(path: Path) -> Path:
    """Return the unused path to which :func:`set_aside` moves a file, in a folder that exists.

    Raises:
        OSError: The folder cannot be made.
    """
    folder = path.parent.parent / "damaged" / path.parent.name
    folder.mkdir(parents=True, exist_ok=True)
    place, number = folder / path.name, 1
    while place.exists():
        number += 1
        place = folder / f"{path.name}.{number}"
    return place


def take(path: Path, content: bytes) -> Path | None:
    """Rename a file so that only this process knows its name, if it still has some content.

    Returns:
        The new path in the same folder; ``None`` if the file is gone, or another process has replaced it meanwhile.
    """
    taken = temporary_beside(path)
    try:
        path.rename(taken)
    except FileNotFoundError:
        return None
    found = taken.read_bytes()
    if found == content:
        return taken
    create(path, found)  # unless it has been written once more
    taken.unlink()
    return None
