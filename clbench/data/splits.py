"""What a benchmark asks of a data set: rows held out, a smaller training set, statistics for normalising."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Index, Mask, Rows
from clbench.data.arrays import checksum
from clbench.data.number_targets import statistics

Normalize = Literal["none", "mean-std", "columns"]
SPLIT_SEED = 0
"""Seed of every fixed split: held-out rows are part of a benchmark, the same for all its runs."""


def prepare(
    dataset: Dataset,
    *,
    normalize: Normalize = "none",
    validation: float = 0.0,
    train_rows: int | None = None,
    evaluate_on: Literal["test", "validation"] = "test",
    name: str | None = None,
) -> Dataset:
    """Apply the settings of :func:`clbench.data.load` to a data set in memory.

    Args:
        dataset: Whole training and test splits.
        normalize: ``mean-std`` fills ``mean`` and ``std`` from the training rows that remain; ``columns`` does so for
            each feature of vectors on its own.
        validation: Fraction of training rows to hold out, in [0, 1).
        train_rows: Size of the fixed stratified subset of the remaining rows, at least one per class.
        evaluate_on: ``validation`` puts the rows held out in the place of the test rows.
        name: What to call the result; unchanged where ``None``.

    Raises:
        Refused: Settings that this data set cannot meet.
    """
    if not 0.0 <= validation < 1.0:
        raise Refused(f"dataset: validation = {validation} is not allowed: it is the fraction held out, in [0, 1)")
    if evaluate_on == "validation" and validation == 0.0:
        raise Refused("dataset: evaluate_on = 'validation' needs rows held out; set validation to a fraction above 0")
    train, test = dataset.train, dataset.test
    if validation > 0.0:
        held = _hold_out(dataset, validation)
        train, validation_rows = select(train, ~held), select(train, held)
        test = validation_rows if evaluate_on == "validation" else test
    if train_rows is not None:
        train = _subset(dataset, train, train_rows)
    changed = train is not dataset.train or test is not dataset.test
    mean, std = input_statistics(train.x, dataset, normalize)
    return replace(
        dataset,
        name=name or dataset.name,
        train=train,
        test=test,
        mean=mean,
        std=std,
        **_target_statistics(dataset, train),
        checksum=checksum(train, test, dataset.scale) if changed else dataset.checksum,
    )


def _target_statistics(dataset: Dataset, train: Rows) -> dict[str, Any]:
    """Mean and standard deviation of the targets that remain, where the data set has such."""
    if not dataset.target_mean or train.target is None:
        return {}
    mean, std = statistics(train.target)
    return {"target_mean": mean, "target_std": std}


def _hold_out(dataset: Dataset, fraction: float) -> Mask:
    y, classes = dataset.train.y, dataset.n_classes
    held = stratified(y, max(classes, round(fraction * len(y))), "data/validation")
    left = np.bincount(y[~held], minlength=classes)
    if left.min() == 0:
        raise Refused(
            f"dataset: validation = {fraction} leaves no training rows for class "
            f"{dataset.class_names[int(left.argmin())]!r} of {dataset.name!r}; hold out a smaller fraction"
        )
    return held


def _subset(dataset: Dataset, train: Rows, rows: int) -> Rows:
    if not dataset.n_classes <= rows <= len(train):
        raise Refused(
            f"dataset: train_rows = {rows} is not allowed: {dataset.name!r} has {len(train)} training rows in "
            f"{dataset.n_classes} classes, so ask for {dataset.n_classes} to {len(train)}"
        )
    return select(train, stratified(train.y, rows, "data/train_rows"))


def select(rows: Rows, mask: Mask) -> Rows:
    """The rows where ``mask`` (N,) is true, in their order."""
    target = None if rows.target is None else np.asarray(rows.target)[mask]
    return Rows(np.asarray(rows.x)[mask], np.asarray(rows.y)[mask], target)


def stratified(y: Index, n: int, purpose: str) -> Mask:
    """Choose ``n`` rows, spread over classes in proportion to their size and at least one from each.

    Args:
        y: (N,) labels 0..C-1, each present.
        n: How many, from C to N.
        purpose: Name of the draw; the choice depends on it, on ``y`` and on ``n`` only.

    Returns:
        (N,) true for the rows chosen.
    """
    quota = _allocate(np.bincount(y), n)
    order = Generator(SPLIT_SEED, purpose).permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]  # class by class, shuffled within each
    starts = np.concatenate(([0], np.cumsum(np.bincount(y))[:-1]))
    rank = np.arange(len(y)) - starts[y[order]]
    mask = np.zeros(len(y), dtype=np.bool_)
    mask[order[rank < quota[y[order]]]] = True
    return mask


def split_off_test(
    x: NDArray[Any],
    y: NDArray[Any],
    purpose: str = "data/test",
    *,
    test: float = 0.2,
    where: str,
    groups: Index | None = None,
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Training and test rows of a set that comes without a split: a fixed stratified one, the same for every seed.

    Args:
        x: (N, ...) rows.
        y: (N,) labels of any kind.
        purpose: Name of the draw.
        test: Fraction of test rows; at least one of each class.
        where: How messages call the set.
        groups: (N,) what to stratify by in place of labels.

    Raises:
        Refused: A class has a single row, or there would be no training row of one.
    """
    names, kinds = np.unique(y if groups is None else groups, return_inverse=True)
    counts = np.bincount(kinds)
    if counts.min() < 2:
        raise Refused(
            f"{where}: class {str(names[counts.argmin()])!r} has a single row, which cannot be both a training and a "
            "test row; add rows of it, drop it, or give training and test rows apart"
        )
    classes = len(names)
    held = stratified(kinds, min(len(y), max(classes, round(len(y) * test))), purpose)
    if len(np.unique(kinds[~held])) < classes:
        raise Refused(f"{where}: with {test:g} of the rows as test rows, a class has no training rows; choose less")
    return [(x[~held], y[~held]), (x[held], y[held])]


def _allocate(counts: Index, n: int) -> Index:
    """``n`` places among classes in proportion by largest remainder, at least one each. Shape (C,), sums to ``n``."""
    # Whole numbers throughout, so that ties fall the same way on every machine.
    share, remainder = np.divmod(n * counts, counts.sum())
    lifted = share == 0
    places = np.where(lifted, 1, share)
    left = n - int(places.sum())
    if left > 0:
        places[np.argsort(np.where(lifted, 0, -remainder), kind="stable")[:left]] += 1
    for _ in range(-left):  # what rare classes got beyond their share is taken from the largest
        places[places.argmax()] -= 1
    return places


def input_statistics(
    x: NDArray[Any], dataset: Dataset, normalize: Normalize
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of scaled inputs (N, ...), as ``normalize`` asks for them.

    Raises:
        Refused: Columns of rows that are no vectors, or statistics of tokens.
    """
    if normalize == "none":
        return (), ()
    if dataset.tokens:
        raise Refused("dataset: normalize goes with values, and these inputs are tokens; leave it out", "normalize")
    if normalize == "mean-std":
        return channel_statistics(x, dataset.scale)
    if x.ndim != 2:
        raise Refused(
            f"dataset: normalize = columns goes with rows that are vectors, and {dataset.name!r} has rows of shape "
            f"{dataset.shape}; choose mean-std",
            "normalize",
        )
    mean, std = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    std[std == 0] = 1 / dataset.scale
    return tuple(float(m) for m in mean * dataset.scale), tuple(float(s) for s in std * dataset.scale)


def channel_statistics(x: NDArray[Any], scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of scaled values: per channel of (N, C, H, W), over everything of (N, F).

    A channel that never varies gets 1 in place of a standard deviation of 0, since it is divided by.
    """
    channels = x.shape[1] if x.ndim == 4 else 1
    per_channel = x.size // channels

    def total(shift: NDArray[np.float64], power: int) -> NDArray[np.float64]:
        result = np.zeros(channels)
        for start in range(0, len(x), 1024):  # in pieces: float64 copies of a whole data set would not fit
            part = x[start : start + 1024].reshape(min(1024, len(x) - start), channels, -1)  # (n, C, H*W)
            result += ((part - shift[:, None]) ** power).sum(axis=(0, 2))
        return result

    mean = total(np.zeros(channels), 1) / per_channel
    std = np.sqrt(total(mean, 2) / per_channel)
    std[std == 0] = 1 / scale
    return tuple(float(m) for m in mean * scale), tuple(float(s) for s in std * scale)
