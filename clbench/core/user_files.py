"""Files of the user's that a benchmark names by relative paths: code, weights and data beside the benchmark file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike
from pathlib import Path

_folders: ContextVar[tuple[Path, ...]] = ContextVar("folders", default=())


@contextmanager
def searching(folders: Sequence[Path]) -> Iterator[None]:
    """Look for relative paths in these folders while the context is active.

    Args:
        folders: The folder of the benchmark file, and others that come after the current directory.
    """
    token = _folders.set(tuple(folders))
    try:
        yield
    finally:
        _folders.reset(token)


def found(path: str | PathLike[str]) -> Path:
    """Return the file of a path: beside the benchmark file, in the current directory, or in another folder.

    Args:
        path: An absolute or relative path. One that exists nowhere is returned as it is.
    """
    plain = Path(path).expanduser()
    if plain.is_absolute():
        return plain
    first, *others = _folders.get() or (Path(),)
    for place in (first / plain, plain, *(folder / plain for folder in others)):
        if place.exists():
            return plain if place == plain else place
    return plain
