"""Tables in Parquet files: a column of labels, and columns of inputs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clbench.core.errors import Refused
from clbench.core.types import Dataset
from clbench.data import file_contents
from clbench.data.cache import cached
from clbench.data.parquet import parts
from clbench.data.tables import TableSettings, from_frames


def read_table(name: str, root: Path, *, scale: float | None = None, **settings: Any) -> Dataset:
    """Read one file, or the files of a folder, as a table.

    Args:
        name: Name of the data set in records.
        root: The file or folder.
        scale: As in :func:`clbench.data.from_arrays`.
        settings: Those of :class:`clbench.data.tables.TableSettings`.

    Raises:
        Refused: Files are damaged, columns are unknown, or columns cannot be used.
    """
    chosen = TableSettings(**settings)
    files = [part for part in parts(root, divided=chosen.split is not None) if part]
    every = [file for part in files for file in part]
    written = {key: value for key, value in asdict(chosen).items() if value is not None}
    identity = json.dumps([file_contents.checksum(every, root if root.is_dir() else None), written], sort_keys=True)

    def decode() -> Dataset:
        return from_frames(name, [_frame(part) for part in files], chosen, where=str(root), scale=scale)

    return cached(f"parquet-{root.stem}", every, decode, identity=identity, scale=scale)


def _frame(files: Sequence[Path]) -> Any:
    """Return the rows of files one after another as a pandas frame."""
    import pandas as pd
    import pyarrow as pa

    frames = []
    for file in files:
        try:
            frames.append(pd.read_parquet(file))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Refused(f"{file} cannot be read as parquet ({error}); download it again") from error
        if set(frames[-1].columns) != set(frames[0].columns):
            raise Refused(f"{file} has other columns than {files[0]}; give all files the same")
    return pd.concat(frames, ignore_index=True)
