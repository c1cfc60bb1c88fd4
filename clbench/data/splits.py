"""Fixed splits of a data set for a benchmark: validation samples, smaller training sets, statistics for
normalisation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.notices import notice
from clbench.core.types import Dataset, Mask, Rows
from clbench.data.arrays import checksum
from clbench.data.domains import strata
from clbench.data.number_targets import statistics
from clbench.data.stratified import of_each, stratified

Normalize = Literal["none", "mean-std"]
Statistics = Literal["columns", "all"]
"""What vectors of classes are normalised by: statistics of each column, or of all values together."""
LARGE = 100.0
"""Largest input value of a table, after scaling, that needs no notice if inputs are not normalised."""


def prepare(
    dataset: Dataset,
    *,
    normalize: Normalize = "none",
    validation: float = 0.0,
    train_rows: int | None = None,
    test_rows: int | None = None,
    evaluate_on: Literal["test", "validation"] = "test",
    name: str | None = None,
    statistics: Statistics | None = None,
) -> Dataset:
    """Apply the settings of :func:`clbench.data.load` to a data set in memory.

    Args:
        dataset: Complete training and test splits.
        normalize: ``mean-std`` sets ``mean`` and ``std`` from the remaining training samples, per channel of images and
            per column of vectors.
        validation: Fraction of training samples to hold out, in [0, 1).
        train_rows: Size of the fixed stratified subset of the remaining samples, at least one per class.
        test_rows: Size of the fixed stratified subset of the test samples, at least one per class.
        evaluate_on: ``validation`` replaces the test samples by the held-out ones.
        name: Name of the result; ``None`` keeps the name.
        statistics: See :data:`Statistics`; ``columns`` by default.

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
        train = _subset(dataset, train, train_rows, "training")
    if test_rows is not None:
        test = _subset(dataset, test, test_rows, "test")
    changed = train is not dataset.train or test is not dataset.test
    mean, std = input_statistics(train.x, dataset, normalize, statistics)
    if normalize == "none":
        _tell_large(train.x, dataset, name or dataset.name)
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


def _tell_large(x: NDArray[Any], dataset: Dataset, name: str) -> None:
    """Name the column of a table with the largest values, if these are so large that networks seldom learn from them.

    Args:
        x: (N, ...) training inputs.
        dataset: The data set before its samples were chosen.
        name: Its name in the message.
    """
    if not dataset.input_names or x.ndim != 2 or not len(x):
        return
    largest = np.abs(np.stack([x.min(axis=0), x.max(axis=0)]).astype(np.float64)).max(axis=0) * dataset.scale
    column = int(largest.argmax())
    if largest[column] > LARGE:
        notice(
            f"{name}: values of column {dataset.input_names[column]!r} go up to {largest[column]:,.0f}; networks "
            "seldom learn from such values, set normalize: mean-std in the data set (--set "
            "stream.dataset.normalize=mean-std)"
        )


def _target_statistics(dataset: Dataset, train: Rows) -> dict[str, Any]:
    """Return mean and standard deviation of the remaining targets, if the data set has any."""
    if not dataset.target_mean or train.target is None:
        return {}
    mean, std = statistics(train.target)
    return {"target_mean": mean, "target_std": std}


def _hold_out(dataset: Dataset, fraction: float) -> Mask:
    y, classes, domain = dataset.train.y, dataset.n_classes, dataset.train.domain
    if domain is None and dataset.train.listed is not None:
        domain = dataset.train.listed[:, 0]  # of each experience
    if domain is None:
        held = stratified(y, max(classes, round(fraction * len(y))), "data/validation")
    else:
        held = of_each(strata(y, domain), fraction, "data/validation")
    left = np.bincount(y[~held], minlength=classes)
    if left.min() == 0:
        raise Refused(
            f"dataset: validation = {fraction} leaves no training samples for class "
            f"{dataset.class_names[int(left.argmin())]!r} of {dataset.name!r}; hold out a smaller fraction"
        )
    return held


def _subset(dataset: Dataset, found: Rows, rows: int, what: Literal["training", "test"]) -> Rows:
    setting = "train_rows" if what == "training" else "test_rows"
    if not dataset.n_classes <= rows <= len(found):
        raise Refused(
            f"dataset: {setting} = {rows} is not allowed: {dataset.name!r} has {len(found)} {what} samples in "
            f"{dataset.n_classes} classes, so ask for {dataset.n_classes} to {len(found)}"
        )
    return select(found, stratified(found.y, rows, f"data/{setting}"))


def select(rows: Rows, mask: Mask) -> Rows:
    """Select the samples where ``mask`` (N,) is true, in their order."""
    more = (rows.target, rows.domain, rows.listed)
    kept = (None if each is None else np.asarray(each)[mask] for each in more)
    return Rows(np.asarray(rows.x)[mask], np.asarray(rows.y)[mask], *kept)


def check_statistics(normalize: Normalize, statistics: Statistics | None) -> None:
    """Refuse the setting ``statistics`` without normalisation."""
    if normalize == "none" and statistics is not None:
        raise Refused(
            "dataset: statistics goes with normalize: mean-std; set that too, or leave statistics out", "statistics"
        )


def input_statistics(
    x: NDArray[Any], dataset: Dataset, normalize: Normalize, statistics: Statistics | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of scaled inputs (N, ...), as ``normalize`` sets it.

    Images have one of each for a channel, vectors for a column. Vectors of classes have one of each for all values if
    ``statistics`` is ``all``.

    Raises:
        Refused: Inputs are tokens, or ``statistics`` is set without normalisation.
    """
    check_statistics(normalize, statistics)
    if normalize == "none":
        return (), ()
    if dataset.tokens:
        raise Refused("dataset: normalize goes with values, and these inputs are tokens; leave it out", "normalize")
    if x.ndim != 2 or (dataset.family == "classification" and statistics == "all"):
        return channel_statistics(x, dataset.scale)
    if dataset.family == "classification":
        return channel_statistics(x[:, :, None, None], dataset.scale)  # in chunks
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
