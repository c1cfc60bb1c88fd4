"""Where data sets lie, and the sentences for when they do not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from clbench.core.errors import Refused


class Missing(Refused):
    """A data set's files are not there, and were not or could not be downloaded."""


def data_root(data_dir: str | PathLike[str] | None = None) -> Path:
    """The folder of data sets: the argument, else ``CLBENCH_DATA``, else ``data`` in the user's cache folder."""
    given = data_dir or os.environ.get("CLBENCH_DATA")
    return Path(given).expanduser() if given else cache_home() / "data"


def cache_root() -> Path:
    """The folder of decoded data sets: ``CLBENCH_CACHE``, else the user's cache folder."""
    given = os.environ.get("CLBENCH_CACHE")
    return Path(given).expanduser() if given else cache_home()


def cache_home() -> Path:
    """The user's cache folder for clbench, where downloads and decoded arrays go by default."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("clbench"))


def may_download() -> bool:
    """Whether missing data sets may be fetched: yes, unless ``CLBENCH_OFFLINE`` is set to anything but 0."""
    return os.environ.get("CLBENCH_OFFLINE", "0") in ("", "0")


@contextmanager
def offline() -> Iterator[None]:
    """Nothing is downloaded meanwhile."""
    before = os.environ.get("CLBENCH_OFFLINE")
    os.environ["CLBENCH_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CLBENCH_OFFLINE"]
        else:
            os.environ["CLBENCH_OFFLINE"] = before


def locate(form: str, path: str, data_dir: Path, *, folder: bool) -> Path:
    """The file or folder that ``form:path`` means.

    Raises:
        Refused: Nothing there, or a file where a folder is expected, or the other way round.
    """
    found = (data_dir / Path(path).expanduser()).absolute()
    kind = "folder" if folder else "file"
    if not path or not (found.is_dir() if folder else found.is_file()):
        what = f"{found} is not a {kind}" if path and found.exists() else f"there is no {kind} {found}"
        raise Refused(
            f"data set '{form}:{path}': {what}; give an absolute path, or one relative to the data folder {data_dir} "
            f"(set with --data-dir or CLBENCH_DATA)"
        )
    return found
