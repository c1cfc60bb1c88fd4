"""Gaussian: the frequency of every class follows a bell curve; its width leads from disjoint classes to i.i.d."""

from __future__ import annotations

from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Index, Stream
from clbench.scenarios.ordered import check_classes, even, ordered_stream, singles
from clbench.scenarios.shared_settings import Output, check_experiences, common

CHUNK = 1 << 20
"""Largest number of weights (positions x classes) in memory at a time."""


def gaussian(
    dataset: Dataset,
    seed: int,
    *,
    experiences: int = 10,
    sigma: float | Literal["iid"] = 0.05,
    replace: bool = False,
    length: int | None = None,
    output: Output = "seen",
    boundaries: bool = False,
) -> Stream:
    """Generate a stream of L samples in which class frequencies follow w_c(t) = exp(-(t - μ_c)² / (2 sigma²)).

    Time t and the width are fractions of the stream. The c-th class of C has its peak at μ_c = (c + 1/2) / C. With
    ``replace``, the class at position n is drawn with probability ∝ w_c((n + 1/2) / L), and then one of its samples
    uniformly; a sample may occur several times. Without ``replace``, every sample of class c gets a time from the same
    curve, N(μ_c, sigma²), and samples come in the order of their times. Around time t class c then occurs with
    probability ∝ n_c · w_c(t), each sample occurs once, and no class runs out before its curve ends. In that case sigma
    = 0 is the disjoint split, class after class, for any class sizes, and sigma = ``iid`` is one random order of all
    samples.

    Experiences are equal parts of the sequence. They are learned in order, and their boundaries are hidden. Tasks are
    classes.

    Args:
        dataset: The data set, with C classes and n_c training samples of class c.
        seed: Determines the order of the classes, the times and the samples.
        experiences: Number of experiences, 1 to L.
        sigma: Standard deviation of the curves as a fraction of the stream; 0 for disjoint classes, ``iid`` for an
            infinite one. The published width is 50 of 1000 batches.
        replace: Whether samples are drawn with replacement.
        length: L, number of samples of the stream; by default all training samples. Without replacement L may be
            smaller, and the stream is then a uniform subset.
        output: Which units compete: those ``seen`` so far, or ``all``.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    Raises:
        Refused: A class has no samples, the width is negative, the data set has too few samples, or there are fewer
            samples than experiences.

    Source: Shanahan et al. 2021 (arXiv 2105.13327) and its code. There, each class enters a part of 5 batches with
    probability w_c, and samples are drawn uniformly from the classes that entered. Here, each sample is drawn
    separately.
    """
    shared = common(setting="class", output=output, task_labels=False, boundaries=boundaries)
    check_classes(dataset)
    available = len(dataset.train)
    rows = available if length is None else length
    if rows < 1 or (rows > available and not replace):
        raise Refused(
            f"length = {length} is not possible: {dataset.name!r} has {available} training samples; ask for 1 to that "
            "many, or for replace = true",
            "length",
        )
    if sigma != "iid" and not sigma >= 0:
        raise Refused(f"sigma = {sigma} is not a width; give 0 or more (a fraction of the stream), or iid", "sigma")
    width = np.inf if sigma == "iid" else float(sigma)
    order = Generator(seed, "stream").permutation(dataset.n_classes)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    peaks = (place + 0.5) / len(place)  # (C,) time at which each class has its peak
    sequence = (_drawn if replace else _dealt)(dataset, seed, peaks, width, rows)
    return ordered_stream(
        dataset,
        seed,
        sequence=sequence,
        bounds=even(rows, check_experiences(experiences)),
        groups=singles(dataset),
        shared=shared,
        description={
            "scenario": "gaussian",
            "experiences": experiences,
            "sigma": "iid" if np.isinf(width) else width,
            "replace": replace,
            "length": rows,
            "classes": order.tolist(),
        },
    )


def _dealt(dataset: Dataset, seed: int, peaks: NDArray[np.float64], sigma: float, length: int) -> Index:
    """Return each of ``length`` samples once, in the order of their times; equal times stay in random order."""
    rows = Generator(seed, "stream/rows").sample(len(dataset.train), length)
    if np.isinf(sigma):
        return rows
    # half a step off the grid of uniform numbers, since that grid includes 0
    quantile = NormalDist().inv_cdf
    z = np.array([quantile(u + 2.0**-54) for u in Generator(seed, "stream/moments").uniform(length).tolist()])
    return rows[np.argsort(peaks[dataset.train.y[rows]] + sigma * z, kind="stable")]


def _drawn(dataset: Dataset, seed: int, peaks: NDArray[np.float64], sigma: float, length: int) -> Index:
    """Draw ``length`` samples with replacement: a class by its weight at each position, then one of its samples."""
    n_classes = len(peaks)
    counts = np.bincount(dataset.train.y, minlength=n_classes)  # (C,)
    by_class = np.argsort(dataset.train.y, kind="stable")  # samples of class 0, then of class 1, ...
    first = np.cumsum(counts) - counts
    u = Generator(seed, "stream/moments").uniform(length)
    classes = np.empty(length, dtype=np.int64)
    step = max(1, CHUNK // n_classes)
    for start in range(0, length, step):
        moment = (np.arange(start, min(start + step, length)) + 0.5) / length  # (n,)
        cumulative = np.cumsum(weights(moment, peaks, sigma), axis=1)  # (n, C)
        place = u[start : start + step, None] * cumulative[:, -1:]
        classes[start : start + step] = (cumulative <= place).sum(1)
    rows: Index = by_class[first[classes] + Generator(seed, "stream/rows").integers(length, counts[classes])]
    return rows


def weights(moment: NDArray[np.float64], peaks: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Return exp(-(t - μ)² / (2 σ²)), scaled so that the class nearest to each time has 1; it works for any small
    width.

    Args:
        moment: (n,) times, as fractions of the stream.
        peaks: (C,) times of the peaks of the classes, as fractions of the stream.
        sigma: Width as a fraction of the stream, 0 to infinity. At 0 only the nearest class has a positive weight.

    Returns:
        (n, C) weights in [0, 1].
    """
    squares = (moment[:, None] - peaks) ** 2  # (n, C)
    squares -= squares.min(axis=1, keepdims=True)
    if sigma == 0:
        nearest: NDArray[np.float64] = (squares == 0).astype(np.float64)
        return nearest
    with np.errstate(over="ignore"):
        return np.exp(-np.square(np.sqrt(squares) / sigma) / 2)
