"""Say why a file of the user's cannot be read: which folder was searched, and which files are there; and which of them
defines a name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from clbench.core.near_names import nearest

MOST = 8
"""The most files that are listed."""


def is_file(path: Path) -> bool:
    """Return whether a path is a file; no for a name that the file system does not allow, such as a very long one."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def why_unread(path: Path, error: OSError) -> str:
    """Return why a file cannot be read, as the end of a sentence.

    Args:
        path: The file.
        error: The error of reading it.
    """
    if isinstance(error, FileNotFoundError):
        return files_near(path, (path.suffix,)) or str(error.strerror)
    if isinstance(error, IsADirectoryError):
        listed = _listed(path, (".py", ".yaml", ".yml"))
        return f"it is a folder, not a file; it holds {listed}" if listed else "it is a folder, not a file"
    return str(error.strerror or error)


def files_near(path: Path, suffixes: Sequence[str]) -> str:
    """Return which folder holds no such file, and the file that is meant, or the files that are there.

    Args:
        path: The file that does not exist.
        suffixes: The suffixes of files that may be meant.
    """
    folder = path.parent.resolve()
    if not folder.is_dir():
        return f"the folder {folder} does not exist"
    near = nearest(path.name, _names(folder, suffixes))
    if near:
        return f"{folder} has no such file; did you mean {near!r}?"
    listed = _listed(folder, suffixes)
    return f"{folder} has no such file; it holds {listed}" if listed else f"{folder} has no such file"


def _names(folder: Path, suffixes: Sequence[str]) -> list[str]:
    try:
        return sorted(each.name for each in folder.iterdir() if each.suffix in suffixes)
    except OSError:  # it may not be listed
        return []


def _listed(folder: Path, suffixes: Sequence[str]) -> str:
    names = _names(folder, suffixes)
    return ", ".join(names[:MOST]) + (", ..." if len(names) > MOST else "")


def defined_here(name: str) -> str:
    """Return the ``FILE.py:NAME`` of a class or function in the working directory whose name differs from an unknown
    name only in its spelling (``aged_replay``, ``AgedReplay``); an empty text if there is none. Nothing is imported."""
    plain = name.replace("_", "").lower()
    if not name.isidentifier():
        return ""
    for path in sorted(Path().glob("*.py")):
        with suppress(OSError, UnicodeDecodeError):
            for defined in re.findall(r"^(?:class|def)\s+([^\W_]\w*)", path.read_text(encoding="utf-8"), re.MULTILINE):
                if defined.replace("_", "").lower() == plain:
                    return f"{path.name}:{defined}"
    return ""
