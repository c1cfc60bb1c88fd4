"""The directories of data sets and caches, and messages about missing files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from clbench.core.errors import Refused


class Missing(Refused):
    """Report that files of a data set are missing, and were not or could not be downloaded."""


def data_root(data_dir: str | PathLike[str] | None = None) -> Path:
    """Return the directory of data sets: the argument, or ``CLBENCH_DATA``, or ``data`` in the user's cache."""
    given = data_dir or os.environ.get("CLBENCH_DATA")
    return Path(given).expanduser() if given else cache_home() / "data"


def cache_root() -> Path:
    """Return the directory of decoded data sets: ``CLBENCH_CACHE``, or the user's cache."""
    given = os.environ.get("CLBENCH_CACHE")
    return Path(given).expanduser() if given else cache_home()


def cache_home() -> Path:
    """Return the user's cache directory for clbench, the default for downloads and decoded arrays."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("clbench"))


def may_download() -> bool:
    """Return whether downloads are allowed: yes, unless ``CLBENCH_OFFLINE`` is set to anything but 0."""
    return os.environ.get("CLBENCH_OFFLINE", "0") in ("", "0")


@contextmanager
def offline() -> Iterator[None]:
    """Prevent downloads while the context is active."""
    before = os.environ.get("CLBENCH_OFFLINE")
    os.environ["CLBENCH_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CLBENCH_OFFLINE"]
        else:
            os.environ["CLBENCH_OFFLINE"] = before


def locate(form: str, path: str, data_dir: Path, *, folder: bool | None) -> Path:
    """Return the file or folder of ``form:path``.

    Args:
        form: The form of the name, for messages.
        path: The path, absolute or relative to ``data_dir``.
        data_dir: The directory of data sets.
        folder: Whether it is a folder; ``None`` if it may be either.

    Raises:
        Refused: It does not exist, or it is a file instead of a folder, or a folder instead of a file.
    """
    found = (data_dir / Path(path).expanduser()).absolute()
    kind = "file or folder" if folder is None else "folder" if folder else "file"
    there = found.exists() if folder is None else found.is_dir() if folder else found.is_file()
    if not path or not there:
        what = f"{found} is not a {kind}" if path and found.exists() else f"there is no {kind} {found}"
        raise Refused(
            f"data set '{form}:{path}': {what}; give an absolute path, or one relative to the data folder {data_dir} "
            f"(set with --data-dir or CLBENCH_DATA)"
        )
    return found
