"""Label noise: a fraction of the training rows is called by another class; what is evaluated stays as it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from clbench.core.errors import Refused, did_you_mean
from clbench.core.rng import Generator
from clbench.core.types import Experience, Index, Rows, Stream
from clbench.scenarios.combinators import chosen, noted, purpose


def label_noise(
    stream: Stream,
    *,
    fraction: float,
    kind: Literal["symmetric", "pairwise"] = "symmetric",
    among: Literal["experience", "all"] = "all",
) -> Stream:
    """Every class has the label of ``fraction`` of its training rows changed, once and for all visits.

    ``symmetric``: to any other class, uniformly. ``pairwise``: to the next class, the last one to the first. Which rows
    an experience holds does not change, nor do test labels; a larger fraction changes more rows and the same ones.

    Args:
        stream: Any.
        fraction: Of the rows of each class, rounded; in [0, 1].
        kind: See above.
        among: ``all``: any class of the data set may be the wrong one, also one that was not met before.
            ``experience``: only classes that occur in the same experience, for streams whose classes come in fixed
            groups. This goes through the whole stream once.

    Raises:
        Refused: A fraction outside [0, 1]; ``all`` where labels have a meaning within their task only; ``experience``
            where a class occurs beside different classes, or nowhere beside another one.

    Source: van Rooyen et al. 2015 (arXiv 1505.07634), symmetric; Han et al. 2018 (arXiv 1804.06872), pair flipping.
    """
    if not 0 <= fraction <= 1:
        raise Refused(f"label_noise: fraction = {fraction} is not possible; give a number from 0 to 1", "fraction")
    for name, value, known in (("kind", kind, ("symmetric", "pairwise")), ("among", among, ("experience", "all"))):
        if value not in known:
            raise Refused(f"label_noise: {name} = {value!r} does not exist; {did_you_mean(value, known)}", name)
    groups = _all(stream) if among == "all" else _groups(stream)
    train = stream.dataset.train
    y = _noisy(train.y, groups, fraction, kind, stream.seed, purpose(stream, "label_noise"))
    checksum = hashlib.blake2b(f"{stream.dataset.checksum}/".encode() + y.astype("<i8").tobytes(), digest_size=16)
    dataset = replace(stream.dataset, train=Rows(train.x, y), checksum=checksum.hexdigest())
    settings = {"fraction": float(fraction), "kind": kind, "among": among}
    noisy = replace(stream, dataset=dataset, description=noted(stream, "label_noise", settings))
    return replace(noisy, build=_Relabelled(noisy))


@dataclass(frozen=True, eq=False)
class _Relabelled:
    """Builds experience i: its rows as they were, its classes as they are called now."""

    noisy: Stream  # builds experiences from the labels before

    def __call__(self, i: int) -> Experience:
        experience = self.noisy.build(i)
        units = self.noisy.labels(self.noisy.dataset.train, experience.rows, experience.view)
        return replace(experience, classes=tuple(np.unique(units).tolist()))


def _noisy(y: Index, groups: list[Index], fraction: float, kind: str, seed: int, why: str) -> Index:
    """Labels (N,) after the noise; each class of ``groups`` is taken for another one of its group."""
    wrong = chosen(y, fraction, Generator(seed, why))
    steps = Generator(seed, f"{why}/steps").uniform(len(y))  # which of the others, for every row
    noisy = np.array(y)
    for group in groups:
        place = np.full(int(y.max()) + 1, -1)
        place[group] = np.arange(len(group))
        rows = np.flatnonzero(wrong & (place[y] >= 0))
        step = 1 + (np.zeros(len(rows)) if kind == "pairwise" else steps[rows] * (len(group) - 1)).astype(np.int64)
        noisy[rows] = group[(place[y[rows]] + step) % len(group)]
    return noisy


def _all(stream: Stream) -> list[Index]:
    """All classes as one group."""
    everything = np.arange(stream.dataset.n_classes)
    for task in stream.tasks:
        units = everything if stream.label_map is None else stream.label_map[task.view]
        if units.min() < 0 or (stream.task_labels and not set(units.tolist()) <= set(task.classes)):
            raise Refused(
                f"label_noise: among = 'all' would call rows of task {task.name!r} by classes that have no output in "
                "it; choose among = 'experience'",
                "among",
            )
    return [everything]


def _groups(stream: Stream) -> list[Index]:
    """The classes that occur together, where every class always has the same company."""
    company: dict[int, tuple[int, ...]] = {}
    for experience in stream:
        count = np.bincount(stream.dataset.train.y[experience.rows], minlength=stream.dataset.n_classes)
        together = tuple(np.flatnonzero(count).tolist())
        for c in together:
            if company.setdefault(c, together) != together:
                raise Refused(
                    f"label_noise: among = 'experience' needs classes that come in fixed groups, and class {c} occurs "
                    f"with classes {list(company[c])} and with {list(together)}; choose among = 'all'",
                    "among",
                )
    groups = sorted(set(company.values()))
    if all(len(group) == 1 for group in groups):
        raise Refused(
            "label_noise: among = 'experience' finds no other class to take one for, since every experience holds a "
            "single class; choose among = 'all'",
            "among",
        )
    return [np.array(group) for group in groups if len(group) > 1]
