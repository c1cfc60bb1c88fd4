"""The directories of data sets and caches, and messages about missing files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from os import PathLike
from pathlib import Path

from clbench.core import user_files
from clbench.core.errors import Refused
from clbench.core.near_names import nearest


class Missing(Refused):
    """Report that files of a data set are missing, and were not or could not be downloaded."""


BETWEEN = "\n"
"""What stands between two folders in one text; names of folders may contain the usual separators."""


def with_beside(beside: Path, data_dir: str | PathLike[str] | None) -> str:
    """Return the directory of data sets with a folder before it, in which relative paths are looked for first."""
    return f"{beside}{BETWEEN}{_main(data_dir)}"


def _main(data_dir: str | PathLike[str] | None) -> str:
    return "" if data_dir is None else str(data_dir).rpartition(BETWEEN)[2]


def beside(data_dir: str | PathLike[str] | None) -> Path | None:
    """Return the folder that :func:`with_beside` put before the directory of data sets, if there is one."""
    folder, between, _ = str(data_dir or "").rpartition(BETWEEN)
    return Path(folder) if between else None


@contextmanager
def searching(data_dir: str | PathLike[str] | None) -> Iterator[None]:
    """Look for files of the user's beside the benchmark file, and last in the directory of data sets."""
    folder = beside(data_dir)
    with user_files.searching((folder, data_root(data_dir))) if folder else nullcontext():
        yield


def placed(path: str, data_dir: str | PathLike[str] | None) -> str:
    """Return the path of data: as it is if it is only in the directory of data sets, and otherwise absolute, beside the
    benchmark file."""
    folder = beside(data_dir)
    if folder is None or not path:
        return path
    plain = Path(path).expanduser()
    elsewhere = not (folder / plain).exists() and (data_root(data_dir) / plain).exists()
    return path if elsewhere else str(folder / plain)


def data_root(data_dir: str | PathLike[str] | None = None) -> Path:
    """Return the directory of data sets: the argument, or ``CLBENCH_DATA``, or ``data`` in the user's cache."""
    given = _main(data_dir) or os.environ.get("CLBENCH_DATA")
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
        near = nearest(found.name, _names(found.parent))
        meant = f" (did you mean {near!r}?)" if near else ""
        what = f"{found} is not a {kind}" if path and found.exists() else f"there is no {kind} {found}{meant}"
        named = "" if Path(path).is_absolute() else f"data set '{form}:{path}': "
        raise Refused(
            f"{named}{what}; give an absolute path, or one relative to the folder of the "
            f"benchmark file or to the data folder {data_dir} (set with --data-dir or CLBENCH_DATA)"
        )
    return found


def _names(folder: Path) -> list[str]:
    try:
        return [each.name for each in folder.iterdir()]
    except OSError:  # it does not exist, or may not be listed
        return []
