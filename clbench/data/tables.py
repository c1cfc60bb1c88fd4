"""Tables with a column of labels and columns of inputs: frames of pandas, whichever file or program they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused, did_you_mean
from clbench.core.types import Dataset, Index
from clbench.data.arrays import assemble
from clbench.data.drawn_split import draw_test, drawn, groups_to_draw, refuse_split
from clbench.data.labels import some
from clbench.data.number_targets import REGRESSION
from clbench.data.parquet import LABELS
from clbench.data.table_columns import Categories, Missing, complete, encode, plain, refuse_text

LABEL_COLUMNS = (*LABELS, "y")
TRAIN, TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation")
INDEX = "Unnamed: 0"
"""The name that pandas gives to a column without one, such as a written index; it is left out."""


@dataclass(frozen=True)
class TableSettings:
    """Hold how a table is read; the settings of ``dataset`` in a benchmark file have these names.

    Args:
        label: The column of labels; with ``regression`` several, as a list or separated by commas. By default the first
            column with a usual name.
        group: The column whose values are the domains of the samples; it is no input.
        split: The column that contains ``train`` or ``test``; or ``{"test": 0.2, "seed": 0}``, the fraction of test
            samples and the seed of their draw. By default the column ``split`` if it has these words, else a fifth.
        categories: How columns of text become numbers, ``one-hot`` by default.
        missing: How missing values are treated; by default they are refused.
        ignore: Columns to leave out.
        family: ``regression`` if labels are numbers to predict.
    """

    label: str | Sequence[str] | None = None
    group: str | None = None
    split: str | Mapping[str, Any] | None = None
    categories: Categories | None = None
    missing: Missing | None = None
    ignore: Sequence[str] | None = None
    family: str | None = None


@dataclass(frozen=True)
class Table:
    """Hold the samples of a table.

    Args:
        train: Inputs (N, F) and labels (N,) or (N, D) of the training samples.
        test: As ``train``, of the test samples.
        domains: The domain (N,) of each training and test sample, if there is a column ``group``.
        input_names: The name of each input value, F of them.
    """

    train: tuple[NDArray[Any], NDArray[Any]]
    test: tuple[NDArray[Any], NDArray[Any]]
    domains: tuple[NDArray[Any], NDArray[Any]] | None
    input_names: tuple[str, ...]


def from_frames(
    name: str, frames: Sequence[Any], settings: TableSettings, *, where: str, scale: float | None = None
) -> Dataset:
    """Make a data set from one frame, which is divided, or from a training and a test frame.

    Args:
        name: Name of the data set in records.
        frames: One pandas frame, or two with the same columns in any order.
        settings: How the frames are read.
        where: Name of the frames in messages.
        scale: As in :func:`clbench.data.from_arrays`.

    Raises:
        Refused: Columns are unknown, or cannot be used; the message names the column.
    """
    table = read_frames(frames, settings, where=where)
    names = target_columns(settings.label) if settings.family == REGRESSION else None
    return assemble(
        name,
        table.train,
        table.test,
        where=where,
        scale=scale,
        family=settings.family,
        target_names=names,
        domains=table.domains,
        input_names=table.input_names,
    )


def read_frames(frames: Sequence[Any], settings: TableSettings, *, where: str) -> Table:
    """Return the samples of one frame, or of two; arguments and errors are as in :func:`from_frames`."""
    tidy = [_tidy(frame, where) for frame in frames]
    differing = set(tidy[0].columns) ^ set(tidy[-1].columns)
    if differing:
        raise Refused(f"{where}: only one of both frames has the columns {some(sorted(differing))}; give both the same")
    tidy = [frame[list(tidy[0].columns)] for frame in tidy]
    tidy = [frame.drop(columns=_existing(frame, settings.ignore or (), where)) for frame in tidy]
    labels = label_columns(tidy[0], settings.label, where, settings.family)
    group = settings.group
    if group is not None:
        _existing(tidy[0], [group], where)
        if group in labels:
            raise Refused(f"{where}: column {group!r} holds the labels, and group names it too; name another", "group")
    if len(tidy) > 1:
        refuse_split(settings.split, where)
        told = None
    else:
        told = _split_column(tidy[0], settings.split, labels, where)
    special = [*labels, *filter(None, [group, told])]
    inputs = [column for column in tidy[0].columns if column not in special]
    checked = [*inputs, *labels, *filter(None, [group])] if settings.missing == "drop" else inputs
    tidy = complete(tidy, checked, settings.missing, where)
    train, test = tidy if len(tidy) > 1 else _divided(tidy[0], labels, told, settings, where)
    x_train, x_test, names = encode(
        train[inputs], test[inputs], where=where, categories=settings.categories, missing=settings.missing
    )
    targets = [_labels(frame, labels) for frame in (train, test)]
    domains = None if group is None else tuple(_domain(frame, group, where) for frame in (train, test))
    return Table((x_train, targets[0]), (x_test, targets[1]), domains, names)  # type: ignore[arg-type]


def _tidy(frame: Any, where: str) -> Any:
    """Return the frame with text as column names, and without an index that pandas wrote as a column."""
    frame = frame.rename(columns=str)
    if frame.columns.has_duplicates:
        raise Refused(f"{where} has the column {frame.columns[frame.columns.duplicated()][0]!r} twice; rename one")
    return frame.drop(columns=[INDEX], errors="ignore")


def _existing(frame: Any, columns: Sequence[str], where: str) -> list[str]:
    for column in columns:
        if column not in frame.columns:
            raise Refused(f"{where} has no column {column!r}; {did_you_mean(column, map(str, frame.columns))}")
    return list(columns)


# --------------------------------------------------------------------------------------------------- test samples


def _split_column(frame: Any, split: str | Mapping[str, Any] | None, labels: list[str], where: str) -> str | None:
    """Return the column that says which samples are test samples; ``None`` if they are drawn."""
    if isinstance(split, str):
        return _existing(frame, [split], where)[0]
    if "split" not in frame.columns or labels == ["split"]:
        return None
    if not bool(_words(frame, "split").isin((*TRAIN, *TEST)).all()):
        return None
    if split is not None and "seed" in split:
        raise Refused(
            f"{where}: the column 'split' says train or test for every row, and split: {dict(split)} draws test "
            "samples; leave the setting out, or the column (ignore: [split])",
            "split",
        )
    return "split"


def _divided(frame: Any, labels: list[str], told: str | None, settings: TableSettings, where: str) -> tuple[Any, Any]:
    """Return training and test samples of a frame."""
    if told is None:
        column = f"{where}: column {', '.join(labels)!r}"
        held = draw_test(
            groups_to_draw(_labels(frame, labels), len(frame), settings.family, column),
            where=where,
            domains=None if settings.group is None else _domain(frame, settings.group, where),
            **drawn(settings.split, where),
        )
        return frame[~held], frame[held]
    words = _words(frame, told)
    known = words.isin((*TRAIN, *TEST))
    if not known.all():
        raise Refused(f"{where}: column {told!r} has {words[~known].iloc[0]!r}; it says train or test for every row")
    train, test = (frame[words.isin(names)] for names in (TRAIN, TEST))
    for part, what in ((train, "train"), (test, "test")):
        if not len(part):
            raise Refused(f"{where}: column {told!r} says {what} for no row; mark some")
    return train, test


def _words(frame: Any, column: str) -> Any:
    """Return the values of a column as words in small letters, without spaces around them."""
    return frame[column].astype(str).str.strip().str.lower()


# --------------------------------------------------------------------------------------------------- columns


def label_column(frame: Any, label: str | None, where: str) -> str:
    """Return the column of labels: the requested one, or the first with a usual name."""
    columns = [str(column) for column in frame.columns]
    if label is not None:
        return _existing(frame, [label], where)[0]
    found = [column for name in LABEL_COLUMNS for column in columns if column.lower() == name]
    if not found:
        raise Refused(
            f"{where} has no column of labels (one of {', '.join(LABEL_COLUMNS)}); its columns are "
            f"{', '.join(columns[:20])}; name it: dataset: {{name: csv:FILE, label: COLUMN}}, csv:FILE?label=COLUMN, "
            "or dataset=(frame, 'COLUMN')"
        )
    return found[0]


def target_columns(label: str | Sequence[str] | None) -> list[str] | None:
    """Return the columns in ``label``, which are a list or separated by commas."""
    if label is None:
        return None
    return [column.strip() for column in label.split(",")] if isinstance(label, str) else list(label)


def label_columns(frame: Any, label: str | Sequence[str] | None, where: str, family: str | None) -> list[str]:
    """Return the columns of labels: one, or in regression as many as ``label`` names."""
    if family == REGRESSION and label is not None and not (isinstance(label, str) and label in frame.columns):
        return [label_column(frame, column, where) for column in target_columns(label) or ()]
    if label is not None and not isinstance(label, str):
        if len(label) != 1:
            raise Refused(
                f"{where}: label names {len(label)} columns, and classes have one; name one column, or set family: "
                "regression if these are numbers to predict",
                "label",
            )
        label = label[0]
    return [label_column(frame, label, where)]


def _labels(frame: Any, labels: list[str]) -> NDArray[Any]:
    """Return the labels (N,) of one column or (N, D) of several."""
    held: NDArray[Any] = (frame[labels] if len(labels) > 1 else frame[labels[0]]).to_numpy()
    return held


def _domain(frame: Any, group: str, where: str) -> NDArray[Any] | Index:
    lacking = int(frame[group].isna().sum())
    if lacking:
        raise Refused(
            f"{where}: column {group!r} (group) lacks {lacking} of {len(frame)} values; fill them, or set "
            "missing: drop",
            "group",
        )
    values: NDArray[Any] = frame[group].to_numpy()
    if values.dtype.kind == "f" and (values == np.rint(values)).all():
        values = values.astype(np.int64)
    return values if values.dtype.kind in "iu" else values.astype(str)


def numbers(frame: Any, where: str) -> NDArray[Any]:
    """Return the numbers (N, F) of a frame of inputs without labels.

    Raises:
        Refused: It has no columns, or a column contains other values or gaps.
    """
    if not len(frame.columns):
        raise Refused(f"{where} has no columns beside the labels; there is nothing to learn from")
    frame = frame.rename(columns=str)
    refuse_text(frame, where)
    return np.stack([plain(column) for _, column in frame.items()], axis=1)
