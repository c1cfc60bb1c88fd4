"""Write the files of a site into a new folder, or over an earlier site, which stays whole until the new one is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from clbench.core.errors import Refused
from clbench.core.temporary_files import remove_left, temporary_beside

MARKER = ".clbench-site"
"""File that tells a folder of a site from other folders."""


def check_free(folder: Path) -> None:
    """Check that a folder may be written: it does not exist, is empty, or holds an earlier site.

    Raises:
        Refused: It holds something else, or is a file.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise Refused(f"{folder} is no folder; choose a new folder for the site with -o FOLDER")
    if folder.is_dir() and not (folder / MARKER).is_file() and any(folder.iterdir()):
        raise Refused(f"{folder} is not empty and holds no earlier site; choose a new or empty folder with -o FOLDER")


def write_files(folder: Path, files: Iterable[tuple[str, bytes]]) -> tuple[int, int]:
    """Write files into a temporary folder beside the wanted one, and rename it when it is complete.

    Args:
        folder: The wanted folder. An earlier site in it is replaced.
        files: Pairs of a path below the folder, with ``/``, and the content. They are made while others are written.

    Returns:
        The number of files and their size in bytes.

    Raises:
        Refused: The folder cannot be written, or holds something else.
    """
    check_free(folder)
    folder = folder.absolute()
    made, old = temporary_beside(folder), temporary_beside(folder)
    count = size = 0
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_left(folder.parent)
        made.mkdir()
        for path, content in files:
            place = made.joinpath(*path.split("/"))
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                file.write(content)
            count, size = count + 1, size + len(content)
        (made / MARKER).write_bytes(b"")
        _replace(folder, made, old)
    except OSError as error:
        raise Refused(
            f"{folder} cannot be written: {error.strerror or error}; make room or choose another folder with -o FOLDER"
        ) from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
    return count, size


def _replace(folder: Path, made: Path, old: Path) -> None:
    """Put a complete folder in the place of another one; if this fails, the other one stays."""
    if not folder.exists():
        made.rename(folder)
        return
    folder.rename(old)
    try:
        made.rename(folder)
    except BaseException:
        with suppress(OSError):
            os.rename(old, folder)
        raise
