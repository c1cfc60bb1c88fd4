"""Gaussian: every class comes and goes on a bell curve of its own; the width leads from disjoint classes to i.i.d."""

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
"""Weights (positions x classes) held at a time."""


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
    """A stream of L rows in which the c-th class of C has presence w_c(t) = exp(-(t - μ_c)² / (2 sigma²)) around μ_c.

    Moments t and the width are fractions of the stream, and μ_c = (c + 1/2) / C. With ``replace`` the class at position
    n is drawn with probability ∝ w_c((n + 1/2) / L), and one of its rows uniformly: a row may come up several times.
    Without, every row of class c gets a moment of its own from the same curve, N(μ_c, sigma²), and rows are met in the
    order of their moments: around moment t class c occurs with probability ∝ n_c · w_c(t), each row occurs once, and no
    class can run out before its curve does. Then sigma = 0 is the disjoint split, class after class, whatever the sizes
    of the classes, and sigma = ``iid`` one random order of all rows.

    Experiences are equal pieces of the sequence, learned in its order, their boundaries hidden; tasks are classes.

    Args:
        dataset: Where the rows live; C classes, n_c training rows in class c.
        seed: Decides the order of the classes, the moments and the rows.
        experiences: Number of pieces, 1 to L.
        sigma: Standard deviation of the curves as a fraction of the stream: 0 for disjoint classes, ``iid`` for
            infinite. The published width is 50 of 1000 batches.
        replace: Whether rows are drawn with replacement.
        length: L, rows of the stream; by default as many as there are. Without replacement at most that many, and fewer
            are a uniform sample.
        output: Which units compete: ``seen`` so far, or ``all``.
        boundaries: Whether beginnings and ends of experiences are visible to the strategy.

    Raises:
        Refused: A class without rows, a negative width, more rows than there are, or fewer rows than experiences.

    Source: Shanahan et al. 2021 (arXiv 2105.13327) and its code, where each class enters a piece of 5 batches with
    probability w_c and rows are drawn uniformly from the classes that entered; ours draws row by row.
    """
    shared = common(setting="class", output=output, task_labels=False, boundaries=boundaries)
    check_classes(dataset)
    available = len(dataset.train)
    rows = available if length is None else length
    if rows < 1 or (rows > available and not replace):
        raise Refused(
            f"length = {length} is not possible: {dataset.name!r} has {available} training rows; ask for 1 to that "
            "many, or for replace = true",
            "length",
        )
    if sigma != "iid" and not sigma >= 0:
        raise Refused(f"sigma = {sigma} is not a width; give 0 or more (a fraction of the stream), or iid", "sigma")
    width = np.inf if sigma == "iid" else float(sigma)
    order = Generator(seed, "stream").permutation(dataset.n_classes)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    peaks = (place + 0.5) / len(place)  # (C,), the moment of each class
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
    """Each of ``length`` rows once, in the order of their moments; ties stay in random order."""
    rows = Generator(seed, "stream/rows").sample(len(dataset.train), length)
    if np.isinf(sigma):
        return rows
    # half a step off the grid of uniform numbers, which holds 0
    quantile = NormalDist().inv_cdf
    z = np.array([quantile(u + 2.0**-54) for u in Generator(seed, "stream/moments").uniform(length).tolist()])
    return rows[np.argsort(peaks[dataset.train.y[rows]] + sigma * z, kind="stable")]


def _drawn(dataset: Dataset, seed: int, peaks: NDArray[np.float64], sigma: float, length: int) -> Index:
    """``length`` rows with replacement: a class by its weight at each position, then one of its rows."""
    n_classes = len(peaks)
    counts = np.bincount(dataset.train.y, minlength=n_classes)  # (C,)
    by_class = np.argsort(dataset.train.y, kind="stable")  # rows of class 0, then of class 1, ...
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
    """exp(-(t - μ)² / (2 σ²)), scaled to 1 for the class nearest to each moment, so that no width is too small.

    Args:
        moment: (n,) fractions of the stream.
        peaks: (C,) where each class peaks, fractions of the stream.
        sigma: Width as a fraction of the stream, 0 to infinity; at 0 only the nearest class has any weight.

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
