"""Tables with a column of labels and columns of numbers: CSV files by name, and frames that a program holds."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused, did_you_mean
from clbench.core.types import Dataset
from clbench.data import file_contents
from clbench.data.arrays import assemble
from clbench.data.cache import cached
from clbench.data.labels import label_array, some
from clbench.data.number_targets import REGRESSION, number_array, strata
from clbench.data.parquet import LABELS
from clbench.data.roots import locate
from clbench.data.splits import split_off_test

LABEL_COLUMNS = (*LABELS, "y")
TRAIN, TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation")
INDEX = "Unnamed: 0"
"""The name that pandas gives to a column without one, such as a written index; it is left out."""
OPTIONS = ("label", "split", "test")

Split = tuple[NDArray[Any], NDArray[Any]]


def from_csv(path: str, data_dir: Path, *, scale: float | None = None, family: str | None = None) -> Dataset:
    """Read a CSV file with a header: a column of labels, and numbers in all others.

    Args:
        path: The file, absolute or relative to ``data_dir``, and options after ``?``, separated by ``&``:
            ``label=COLUMN`` if the column of labels has no usual name, ``split=COLUMN`` for a column that contains
            ``train`` or ``test``, and ``test=FRACTION`` of test samples if there is none (stratified, equal for every
            seed; 0.2).
        data_dir: The directory of data sets.
        scale, family: As in :func:`clbench.data.from_arrays`. With ``regression``, ``label`` may name several columns,
            separated by commas.

    Raises:
        Refused: The file is missing or damaged, columns are unknown, or columns do not contain numbers.
    """
    plain, _, query = path.partition("?")
    options = _options(query, path)
    file = locate("csv", plain, data_dir, folder=False)
    decode = partial(_decode, f"csv:{path}", file, options, scale, family)
    identity = json.dumps([file_contents.checksum([file]), options], sort_keys=True)
    return cached(f"csv-{file.stem}", [file], decode, identity=identity, scale=scale, family=family)


def contents_of(path: str, data_dir: Path) -> str:
    """Return the checksum of the file's content; arguments and errors are as in :func:`from_csv`."""
    return file_contents.checksum([locate("csv", path.partition("?")[0], data_dir, folder=False)])


def _options(query: str, path: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        if key not in OPTIONS or not value:
            raise Refused(f"data set 'csv:{path}': {pair!r} is not known; {did_you_mean(key, OPTIONS)}")
        options[key] = value
    if "test" in options:
        try:
            options["test"] = float(options["test"])
        except ValueError:
            options["test"] = 0.0
        if not 0 < options["test"] < 1:
            raise Refused(f"data set 'csv:{path}': test is the fraction of test samples, in (0, 1); write test=0.2")
    return options


def _decode(name: str, file: Path, options: dict[str, Any], scale: float | None, family: str | None) -> Dataset:
    import pandas as pd

    try:
        frame = pd.read_csv(file)
    except (OSError, ValueError, UnicodeDecodeError) as error:  # pandas' own errors are ValueErrors
        first = (str(error).splitlines() or [""])[0]
        raise Refused(f"{file} cannot be read as CSV ({first}); save it again with a header and commas") from error
    train, test = splits(frame, where=str(file), family=family, **options)
    names = target_columns(options.get("label")) if family == REGRESSION else None
    return assemble(name, train, test, where=str(file), scale=scale, family=family, target_names=names)


def splits(
    frame: Any,
    *,
    where: str,
    label: str | None = None,
    split: str | None = None,
    test: float = 0.2,
    family: str | None = None,
) -> tuple[Split, Split]:
    """Split one frame into training and test samples: by its column ``split``, or else by a fixed draw.

    Args:
        frame: A pandas frame.
        where: Name of the frame in messages.
        label: The column of labels; by default one with a usual name.
        split: The column that contains ``train`` or ``test``; by default one of that name.
        test: Fraction of test samples if there is no such column.
        family: ``regression`` if the labels are numbers to predict, in one column or several.

    Raises:
        Refused: Columns are unknown, or do not contain numbers.
    """
    frame = _tidy(frame, where)
    columns = label_columns(frame, label, where, family)
    if split is not None and split not in frame.columns:
        raise Refused(f"{where} has no column {split!r}; {did_you_mean(split, map(str, frame.columns))}")
    told = "split" if split is None and _tells(frame, "split") and columns != ["split"] else split
    if told is None:
        x, y = rows(frame, columns, where)
        told = f"{where}: column {', '.join(columns)!r}"
        if family == REGRESSION:
            target = number_array(y, len(x), told)
            first, second = split_off_test(x, target, test=test, where=where, groups=strata(target))
        else:
            first, second = split_off_test(x, label_array(y, len(x), told), test=test, where=where)
        return first, second
    words = _words(frame, told)
    known = words.isin((*TRAIN, *TEST))
    if not known.all():
        raise Refused(f"{where}: column {told!r} has {words[~known].iloc[0]!r}; it says train or test for every row")
    parts = [frame[words.isin(names)].drop(columns=[told]) for names in (TRAIN, TEST)]
    for part, what in zip(parts, ("train", "test"), strict=True):
        if not len(part):
            raise Refused(f"{where}: column {told!r} says {what} for no row; mark some")
    return rows(parts[0], columns, where), rows(parts[1], columns, where)


def pair(
    train: Any, test: Any, *, where: str, label: str | None = None, family: str | None = None
) -> tuple[Split, Split]:
    """Return training and test samples from two frames with the same columns in any order.

    Args:
        train, test: Two pandas frames.
        where: Name of the frames in messages.
        label: The column of labels; by default one with a usual name.
        family: As in :func:`splits`.

    Raises:
        Refused: Columns are unknown or different, or do not contain numbers.
    """
    train, test = _tidy(train, where), _tidy(test, where)
    differing = set(train.columns) ^ set(test.columns)
    if differing:
        raise Refused(f"{where}: only one of both frames has the columns {some(sorted(differing))}; give both the same")
    columns = label_columns(train, label, where, family)
    return rows(train, columns, where), rows(test[list(train.columns)], columns, where)


def _tidy(frame: Any, where: str) -> Any:
    """Return the frame with text as column names, and without an index that pandas wrote as a column."""
    frame = frame.rename(columns=str)
    if frame.columns.has_duplicates:
        raise Refused(f"{where} has the column {frame.columns[frame.columns.duplicated()][0]!r} twice; rename one")
    return frame.drop(columns=[INDEX], errors="ignore")


def _tells(frame: Any, column: str) -> bool:
    return column in frame.columns and bool(_words(frame, column).isin((*TRAIN, *TEST)).all())


def _words(frame: Any, column: str) -> Any:
    """Return the values of a column as words in small letters, without spaces around them."""
    return frame[column].astype(str).str.strip().str.lower()


def label_column(frame: Any, label: str | None, where: str) -> str:
    """Return the column of labels: the requested one, or the first with a usual name."""
    columns = [str(column) for column in frame.columns]
    if label is not None:
        if label not in columns:
            raise Refused(f"{where} has no column {label!r}; {did_you_mean(label, columns)}")
        return label
    found = [column for name in LABEL_COLUMNS for column in columns if column.lower() == name]
    if not found:
        raise Refused(
            f"{where} has no column of labels (one of {', '.join(LABEL_COLUMNS)}); its columns are "
            f"{', '.join(columns[:20])}; name it: csv:FILE?label=COLUMN, or dataset=(frame, 'COLUMN')"
        )
    return found[0]


def target_columns(label: str | None) -> list[str] | None:
    """Return the columns in ``label``, which are separated by commas."""
    return None if label is None else [column.strip() for column in label.split(",")]


def label_columns(frame: Any, label: str | None, where: str, family: str | None) -> list[str]:
    """Return the columns of labels: one, or in regression as many as ``label`` names."""
    if family != REGRESSION or label is None or label in frame.columns:
        return [label_column(frame, label, where)]
    return [label_column(frame, column, where) for column in target_columns(label) or ()]


def rows(frame: Any, label: list[str], where: str) -> Split:
    """Return the numbers (N, F) of all other columns, and the labels (N,) of one column or (N, D) of several."""
    held = frame[label] if len(label) > 1 else frame[label[0]]
    return numbers(frame.drop(columns=label), where), held.to_numpy()


def numbers(frame: Any, where: str) -> NDArray[Any]:
    """Return the numbers (N, F) of a frame.

    Raises:
        Refused: It has no columns, or a column contains other values or gaps.
    """
    from pandas.api.types import is_numeric_dtype

    if not len(frame.columns):
        raise Refused(f"{where} has no columns beside the labels; there is nothing to learn from")
    for column in frame.columns:
        if not is_numeric_dtype(frame[column].dtype):
            raise Refused(
                f"{where}: column {str(column)!r} holds {frame[column].dtype}, not numbers; leave it out, or encode it "
                "(pandas.get_dummies)"
            )
        if frame[column].isna().any():
            raise Refused(f"{where}: column {str(column)!r} has gaps; fill them or remove their samples")
    plain = [column.to_numpy(dtype=None if column.dtype.kind in "iufb" else float) for _, column in frame.items()]
    return np.stack([column.astype(column.dtype.base) for column in plain], axis=1)
