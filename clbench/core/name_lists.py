"""Text files with one name a line, such as an order of classes or a subset of them."""

from __future__ import annotations

from pathlib import Path

from clbench.core.user_files import found


def names_of(file: Path) -> list[str]:
    """Return the names in a text file, one a line; empty lines do not count.

    Raises:
        ValueError: The file cannot be read, is empty, or holds a name twice.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read as text ({error}); write one name a line") from None
    names = [line for line in lines if line]
    if not names:
        raise ValueError(f"{file} is empty; write one name a line")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{file} holds {name!r} twice; name each once")
        seen.add(name)
    return names


def listed_in(written: str) -> list[str] | None:
    """Return the names in the file of a path, which is looked for beside the benchmark file first; ``None`` if there is
    no such file.

    Raises:
        ValueError: As in :func:`names_of`.
    """
    file = found(written)
    return names_of(file) if file.is_file() else None
