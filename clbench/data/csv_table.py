"""CSV files by name, ``csv:PATH``: a header, a column of labels, and columns of inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from clbench.core.errors import Refused, did_you_mean
from clbench.core.types import Dataset
from clbench.data import file_contents
from clbench.data.cache import cached
from clbench.data.roots import locate
from clbench.data.table_columns import Categories, Missing
from clbench.data.tables import TableSettings, from_frames

OPTIONS = ("label", "split", "test")


def from_csv(
    path: str,
    data_dir: Path,
    *,
    scale: float | None = None,
    family: str | None = None,
    label: str | list[str] | None = None,
    group: str | None = None,
    split: str | Mapping[str, Any] | None = None,
    categories: Categories | None = None,
    missing: Missing | None = None,
    ignore: list[str] | None = None,
) -> Dataset:
    """Read a CSV file with a header: a column of labels, and inputs in all others.

    Columns of text are encoded one-hot by default, and missing values are refused; see
    :func:`clbench.data.table_columns.encode`.

    Args:
        path: The file, absolute or relative to the folder of the benchmark file or the data folder. Options may follow
            ``?``, separated by ``&``: ``label=COLUMN``, ``split=COLUMN`` and ``test=FRACTION``.
        data_dir: The directory of data sets.
        scale, family: As in :func:`clbench.data.from_arrays`.
        label, group, split, categories, missing, ignore: As in :class:`clbench.data.tables.TableSettings`.

    Raises:
        Refused: The file is missing or damaged, columns are unknown, or columns cannot be used.
    """
    plain, _, query = path.partition("?")
    options = _options(query, path)
    for name, value in (("label", label), ("split", split)):
        if value is not None and name in options:
            raise Refused(f"data set 'csv:{path}': {name} is set, and ?{name}= is written too; write it once", name)
    named = {"label": label, "group": group, "split": split, "categories": categories, "missing": missing}
    settings = TableSettings(**{**named, "ignore": ignore, "family": family, **options})
    file = locate("csv", plain, data_dir, folder=False)
    decode = partial(_decode, f"csv:{path}", file, settings, scale)
    written = {key: value for key, value in asdict(settings).items() if value is not None and key != "family"}
    identity = json.dumps([file_contents.checksum([file]), written], sort_keys=True)
    return cached(f"csv-{file.stem}", [file], decode, identity=identity, scale=scale, family=family)


def contents_of(path: str, data_dir: Path) -> str:
    """Return the checksum of the file's content; arguments and errors are as in :func:`from_csv`."""
    return file_contents.checksum([locate("csv", path.partition("?")[0], data_dir, folder=False)])


def _options(query: str, path: str) -> dict[str, Any]:
    """Return the settings that the options after ``?`` stand for."""
    options: dict[str, Any] = {}
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        if key not in OPTIONS or not value:
            raise Refused(f"data set 'csv:{path}': {pair!r} is not known; {did_you_mean(key, OPTIONS)}")
        options[key] = value
    if "test" not in options:
        return options
    try:
        test = float(options.pop("test"))
    except ValueError:
        test = 0.0
    if not 0 < test < 1:
        raise Refused(f"data set 'csv:{path}': test is the fraction of test samples, in (0, 1); write test=0.2")
    return {"split": {"test": test}, **options}


def _decode(name: str, file: Path, settings: TableSettings, scale: float | None) -> Dataset:
    import pandas as pd

    try:
        frame = pd.read_csv(file)
    except (OSError, ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        first = (str(error).splitlines() or [""])[0]
        raise Refused(f"{file} cannot be read as CSV ({first}); save it again with a header and commas") from error
    return from_frames(name, [frame], settings, where=str(file), scale=scale)
