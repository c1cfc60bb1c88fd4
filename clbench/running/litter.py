"""The removal of files that killed commands have left in a result directory, while other commands may be at work."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.result_paths import record_path
from clbench.core.temporary_files import remove_left
from clbench.running import claims

WRITTEN = ("records", "traces", "predictions", "models", "partial", "attempts", "plans", ".cache")
"""Folders of a result directory in which commands write files."""
UNFINISHED = ("partial", "attempts")
"""Folders with files of unfinished cells."""


def remove_litter(out: Path) -> None:
    """Remove what killed commands have left in a result directory: temporary files, claims, and checkpoints of finished
    cells."""
    remove_left(out, *(out / name for name in WRITTEN))
    claims.remove_left(out)
    for name in UNFINISHED:
        with suppress(OSError):
            for path in list((out / name).iterdir()):
                _remove_of_finished(path, out)
        with suppress(OSError):
            (out / name).rmdir()


def _remove_of_finished(path: Path, out: Path) -> None:
    """Remove a file of an unfinished cell if it is older than the cell's record: the command that wrote the record was
    killed before it removed the file. A newer one is of a cell that runs again, and a failed cell will run again."""
    record = record_path(path.stem, out)
    with suppress(OSError, Refused):
        older = path.stat().st_mtime_ns <= record.stat().st_mtime_ns
        if older and store.load(record, lazily=True).status != "failed":
            path.unlink()
