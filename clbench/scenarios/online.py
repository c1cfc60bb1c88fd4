"""Online: a single pass in a fixed order, either i.i.d. in parts or over groups of classes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Index, Stream
from clbench.scenarios.ordered import check_classes, choose, even, ordered_stream, singles
from clbench.scenarios.shared_settings import Output, check_experiences, common

Tasks = Literal["all", "classes", "groups"]


def online(
    dataset: Dataset,
    seed: int,
    *,
    kind: Literal["iid", "class"] = "class",
    experiences: int = 5,
    groups: int | None = None,
    long_tail: float | None = None,
    shuffled: bool = False,
    tasks: Tasks | None = None,
    output: Output = "seen",
    boundaries: bool = True,
) -> Stream:
    """Generate a stream in which every training sample occurs once: data-incremental, or class-incremental in finer
    parts.

    ``iid``: All samples in a random order, divided into E equal parts, so that only the amount of data grows.
    ``class``: The classes are distributed over groups as in ``split``, and every group is divided into E / groups equal
    parts. Samples come in one order. ``training.batch_size`` sets the number of samples per step, and a single pass is
    ``training.epochs: 1``.

    Args:
        dataset: The data set, with C classes.
        seed: Determines the order of the classes, the samples that a long tail keeps, and the order of the samples.
        kind: See above.
        experiences: Number of experiences E.
        groups: Number of groups of classes, 1 to C, a divisor of E; by default E. Only for ``class``.
        long_tail: Imbalance ρ of the training samples, at least 1. The i-th class in a random order has ⌊n_max ρ^(-i /
            (C - 1))⌋ samples; n_max is the largest number for which every class has enough samples. 1 makes classes
            equal; by default all samples stay. Test samples stay unchanged.
        shuffled: Whether the samples of an experience come in a new order in every pass, instead of the stream's order.
        tasks: What is evaluated: ``all`` classes together (the default of ``iid``), single ``classes``, or the
            ``groups`` (the default of ``class``).
        output: Which units compete: those ``seen`` so far, or ``all``.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    Raises:
        Refused: A class has no samples, the groups do not fit, the tail leaves a class empty, or there are fewer
            samples than experiences.

    Source: Aljundi et al. 2019 (arXiv 1908.04742): one pass over a stream. Cui et al. 2019 (arXiv 1901.05555):
    exponential class sizes; there, n_max is the size of all classes.
    """
    choose("kind", kind, ("iid", "class"))
    shared = common(setting="class", output=output, task_labels=False, boundaries=boundaries)
    check_classes(dataset)
    check_experiences(experiences)
    members = _members(dataset, seed, kind, experiences, groups)
    rows, sizes = _kept(dataset, seed, long_tail)
    rows = rows[Generator(seed, "stream/rows").permutation(len(rows))]
    if kind == "iid":
        bounds = even(len(rows), experiences)
    else:
        rows, bounds = _by_group(dataset, rows, members, experiences // len(members))
    looked_at = tasks or ("all" if kind == "iid" else "groups")
    choose("tasks", looked_at, ("all", "classes") if kind == "iid" else ("all", "classes", "groups"))
    realised: dict[str, Any] = {"groups": [group.tolist() for group in members]} if kind == "class" else {}
    return ordered_stream(
        dataset,
        seed,
        sequence=rows,
        bounds=bounds,
        groups={"all": None, "classes": singles(dataset), "groups": members}[looked_at],
        shared=shared,
        shuffled=shuffled,
        description={
            "scenario": "online",
            "kind": kind,
            "experiences": experiences,
            "long_tail": long_tail,
            "shuffled": bool(shuffled),
            "tasks": looked_at,
            "class_sizes": sizes.tolist(),
            **realised,
        },
    )


def _members(dataset: Dataset, seed: int, kind: str, experiences: int, groups: int | None) -> list[Index]:
    """Return the classes of each group, in the order of the stream; one group if all parts have the same
    distribution."""
    n_classes = dataset.n_classes
    order = Generator(seed, "stream").permutation(n_classes)
    if kind == "iid":
        if groups is not None:
            raise Refused(f"groups = {groups} belongs to kind = 'class'; leave it out, or choose that kind", "groups")
        return [order]
    wanted = experiences if groups is None else groups
    if not 1 <= wanted <= n_classes or experiences % wanted:
        fitting = [n for n in range(1, n_classes + 1) if experiences % n == 0]
        raise Refused(
            f"{experiences} experiences cannot be pieces of {wanted} groups of the {n_classes} classes of "
            f"{dataset.name!r}; choose groups among {fitting}, or other experiences",
            "experiences" if groups is None else "groups",
        )
    return np.array_split(order, wanted)


def _kept(dataset: Dataset, seed: int, long_tail: float | None) -> tuple[Index, Index]:
    """Return the training samples that stay, ascending, and their number in each class, (C,)."""
    y, n_classes = dataset.train.y, dataset.n_classes
    counts = np.bincount(y, minlength=n_classes)
    if long_tail is None:
        return np.arange(len(y), dtype=np.int64), counts
    if not 1 <= long_tail < np.inf:
        raise Refused(f"long_tail = {long_tail} is not an imbalance; give 1 (equal classes) or more", "long_tail")
    rank = np.empty(n_classes, dtype=np.int64)
    rank[Generator(seed, "stream/long_tail").permutation(n_classes)] = np.arange(n_classes)
    share = float(long_tail) ** (-rank / max(1, n_classes - 1))  # (C,)
    n_max = (counts / share).min()
    sizes = np.minimum(np.floor(n_max * share + 1e-9).astype(np.int64), counts)
    if sizes.min() == 0:
        raise Refused(
            f"long_tail = {long_tail} leaves no training samples of class "
            f"{dataset.class_names[int(sizes.argmin())]!r}: the largest class of {dataset.name!r} "
            f"would have {int(n_max)}; choose at most {int(n_max)}",
            "long_tail",
        )
    kept = []
    for c in range(n_classes):
        own = np.flatnonzero(y == c)
        kept.append(own[Generator(seed, f"stream/class/{c}").permutation(len(own))[: sizes[c]]])
    return np.sort(np.concatenate(kept)), sizes


def _by_group(dataset: Dataset, rows: Index, members: list[Index], pieces: int) -> tuple[Index, Index]:
    """Return the samples group by group in their order, and the boundaries of the parts of each group."""
    group_of = np.empty(dataset.n_classes, dtype=np.int64)
    for g, group in enumerate(members):
        group_of[group] = g
    own = group_of[dataset.train.y[rows]]
    rows = rows[np.argsort(own, kind="stable")]
    bounds, start = [np.zeros(1, dtype=np.int64)], 0
    for size in np.bincount(own, minlength=len(members)).tolist():
        bounds.append(start + even(size, pieces, "experiences / groups")[1:])
        start += size
    return rows, np.concatenate(bounds)
