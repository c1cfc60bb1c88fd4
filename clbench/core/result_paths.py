"""The paths of a cell's files in a result directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clbench.core.record import Record

PUBLISHED_FILE = "published.json"
"""The file of a result folder with the published numbers of its benchmarks, by the titles of their tables."""


def has(key: str, directory: Path) -> bool:
    """Return whether the record of a cell exists."""
    return record_path(key, directory).exists()


def record_path(key: str, directory: Path) -> Path:
    """Return the path of a cell's record."""
    return directory / "records" / f"{key}.json"


def trace_path(key: str, directory: Path) -> Path:
    """Return the path of a cell's trace, whether it has one or not."""
    return directory / "traces" / f"{key}.npz"


def spare_trace_path(key: str, directory: Path, checksum: str) -> Path:
    """Return the path of a trace from the moment it is written until its record stands.

    Args:
        key: The key of the cell.
        directory: The result directory.
        checksum: The checksum of the file, so that two processes never write different traces to one path.
    """
    return directory / "traces" / f".{key}.{checksum}.npz"


def predictions_path(key: str, directory: Path) -> Path:
    """Return the path of a cell's predictions, whether they were kept or not."""
    return directory / "predictions" / f"{key}.parquet"


def model_path(key: str, directory: Path) -> Path:
    """Return the path of a cell's model. A folder of that name holds the models after each experience."""
    return directory / "models" / f"{key}.pt"


def end_path(path: Path, experience: int) -> Path:
    """Return the path of the model after an experience, from the ``path`` of the model at the end of the run."""
    return path.with_suffix("") / f"{experience}.pt"


@dataclass(frozen=True)
class Keep:
    """Say which files are kept with the records of a result directory.

    Args:
        folder: The result directory.
        model: Whether to keep the model at the end of each run, ``models/KEY.pt``.
        ends: Whether to keep the model after each experience too, ``models/KEY/EXPERIENCE.pt``.
        predictions: Whether to keep predictions at the ends of experiences, ``predictions/KEY.parquet``.
    """

    folder: Path
    model: bool = False
    ends: bool = False
    predictions: bool = False

    def lacks(self, record: Record) -> bool:
        """Return whether a finished run did not keep one of these files."""
        if record.status != "done":
            return False
        path = model_path(record.key, self.folder)
        last = record.trace.n_experiences - 1 if record.trace is not None else 0
        return (
            (self.model and not path.exists())
            or (self.ends and not end_path(path, last).exists())
            or (self.predictions and not predictions_path(record.key, self.folder).exists())
        )
