"""Fixed splits of a data set for a benchmark: validation samples, smaller training sets, statistics for
normalisation."""

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

Normalize = Literal["none", "mean-std"]
SPLIT_SEED = 0
"""Seed of every fixed split: held-out samples are part of a benchmark, and equal for all its runs."""


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
        dataset: Complete training and test splits.
        normalize: ``mean-std`` sets ``mean`` and ``std`` from the remaining training samples. If targets
            are numbers, each column of vectors has its own.
        validation: Fraction of training samples to hold out, in [0, 1).
        train_rows: Size of the fixed stratified subset of the remaining samples, at least one per class.
        evaluate_on: ``validation`` replaces the test samples by the held-out ones.
        name: Name of the result; ``None`` keeps the name.

    Raises:
        Refused: The data set cannot meet these settings.
    """
    if not 0.0 <= validation < 1.0:
        raise Refused(f"dataset: validation = {validation} is not allowed: it is the fraction held out, in [0, 1)")
    if evaluate_on == "validation" and validation == 0.0:
        raise Refused("dataset: evaluate_on = 'validation' needs held-out samples; set validation above 0")
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
    """Return mean and standard deviation of the remaining targets, if the data set has any."""
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
            f"dataset: validation = {fraction} leaves no training samples for class "
            f"{dataset.class_names[int(left.argmin())]!r} of {dataset.name!r}; hold out a smaller fraction"
        )
    return held


def _subset(dataset: Dataset, train: Rows, rows: int) -> Rows:
    if not dataset.n_classes <= rows <= len(train):
        raise Refused(
            f"dataset: train_rows = {rows} is not allowed: {dataset.name!r} has {len(train)} training samples in "
            f"{dataset.n_classes} classes, so ask for {dataset.n_classes} to {len(train)}"
        )
    return select(train, stratified(train.y, rows, "data/train_rows"))


def select(rows: Rows, mask: Mask) -> Rows:
    """Select the samples where ``mask`` (N,) is true, in their order."""
    target = None if rows.target is None else np.asarray(rows.target)[mask]
    return Rows(np.asarray(rows.x)[mask], np.asarray(rows.y)[mask], target)


def stratified(y: Index, n: int, purpose: str) -> Mask:
    """Choose ``n`` samples, with classes in proportion to their size and at least one sample from each.

    Args:
        y: (N,) labels 0..C-1, each present.
        n: Number of samples, from C to N.
        purpose: Purpose of the draw. The choice depends only on it, on ``y`` and on ``n``.

    Returns:
        (N,) mask of the chosen samples.
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
    """Split a data set without a test split by a fixed stratified draw, equal for every seed.

    Args:
        x: (N, ...) samples.
        y: (N,) labels of any kind.
        purpose: Purpose of the draw.
        test: Fraction of test samples; at least one of each class.
        where: Name of the data set in messages.
        groups: (N,) groups to stratify by instead of labels.

    Raises:
        Refused: A class has a single sample, or would have no training sample.
    """
    names, kinds = np.unique(y if groups is None else groups, return_inverse=True)
    counts = np.bincount(kinds)
    if counts.min() < 2:
        raise Refused(
            f"{where}: class {str(names[counts.argmin()])!r} has a single sample, which cannot be both a training and "
            "a test sample; add samples of it, remove it, or give training and test samples separately"
        )
    classes = len(names)
    held = stratified(kinds, min(len(y), max(classes, round(len(y) * test))), purpose)
    if len(np.unique(kinds[~held])) < classes:
        raise Refused(f"{where}: test = {test:g} leaves a class without training samples; choose a smaller fraction")
    return [(x[~held], y[~held]), (x[held], y[held])]


def _allocate(counts: Index, n: int) -> Index:
    """Distribute ``n`` places among classes in proportion by largest remainder, at least one each; (C,), sums to
    ``n``."""
    # Integers throughout, so that ties are resolved equally on every machine.
    share, remainder = np.divmod(n * counts, counts.sum())
    lifted = share == 0
    places = np.where(lifted, 1, share)
    left = n - int(places.sum())
    if left > 0:
        places[np.argsort(np.where(lifted, 0, -remainder), kind="stable")[:left]] += 1
    for _ in range(-left):  # places that rare classes got beyond their share are taken from the largest
        places[places.argmax()] -= 1
    return places


def input_statistics(
    x: NDArray[Any], dataset: Dataset, normalize: Normalize
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of scaled inputs (N, ...), as ``normalize`` sets it.

    Classes keep one mean for all values of vectors, as always; if targets are numbers, each column has its own.

    Raises:
        Refused: Inputs are tokens.
    """
    if normalize == "none":
        return (), ()
    if dataset.tokens:
        raise Refused("dataset: normalize goes with values, and these inputs are tokens; leave it out", "normalize")
    if x.ndim != 2 or dataset.family == "classification":
        return channel_statistics(x, dataset.scale)
    mean, std = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    std[std == 0] = 1 / dataset.scale
    return tuple(float(m) for m in mean * dataset.scale), tuple(float(s) for s in std * dataset.scale)


def channel_statistics(x: NDArray[Any], scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of scaled values: per channel of (N, C, H, W), over all values of (N, F).

    A constant channel gets 1 instead of a standard deviation of 0, since it is a divisor.
    """
    channels = x.shape[1] if x.ndim == 4 else 1
    per_channel = x.size // channels

    def total(shift: NDArray[np.float64], power: int) -> NDArray[np.float64]:
        result = np.zeros(channels)
        for start in range(0, len(x), 1024):  # in chunks: float64 copies of a whole data set would not fit
            part = x[start : start + 1024].reshape(min(1024, len(x) - start), channels, -1)  # (n, C, H*W)
            result += ((part - shift[:, None]) ** power).sum(axis=(0, 2))
        return result

    mean = total(np.zeros(channels), 1) / per_channel
    std = np.sqrt(total(mean, 2) / per_channel)
    std[std == 0] = 1 / scale
    return tuple(float(m) for m in mean * scale), tuple(float(s) for s in std * scale)
