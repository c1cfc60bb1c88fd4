"""Targets that are numbers: checked, cut into groups by quantiles, with the statistics that training scales them by.

Scenarios deal out classes. For numbers, a *group* takes a class's place: the rows whose first target lies in one range.
Ranges are quantiles of the training rows, so that groups are equally large.
Letters: N rows, D columns of the target, G groups.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.types import Dataset, Index, Rows
from clbench.data.labels import as_array

REGRESSION = "regression"
"""The family of data sets whose targets are numbers."""
GROUPS = 10
"""Ranges of the first target; fewer where a range would be without training or test rows."""

Numbers = NDArray[np.float32]


def number_array(value: Any, rows: int, where: str) -> Numbers:
    """Targets as (N, D) float32, D columns of finite numbers, one row per input.

    Raises:
        Refused: Something else, with the cure.
    """
    target = as_array(value, where)
    if target.dtype.kind == "O":
        with contextlib.suppress(TypeError, ValueError):
            target = target.astype(np.float64)
    if target.dtype.kind not in "buif" or target.ndim not in (1, 2) or not target.size:
        raise Refused(
            f"{where} has shape {target.shape} and type {target.dtype}; numbers to be predicted have shape (N,) or "
            "(N, columns); leave family out where these are class labels"
        )
    if len(target) != rows:
        raise Refused(f"{where} has {len(target)} targets for {rows} rows; pass exactly one target per row")
    missing = np.flatnonzero(~np.isfinite(target.reshape(rows, -1).astype(np.float64)).all(axis=1))
    if len(missing):
        raise Refused(f"{where} has no number in row {missing[0]} ({len(missing)} in all); drop such rows or fill them")
    return np.ascontiguousarray(target.reshape(rows, -1), dtype=np.float32)


def labelled(
    x: tuple[NDArray[Any], NDArray[Any]],
    target: tuple[Numbers, Numbers],
    *,
    name: str,
    where: str,
    scale: float,
    target_names: Sequence[str] | None = None,
) -> Dataset:
    """Make a data set of numbers; its ``checksum`` is left to the caller.

    Args:
        x: Training and test inputs.
        target: Training and test targets (N, D).
        name: How records call it.
        where: How messages call its origin.
        scale: As in :class:`clbench.core.types.Dataset`.
        target_names: One name per column; by default ``target``, or ``target 0`` and so on.

    Raises:
        Refused: The two splits have different columns, a column never varies, or names do not fit.
    """
    train, test = target
    columns = train.shape[1]
    if test.shape[1] != columns:
        raise Refused(f"{where}: training targets have {columns} columns and test targets {test.shape[1]}; give equal")
    for split, held in (("training", train), ("test", test)):
        still = np.flatnonzero(held.max(axis=0) == held.min(axis=0))
        if len(still):
            raise Refused(
                f"{where}: column {still[0]} of the {split} targets has one value ({held[0, still[0]]:g}) in every "
                "row, so there is nothing to predict; leave the column out, or add rows"
            )
    names = tuple(target_names or (["target"] if columns == 1 else [f"target {i}" for i in range(columns)]))
    if len(names) != columns:
        raise Refused(f"{where}: {len(names)} names for {columns} columns of the target; give one per column")
    y_train, y_test, ranges = groups(train[:, 0], test[:, 0])
    mean, std = statistics(train)
    return Dataset(
        name,
        Rows(x[0], y_train, train),
        Rows(x[1], y_test, test),
        class_names=ranges,
        scale=scale,
        checksum="",
        family=REGRESSION,
        target_names=names,
        target_mean=mean,
        target_std=std,
    )


def groups(train: Numbers, test: Numbers, most: int = GROUPS) -> tuple[Index, Index, tuple[str, ...]]:
    """Group (N,) of each training and test row, ascending by value, and a name for each group, its range.

    Args:
        train: (N,) numbers, whose quantiles are the borders.
        test: (N,) numbers.
        most: G; fewer where a group would have no training or no test rows.
    """
    for count in range(most, 1, -1):
        borders = np.unique(np.quantile(train.astype(np.float64), np.arange(1, count) / count))
        of_train, of_test = (np.searchsorted(borders, values, side="right") for values in (train, test))
        sizes = [np.bincount(of, minlength=len(borders) + 1) for of in (of_train, of_test)]
        if min(map(np.min, sizes)) > 0:
            ranges = [train[of_train == group] for group in range(len(borders) + 1)]
            names = tuple(f"{own.min():.4g} to {own.max():.4g}" for own in ranges)
            return of_train.astype(np.int64), of_test.astype(np.int64), names
    one = f"{train.min():.4g} to {train.max():.4g}"
    return np.zeros(len(train), dtype=np.int64), np.zeros(len(test), dtype=np.int64), (one,)


def strata(target: Numbers) -> Index:
    """Group (N,) of each row of a set that is still to be cut into training and test rows; each has two at least."""
    values = target[:, 0]
    for count in range(min(GROUPS, len(values) // 2), 1, -1):
        borders = np.unique(np.quantile(values.astype(np.float64), np.arange(1, count) / count))
        found = np.searchsorted(borders, values, side="right")
        if np.bincount(found, minlength=len(borders) + 1).min() > 1:
            return found.astype(np.int64)
    return np.zeros(len(values), dtype=np.int64)


def statistics(target: Numbers) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each column of targets (N, D); a column that never varies has 1 for the latter."""
    mean, std = target.mean(axis=0, dtype=np.float64), target.std(axis=0, dtype=np.float64)
    return tuple(float(m) for m in mean), tuple(float(s) if s > 0 else 1.0 for s in std)
