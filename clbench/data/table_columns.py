"""The input values of a table: columns of numbers as they are, columns of text as categories, and missing values.

Everything that is computed from values (the mean of a column, its categories) comes from the training samples alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.notices import notice
from clbench.data.labels import some

Categories = Literal["one-hot", "codes"]
"""How a column of text becomes numbers: a column of 0 and 1 for each category, or the category's position."""
Missing = Literal["mean", "drop"]
"""How missing values are treated: replaced by the mean of the training samples, or their samples are left out."""
MOST_CATEGORIES = 100
"""Largest number of categories of a column; a column with more holds names or other texts."""
FEW = 10
"""Number of different texts up to which a column may hold categories that look like numbers."""


def encode(
    train: Any, test: Any, *, where: str, categories: Categories | None = None, missing: Missing | None = None
) -> tuple[NDArray[Any], NDArray[Any], tuple[str, ...]]:
    """Return training and test inputs (N, F) of two frames with the same columns, and the name of each input value.

    A column of text becomes one column for each category of the training samples, in alphabetical order (``one-hot``,
    the default), or one column of positions in that order (``codes``). A category that no training sample has, and a
    missing one, is 0 in all of its columns, or -1. A notice names these columns.

    Args:
        train, test: Pandas frames of inputs.
        where: Name of the frames in messages.
        categories: See above.
        missing: ``mean`` replaces missing numbers by the mean of the column's training samples.

    Raises:
        Refused: There are no columns, or a column cannot be used; the message names it.
    """
    if not len(train.columns):
        raise Refused(f"{where} has no columns beside the labels; there is nothing to learn from")
    parts: list[tuple[list[NDArray[Any]], list[NDArray[Any]]]] = []
    names: list[str] = []
    told: list[str] = []
    for column in map(str, train.columns):
        pair = train[column], test[column]
        if _is_text(pair[0]) or _is_text(pair[1]):
            first, second, kinds, new = _categories(*pair, column, where, categories or "one-hot")
            apart = "-1" if categories == "codes" else "0 in all columns"
            other = f"; {new} test samples have another, which is {apart}" if new else ""
            told.append(f"{column!r} ({some(kinds)}{other})")
            names += [f"{column}={kind}" for kind in kinds] if categories != "codes" else [column]
        else:
            first, second = ([values] for values in _numbers(*pair, column, where, missing))
            names.append(column)
        parts.append((first, second))
    if told:
        how = "by their position" if categories == "codes" else "one-hot, with a column for each category"
        notice(f"{where}: columns of text are encoded {how}: {', '.join(told)}")
    x_train, x_test = (np.stack([each for part in parts for each in part[side]], axis=1) for side in (0, 1))
    return x_train, x_test, tuple(names)


def complete(frames: Sequence[Any], columns: Iterable[str], missing: Missing | None, where: str) -> list[Any]:
    """Return frames whose columns have no missing values, or only such that are replaced later.

    Args:
        frames: Pandas frames with the same columns.
        columns: Names of the columns of inputs.
        missing: ``drop`` leaves out samples with missing values, with a notice; ``mean`` changes nothing.
        where: Name of the frames in messages.

    Raises:
        Refused: Values are missing and ``missing`` is not set; the message names the column and counts them.
    """
    total = sum(map(len, frames))
    gaps = {name: sum(int(frame[name].isna().sum()) for frame in frames) for name in columns}
    gaps = {name: count for name, count in gaps.items() if count}
    if not gaps or missing == "mean":
        return list(frames)
    first = next(iter(gaps))
    others = len(gaps) - 1
    more = f" (and {others} more {'column lacks' if others == 1 else 'columns lack'} some)" if others else ""
    if missing is None:
        raise Refused(
            f"{where}: column {first!r} lacks {gaps[first]} of {total} values{more}; set missing: mean (of the "
            "training samples), or missing: drop (leave these samples out)",
            "missing",
        )
    kept = [frame[~frame[list(gaps)].isna().any(axis=1)] for frame in frames]
    left = total - sum(map(len, kept))
    notice(f"{where}: {left} of {total} samples are left out, because they lack values of {some(list(gaps))}")
    for frame in kept:
        if not len(frame):
            raise Refused(
                f"{where}: every sample lacks a value, such as that of {first!r}; set missing: mean, or leave columns "
                "out with ignore: [COLUMN]",
                "missing",
            )
    return kept


def refuse_text(frame: Any, where: str) -> None:
    """Refuse a frame with a column of inputs that holds no numbers, or has missing values."""
    for column in map(str, frame.columns):
        if _is_text(frame[column]):
            raise Refused(
                f"{where}: column {column!r} holds text, and these inputs come without their labels; hand over one "
                "frame with its label column, (frame, 'COLUMN'), or encode it (pandas.get_dummies)"
            )
        _check_numeric(frame[column], column, where)
        if frame[column].isna().any():
            raise Refused(f"{where}: column {column!r} has gaps; fill them or remove their samples")


def plain(column: Any) -> NDArray[Any]:
    """Return a column of numbers as an array of numpy's own types."""
    values: NDArray[Any] = column.to_numpy(dtype=None if column.dtype.kind in "iufb" else float)
    return values.astype(values.dtype.base)


# --------------------------------------------------------------------------------------------------- numbers


def _numbers(
    train: Any, test: Any, column: str, where: str, missing: Missing | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the values of a column of numbers, with missing ones replaced."""
    for part in (train, test):
        _check_numeric(part, column, where)
    if missing == "mean" and (train.isna().any() or test.isna().any()):
        values, others = (part.to_numpy(dtype=float, na_value=np.nan) for part in (train, test))
        known = values[~np.isnan(values)]
        if not len(known):
            raise Refused(
                f"{where}: column {column!r} has no value in any training sample, so it has no mean; leave it out with "
                f"ignore: [{column}]",
                "missing",
            )
        mean = known.mean()
        return np.where(np.isnan(values), mean, values), np.where(np.isnan(others), mean, others)
    return plain(train), plain(test)


def _check_numeric(values: Any, column: str, where: str) -> None:
    from pandas.api.types import is_numeric_dtype

    if not is_numeric_dtype(values.dtype) or values.dtype.kind == "c":
        raise Refused(
            f"{where}: column {column!r} holds {values.dtype}, neither numbers nor text; leave it out with ignore: "
            f"[{column}], or write it as numbers"
        )


# --------------------------------------------------------------------------------------------------- text


def _is_text(values: Any) -> bool:
    """Return whether a column holds categories: texts, or values of pandas' type ``category``."""
    from pandas import CategoricalDtype
    from pandas.api.types import is_string_dtype

    dtype = values.dtype
    return isinstance(dtype, CategoricalDtype) or dtype.kind == "O" or (is_string_dtype(dtype) and dtype.kind != "S")


def _categories(
    train: Any, test: Any, column: str, where: str, how: Categories
) -> tuple[list[NDArray[Any]], list[NDArray[Any]], list[str], int]:
    """Return the training and test columns of numbers of a column of text, the names of its categories, and the number
    of test samples with another category."""
    words = [part.astype(object).where(part.notna(), None) for part in (train, test)]
    texts = [[None if value is None else str(value) for value in part] for part in words]
    kinds = sorted({text for text in texts[0] if text is not None})
    _check_categories(kinds, column, where, how)
    place = {kind: i for i, kind in enumerate(kinds)}
    codes = [np.array([-1 if text is None else place.get(text, -1) for text in part]) for part in texts]
    new = sum(text is not None and text not in place for text in texts[1])
    if how == "codes":
        return [codes[0]], [codes[1]], kinds, new
    first, second = ([(code == i).astype(np.float32) for i in range(len(kinds))] for code in codes)
    return first, second, kinds, new


def _check_categories(kinds: list[str], column: str, where: str, how: Categories) -> None:
    if not kinds:
        raise Refused(
            f"{where}: column {column!r} has no value in any training sample; leave it out with ignore: [{column}]"
        )
    spelled = [kind for kind in kinds if _is_number(kind)]
    if len(kinds) > FEW and len(spelled) * 2 >= len(kinds):
        other = next((kind for kind in kinds if not _is_number(kind)), None)
        what = "numbers written as text" if other is None else f"numbers and texts such as {other!r}"
        raise Refused(
            f"{where}: column {column!r} holds {what}; write numbers alone (a missing one as an empty field), or leave "
            f"it out with ignore: [{column}]"
        )
    if how == "one-hot" and len(kinds) > MOST_CATEGORIES:
        raise Refused(
            f"{where}: column {column!r} holds {len(kinds)} different texts, and at most {MOST_CATEGORIES} categories "
            f"are encoded one-hot; leave it out with ignore: [{column}], or set categories: codes",
            "categories",
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
