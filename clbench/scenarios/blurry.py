"""Blurry: tasks whose classes leak into each other, at random throughout (i-Blurry, Si-Blurry) or around each switch."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from clbench.parameters import Refused
from clbench.rng import Generator
from clbench.scenarios.common import Output, check_experiences, common
from clbench.scenarios.cut import check_classes, choose, cut_stream, singles
from clbench.types import Dataset, Index, Stream

Groups = list[Index]


def blurry(
    dataset: Dataset,
    seed: int,
    *,
    variant: Literal["i_blurry", "si_blurry", "linear"] = "i_blurry",
    experiences: int = 5,
    disjoint: float = 50.0,
    blurry: float = 10.0,
    width: int | None = None,
    tasks: Literal["classes", "home"] = "classes",
    output: Output = "seen",
    boundaries: bool = False,
) -> Stream:
    """A single pass over the data in which every training row occurs once, and classes of one experience leak into others.

    ``i_blurry``: a disjoint class occurs in one experience only; of every blurry class ``blurry`` % of the rows go into
    a pool, which is shuffled and dealt out to all E experiences in equal shares, so that (1 - 1/E) of them leave home.
    ``si_blurry``: the same with random numbers of disjoint and of blurry classes, and of rows in the pool, per
    experience. ``linear``: all classes disjoint, and around each switch the share of the next experience's rows rises
    linearly from 0 to 1 over ``width`` rows. Rows keep their order; with ``training.epochs`` above 1 an experience is
    repeated in it.

    Args:
        dataset: Where the rows live; C classes.
        seed: Decides the order of the classes, which rows leak, and the order of the rows.
        variant: See above.
        experiences: Number of experiences E.
        disjoint: N, percentage of the classes that are disjoint, 0 to 100, rounded down to whole classes; not used by
            ``linear``.
        blurry: M, percentage of the rows of blurry classes in the pool, 0 to 100, rounded down; not used by ``linear``.
        width: Rows over which two experiences mix, 0 to the size of the smallest; for ``linear`` only.
        tasks: What is evaluated: each of the ``classes``, or groups of classes with the same ``home``.
        output: Which units compete: ``seen`` so far, or ``all``.
        boundaries: Whether beginnings and ends of experiences are visible to the strategy.

    Raises:
        Refused: A class without rows, a percentage outside 0 to 100, an experience that would stay empty, a width that
            is missing, too large, or given to another variant.

    Source: Koh et al. 2022 (arXiv 2110.10031), section 3, and the authors' splits; Moon et al. 2023 (arXiv 2308.09303),
    ``utils/online_sampler.py``; van de Ven et al. 2022, ``data/labelstream.py`` (linear). Ours differs: no class and no
    row is left over, pooled rows are chosen at random, and ``linear`` does not return to the first group at the end.
    """
    choose("variant", variant, ("i_blurry", "si_blurry", "linear"))
    choose("tasks", tasks, ("classes", "home"))
    shared = common(setting="class", output=output, task_labels=False, boundaries=boundaries)
    check_classes(dataset)
    check_experiences(experiences)
    realised: dict[str, Any]
    if variant == "linear":
        homes, chosen, realised = _linear(dataset, seed, experiences, width)
    else:
        if width is not None:
            raise Refused(f"width = {width} belongs to variant = 'linear', not to {variant!r}; leave it out", "width")
        homes, chosen, realised = _leaking(dataset, seed, experiences, (disjoint, blurry), variant == "si_blurry")
    sizes = [len(rows) for rows in chosen]
    return cut_stream(
        dataset,
        seed,
        sequence=np.concatenate(chosen),
        bounds=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        groups=singles(dataset) if tasks == "classes" else [home for home in homes if len(home)],
        shared=shared,
        description={
            "scenario": "blurry",
            "variant": variant,
            "experiences": experiences,
            "tasks": tasks,
            "homes": [home.tolist() for home in homes],
            "sizes": sizes,
            **realised,
        },
    )


# ------------------------------------------------------------------------------------------- linear


def _linear(dataset: Dataset, seed: int, experiences: int, width: int | None) -> tuple[Groups, Groups, dict[str, Any]]:
    """Groups of classes, rows of each experience, and what was realised.

    Position p within the sequence of disjoint groups becomes p + width · (u - 1/2), and rows are met in that order: a
    step smoothed by a box is a ramp, and every row still occurs once.
    """
    n_classes = dataset.n_classes
    if experiences > n_classes:
        raise Refused(
            f"{dataset.name!r} has {n_classes} classes, too few for {experiences} experiences of at least one class; "
            f"ask for at most {n_classes}"
        )
    homes = np.array_split(Generator(seed, "stream").permutation(n_classes), experiences)
    group_of = np.empty(n_classes, dtype=np.int64)
    for t, home in enumerate(homes):
        group_of[home] = t
    sizes = np.bincount(group_of[dataset.train.y], minlength=experiences)
    if width is None or not 0 <= width <= sizes.min():
        raise Refused(
            f"width = {width} is not possible: over so many rows two neighbouring experiences mix, and the smallest "
            f"has {sizes.min()}; give 0 (a sharp switch) to that many",
            "width",
        )
    mixed = Generator(seed, "stream/rows").permutation(len(dataset.train))
    rows = mixed[np.argsort(group_of[dataset.train.y[mixed]], kind="stable")]
    moment = np.arange(len(rows)) + width * (Generator(seed, "stream/blur").uniform(len(rows)) - 0.5)
    rows = rows[np.argsort(moment, kind="stable")]
    return homes, np.split(rows, np.cumsum(sizes)[:-1]), {"width": int(width)}


# ------------------------------------------------------------------------------------------- i-Blurry, Si-Blurry


def _leaking(
    dataset: Dataset, seed: int, experiences: int, percent: tuple[float, float], random: bool
) -> tuple[Groups, Groups, dict[str, Any]]:
    """Classes at home in each experience, its rows, and what was realised; ``percent`` is (N, M)."""
    for name, value in zip(("disjoint", "blurry"), percent, strict=True):
        if not 0 <= value <= 100:
            raise Refused(f"{name} = {value} is not a percentage; give a number from 0 to 100", name)
    draw = Generator(seed, "stream")
    order = draw.permutation(dataset.n_classes)
    n_disjoint = int(dataset.n_classes * percent[0] / 100)
    apart, leaky = order[:n_disjoint], order[n_disjoint:]
    for _ in range(1000 if random else 1):
        deal = [_deal(group, experiences, draw if random else None) for group in (apart, leaky)]
        stock = [_rows_of(dataset, seed, home) for home in deal[1]]
        given = _given(dataset, stock, percent[1], draw if random else None)
        rows = _exchange(dataset, seed, deal[0], stock, given)
        if min(map(len, rows)):
            break
    else:
        empty = [i for i, part in enumerate(rows) if len(part) == 0]
        raise Refused(
            f"experiences {empty} would hold no rows: {n_disjoint} disjoint and {len(leaky)} blurry classes with "
            f"{sum(given)} rows in the pool do not reach {experiences} experiences; ask for fewer experiences or more "
            "blur"
        )
    homes = [np.concatenate(pair) for pair in zip(*deal, strict=True)]
    realised = {"disjoint": float(percent[0]), "blurry": float(percent[1])}
    return homes, rows, {**realised, "disjoint_classes": [len(d) for d in deal[0]], "moved": given}


def _deal(classes: Index, parts: int, draw: Generator | None) -> Groups:
    """Classes cut into parts: as even as can be, or at sorted random places (so that parts may be empty)."""
    return np.array_split(classes, parts) if draw is None else np.split(classes, _cuts(len(classes), parts, draw))


def _cuts(total: int, parts: int, draw: Generator) -> Index:
    """(parts - 1,) ascending places in [0, total), or zeros where there is nothing to cut."""
    return np.sort(draw.integers(parts - 1, total)) if total else np.zeros(parts - 1, dtype=np.int64)


def _rows_of(dataset: Dataset, seed: int, classes: Index) -> Index:
    """The training rows of some classes, spread so that any first part holds the same share of each class."""
    parts, places = [], []
    for c in classes:
        own = np.flatnonzero(dataset.train.y == c)
        parts.append(own[Generator(seed, f"stream/class/{c}").permutation(len(own))])
        places.append((np.arange(len(own)) + 0.5) / len(own))
    if not parts:
        return np.empty(0, dtype=np.int64)
    return np.concatenate(parts)[np.argsort(np.concatenate(places), kind="stable")]


def _given(dataset: Dataset, stock: Groups, percent: float, draw: Generator | None) -> list[int]:
    """How many blurry rows each experience gives to the pool."""
    if draw is None:
        return [int(len(rows) * percent / 100) for rows in stock]
    total = int(sum(map(len, stock)) * percent / 100)
    cuts = np.concatenate([[0], _cuts(total, len(stock), draw), [total]])
    return [min(int(wanted), len(rows)) for wanted, rows in zip(np.diff(cuts), stock, strict=True)]


def _exchange(dataset: Dataset, seed: int, apart: Groups, stock: Groups, given: list[int]) -> Groups:
    """Rows of each experience, in random order: disjoint classes, blurry rows kept, and its share of the pool."""
    pool = np.concatenate([rows[:n] for rows, n in zip(stock, given, strict=True)])
    pool = pool[Generator(seed, "stream/pool").permutation(len(pool))]
    shares = np.array_split(pool, len(stock))
    rows = []
    for i, (home, own) in enumerate(zip(apart, stock, strict=True)):
        mine = np.concatenate([np.flatnonzero(np.isin(dataset.train.y, home)), own[given[i] :], shares[i]])
        rows.append(mine[Generator(seed, f"stream/rows/{i}").permutation(len(mine))])
    return rows
