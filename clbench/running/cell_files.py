"""Move or copy the files of a cell to another result directory: its record and all that is kept beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from clbench.core import record_file
from clbench.core.errors import Refused
from clbench.core.result_paths import record_path, spare_trace_path
from clbench.core.temporary_files import is_temporary, temporary_beside

BESIDE = (
    ("traces", ".npz"),
    ("predictions", ".parquet"),
    ("models", ".pt"),
    ("models", ""),
    ("partial", ".pt"),
    ("records", ".json"),
)
"""Folder and suffix of the files of a cell; the record comes last."""
FINAL = tuple(each for each in BESIDE if each[0] != "partial")
"""Those of a cell that is not running."""


def move_cell(key: str, out: Path, place: Path) -> None:
    """Move the files of a cell from one result directory to another; files of that cell there are replaced.

    Raises:
        Refused: A directory cannot be written.
    """
    try:
        move_files(key, out, place, BESIDE)
    except OSError as error:
        raise Refused(f"results cannot be written to {out}: {error.strerror}; choose another --out") from None


def move_files(key: str, out: Path, place: Path, kinds: Sequence[tuple[str, str]]) -> None:
    """Move files of a cell, given by folder and suffix, from one result directory to another.

    Raises:
        OSError: A directory cannot be written.
    """
    for kind, suffix in kinds:
        path = out / kind / f"{key}{suffix}"
        if path.exists():
            (place / kind).mkdir(parents=True, exist_ok=True)
            if path.is_dir():  # a folder cannot replace another one
                shutil.rmtree(place / kind / path.name, ignore_errors=True)
            with suppress(FileNotFoundError):  # another command was faster
                path.replace(place / kind / path.name)


def copy_cell(key: str, out: Path, place: Path, *, further: Sequence[Path] = ()) -> None:
    """Copy the files of a cell that is not running from one result directory to another, its record last.

    Args:
        key: The cell's key.
        out: The result directory with the record and its trace.
        place: The other result directory; files of that cell there are replaced.
        further: Result directories with an equal record; a model or predictions that ``out`` lacks come from these.

    Raises:
        OSError: A file cannot be read or written; no file is half written.
    """
    for kind, suffix in FINAL:
        folders = [out] if kind in ("records", "traces") else [out, *further]
        found = [path for folder in folders if (path := folder / kind / f"{key}{suffix}").exists()]
        if kind == "traces":
            found = [path for path in (_spare_trace(key, out), *found) if path is not None]
        if found:
            copy_file(found[0], place / kind / f"{key}{suffix}")


def _spare_trace(key: str, out: Path) -> Path | None:
    """Return the trace of a record that still has its spare name, because the folder can only be read."""
    path = record_path(key, out)
    with suppress(OSError, ValueError):
        spare = spare_trace_path(key, out, record_file.decoded(path.read_bytes(), path).sums.get("trace", ""))
        return spare if spare.exists() else None
    return None


def copy_file(source: Path, target: Path) -> None:
    """Copy a file or a folder: it appears complete under its name, or not at all.

    Raises:
        OSError: It cannot be read or written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(target)
    try:
        if source.is_dir():
            temporary.mkdir()
            for path in sorted(source.iterdir()):
                copy_file(path, temporary / path.name)
            shutil.rmtree(target, ignore_errors=True)  # a folder cannot replace another one
        else:
            with source.open("rb") as held, temporary.open("wb") as made:
                shutil.copyfileobj(held, made, 1 << 20)
                made.flush()
                os.fsync(made.fileno())
        temporary.replace(target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        with suppress(OSError):
            temporary.unlink()


def remove_temporary_files(place: Path) -> None:
    """Remove what copies that were killed have left in a result directory and below it."""
    for path in sorted(place.rglob(".*")):
        if is_temporary(path.name):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True)
