"""Targets that are numbers: their checks, groups by quantiles, and statistics that training scales them by.

Scenarios distribute classes. For numbers, a *group* replaces a class: the samples whose first target lies in one range.
Ranges are quantiles of the training samples, so that groups are equally large. Letters: N samples, D columns of the
target, G groups.
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
"""The name of the family of data sets whose targets are numbers."""
GROUPS = 10
"""Number of ranges of the first target; fewer if a range would have no training or test samples."""

Numbers = NDArray[np.float32]


def number_array(value: Any, rows: int, where: str) -> Numbers:
    """Convert targets to (N, D) float32: D columns of finite numbers, one row per sample.

    Raises:
        Refused: They are something else; the message says how to fix it.
    """
    target = as_array(value, where)
    if target.dtype.kind == "O":
        with contextlib.suppress(TypeError, ValueError):
            target = target.astype(np.float64)
    if target.dtype.kind not in "buif" or target.ndim not in (1, 2) or not target.size:
        raise Refused(
            f"{where} has shape {target.shape} and type {target.dtype}; numbers to predict have shape (N,) or "
            "(N, columns); leave family out if these are class labels"
        )
    if len(target) != rows:
        raise Refused(f"{where} has {len(target)} targets for {rows} samples; pass exactly one target per sample")
    missing = np.flatnonzero(~np.isfinite(target.reshape(rows, -1).astype(np.float64)).all(axis=1))
    if len(missing):
        raise Refused(
            f"{where} has no number in row {missing[0]} ({len(missing)} in all); remove such rows or fill them"
        )
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
    """Make a data set of numbers; the caller sets its ``checksum``.

    Args:
        x: Training and test inputs.
        target: Training and test targets (N, D).
        name: Name of the data set in records.
        where: Name of the origin in messages.
        scale: As in :class:`clbench.core.types.Dataset`.
        target_names: One name per column; by default ``target``, or ``target 0`` and so on.

    Raises:
        Refused: The two splits have different columns, a column is constant, or names do not fit.
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
                "sample, so there is nothing to predict; leave the column out, or add samples"
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
    """Return the group (N,) of each training and test sample, ascending by value, and a name for each group, its range.

    Args:
        train: (N,) numbers, whose quantiles are the limits of groups.
        test: (N,) numbers.
        most: G; fewer if a group would have no training or no test samples.
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
    """Return the group (N,) of each sample of a data set without a split; each group has at least two samples."""
    values = target[:, 0]
    for count in range(min(GROUPS, len(values) // 2), 1, -1):
        borders = np.unique(np.quantile(values.astype(np.float64), np.arange(1, count) / count))
        found = np.searchsorted(borders, values, side="right")
        if np.bincount(found, minlength=len(borders) + 1).min() > 1:
            return found.astype(np.int64)
    return np.zeros(len(values), dtype=np.int64)


def statistics(target: Numbers) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each column of targets (N, D); a constant column gets 1 for the latter."""
    mean, std = target.mean(axis=0, dtype=np.float64), target.std(axis=0, dtype=np.float64)
    return tuple(float(m) for m in mean), tuple(float(s) if s > 0 else 1.0 for s in std)
