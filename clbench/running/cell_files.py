"""Move the files of a cell to another result directory: its record and all that is kept beside it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from clbench.core.errors import Refused

BESIDE = (
    ("traces", ".npz"),
    ("predictions", ".parquet"),
    ("models", ".pt"),
    ("models", ""),
    ("partial", ".pt"),
    ("records", ".json"),
)
"""Folder and suffix of the files of a cell; the record comes last."""


def move_cell(key: str, out: Path, place: Path) -> None:
    """Move the files of a cell from one result directory to another; files of that cell there are replaced.

    Raises:
        Refused: A directory cannot be written.
    """
    try:
        for kind, suffix in BESIDE:
            path = out / kind / f"{key}{suffix}"
            if path.exists():
                (place / kind).mkdir(parents=True, exist_ok=True)
                if path.is_dir():  # a folder cannot replace another one
                    shutil.rmtree(place / kind / path.name, ignore_errors=True)
                with suppress(FileNotFoundError):  # another command was faster
                    path.replace(place / kind / path.name)
    except OSError as error:
        raise Refused(f"results cannot be written to {out}: {error.strerror}; choose another --out") from None
