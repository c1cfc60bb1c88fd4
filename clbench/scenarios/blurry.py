"""Blurry: classes leak into other experiences, throughout the stream (i-Blurry, Si-Blurry) or around each switch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Index, Stream
from clbench.scenarios.ordered import check_classes, choose, ordered_stream, singles
from clbench.scenarios.shared_settings import Output, check_experiences, common

Groups = list[Index]

TRIES = 1000
"""How often random partitions are redrawn if an experience would remain empty."""


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
    """Generate a stream with blurred boundaries: each training sample occurs once, and classes leak into other
    experiences.

    ``i_blurry``: A disjoint class occurs in one experience only. From every blurry class, ``blurry`` % of the samples
    go into a pool. The pool is shuffled and divided equally among all E experiences, so that a share of (1 - 1/E) of it
    ends up in another experience. ``si_blurry``: The numbers of disjoint classes, of blurry classes and of pooled
    samples per experience are random. ``linear``: All classes are disjoint. Around each switch the share of samples of
    the next experience rises linearly from 0 to 1 over ``width`` samples.

    The order of the samples is fixed. With ``training.epochs`` above 1 an experience is repeated in that order.

    Args:
        dataset: The data set, with C classes.
        seed: Determines the order of the classes, the samples that leak, and the order of the samples.
        variant: See above.
        experiences: Number of experiences E.
        disjoint: N, the percentage of disjoint classes, 0 to 100, rounded down to whole classes; not used by
            ``linear``.
        blurry: M, the percentage of samples of blurry classes in the pool, 0 to 100, rounded down; not used by
            ``linear``.
        width: Number of samples over which two experiences mix, from 0 to the size of the smallest; only for
            ``linear``.
        tasks: What is evaluated: each of the ``classes``, or groups of classes that have the same ``home`` experience.
        output: Which units compete: those ``seen`` so far, or ``all``.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    Raises:
        Refused: A class has no samples, a percentage is outside 0 to 100, an experience would remain empty, or the
            width is missing, too large, or given to another variant.

    Source: Koh et al. 2022 (arXiv 2110.10031) and the authors' splits; Moon et al. 2023 (arXiv 2308.09303),
    ``utils/online_sampler.py``; van de Ven et al. 2022, ``data/labelstream.py`` (linear). Differences: no class and
    no sample is left out, pooled samples are chosen at random, and ``linear`` does not return to the first group at
    the end.
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
    return ordered_stream(
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
    """Return groups of classes, the samples of each experience, and the realised settings.

    Position p in the sequence of disjoint groups becomes p + width · (u - 1/2), and samples come in that order. A step
    convolved with a box is a ramp, and every sample still occurs once.
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
            f"width = {width} is not possible: neighbouring experiences mix over this number of samples, and the "
            f"smallest has {sizes.min()}; give 0 (a sharp switch) to that many",
            "width",
        )
    mixed = Generator(seed, "stream/rows").permutation(len(dataset.train))
    rows = mixed[np.argsort(group_of[dataset.train.y[mixed]], kind="stable")]
    moment = np.arange(len(rows)) + width * (Generator(seed, "stream/blur").uniform(len(rows)) - 0.5)
    rows = rows[np.argsort(moment, kind="stable")]
    return homes, np.split(rows, np.cumsum(sizes)[:-1]), {"width": int(width)}


# ------------------------------------------------------------------------------------------- i-Blurry, Si-Blurry


@dataclass(frozen=True, eq=False)
class _Deal:
    """Hold the home classes of each of E experiences, and how many samples each gives to and takes from the pool."""

    apart: Groups
    leaky: Groups
    given: Index  # (E,)
    taken: Index  # (E,)


def _leaking(
    dataset: Dataset, seed: int, experiences: int, percent: tuple[float, float], random: bool
) -> tuple[Groups, Groups, dict[str, Any]]:
    """Return the home classes and samples of each experience, and the realised settings; ``percent`` is (N, M)."""
    for name, value in zip(("disjoint", "blurry"), percent, strict=True):
        if not 0 <= value <= 100:
            raise Refused(f"{name} = {value} is not a percentage; give a number from 0 to 100", name)
    draw = Generator(seed, "stream")
    order = draw.permutation(dataset.n_classes)
    n_disjoint = int(dataset.n_classes * percent[0] / 100)
    counts = np.bincount(dataset.train.y, minlength=dataset.n_classes)
    for _ in range(TRIES if random else 1):
        deal = _deal(order[:n_disjoint], order[n_disjoint:], counts, experiences, percent[1], draw if random else None)
        kept = [counts[a].sum() + counts[b].sum() for a, b in zip(deal.apart, deal.leaky, strict=True)]
        sizes = np.array(kept) - deal.given + deal.taken
        if sizes.min() > 0:
            break
    else:
        raise Refused(
            f"experiences {np.flatnonzero(sizes == 0).tolist()} would hold no samples: {n_disjoint} disjoint and "
            f"{dataset.n_classes - n_disjoint} blurry classes with {deal.given.sum()} samples in the pool do not reach "
            f"all {experiences}; ask for fewer experiences or a higher blurry percentage"
        )
    homes = [np.concatenate(pair) for pair in zip(deal.apart, deal.leaky, strict=True)]
    return (
        homes,
        _exchange(dataset, seed, deal),
        {
            "disjoint": float(percent[0]),
            "blurry": float(percent[1]),
            "disjoint_classes": [len(classes) for classes in deal.apart],
            "given": deal.given.tolist(),
        },
    )


def _deal(apart: Index, leaky: Index, counts: Index, experiences: int, percent: float, draw: Generator | None) -> _Deal:
    """Divide everything equally; or, with a generator, at sorted random places, so that some shares may be 0."""
    if draw is None:
        homes = np.array_split(leaky, experiences)
        given = np.array([int(counts[home].sum() * percent / 100) for home in homes])
        taken = np.array([len(share) for share in np.array_split(np.arange(given.sum()), experiences)])
        return _Deal(np.array_split(apart, experiences), homes, given, taken)
    apart_homes = np.split(apart, _cuts(len(apart), experiences, draw))
    homes = np.split(leaky, _cuts(len(leaky), experiences, draw))
    total = int(counts[leaky].sum() * percent / 100)
    wanted = np.diff(_cuts(total, experiences, draw), prepend=0, append=total)
    given = np.minimum(wanted, [counts[home].sum() for home in homes])
    # Experiences take as many as planned; if the pool is too small, the last experiences get fewer.
    taken = np.diff(np.minimum(np.cumsum(wanted), given.sum()), prepend=0)
    return _Deal(apart_homes, homes, given, taken)


def _cuts(total: int, parts: int, draw: Generator) -> Index:
    """Draw (parts - 1,) ascending positions in [0, total]; the end is included, so that no part is favoured."""
    return np.sort(draw.integers(parts - 1, total + 1))


def _exchange(dataset: Dataset, seed: int, deal: _Deal) -> Groups:
    """Return the samples of each experience in random order: disjoint classes, blurry samples that stay, and pooled
    ones."""
    y = dataset.train.y
    stock = [_spread(y, seed, home) for home in deal.leaky]
    pool = np.concatenate([rows[:n] for rows, n in zip(stock, deal.given, strict=True)])
    pool = pool[Generator(seed, "stream/pool").permutation(len(pool))]
    shares = np.split(pool, np.cumsum(deal.taken)[:-1])
    chosen = []
    for i, (own, n) in enumerate(zip(stock, deal.given, strict=True)):
        mine = np.concatenate([np.flatnonzero(np.isin(y, deal.apart[i])), own[n:], shares[i]])
        chosen.append(mine[Generator(seed, f"stream/rows/{i}").permutation(len(mine))])
    return chosen


def _spread(y: Index, seed: int, classes: Index) -> Index:
    """Order the training samples of some classes so that every initial part holds equal shares of each class."""
    rows, places = [np.empty(0, dtype=np.int64)], [np.empty(0)]
    for c in classes:
        own = np.flatnonzero(y == c)
        rows.append(own[Generator(seed, f"stream/class/{c}").permutation(len(own))])
        places.append((np.arange(len(own)) + 0.5) / len(own))
    return np.concatenate(rows)[np.argsort(np.concatenate(places), kind="stable")]
