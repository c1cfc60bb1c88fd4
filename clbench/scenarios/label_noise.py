"""Label noise: a fraction of the training labels is wrong; test labels stay correct."""

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
    """Change the label of ``fraction`` of the training samples of every class, equally for all visits.

    ``symmetric``: to any other class, uniformly. ``pairwise``: to the next class, and from the last class to the first.
        The samples of an experience and the test labels do not change. A larger fraction changes additional samples.

    Args:
        stream: Any stream.
        fraction: Fraction of the samples of each class, rounded; in [0, 1].
        kind: See above.
        among: Which classes the wrong label may be. ``all``: any class of the data set, also one that was not met
            before. ``experience``: only classes of the same experience, for streams whose classes come in fixed groups;
            this reads the whole stream once.

    Raises:
        Refused: The fraction is outside [0, 1]; ``all`` is given and labels have a meaning only within their task; or
            ``experience`` is given and a class occurs together with changing classes, or always alone.

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
    """Build experience i with the same samples, and the classes of the new labels."""

    noisy: Stream  # builds experiences from the original labels

    def __call__(self, i: int) -> Experience:
        experience = self.noisy.build(i)
        units = self.noisy.labels(self.noisy.dataset.train, experience.rows, experience.view)
        return replace(experience, classes=tuple(np.unique(units).tolist()))


def _noisy(y: Index, groups: list[Index], fraction: float, kind: str, seed: int, why: str) -> Index:
    """Return the labels (N,) with noise; each class of ``groups`` is replaced by another class of its group."""
    wrong = chosen(y, fraction, Generator(seed, why))
    steps = Generator(seed, f"{why}/steps").uniform(len(y))  # index among the other classes, for every sample
    noisy = np.array(y)
    for group in groups:
        place = np.full(int(y.max()) + 1, -1)
        place[group] = np.arange(len(group))
        rows = np.flatnonzero(wrong & (place[y] >= 0))
        step = 1 + (np.zeros(len(rows)) if kind == "pairwise" else steps[rows] * (len(group) - 1)).astype(np.int64)
        noisy[rows] = group[(place[y[rows]] + step) % len(group)]
    return noisy


def _all(stream: Stream) -> list[Index]:
    """Return all classes as one group."""
    everything = np.arange(stream.dataset.n_classes)
    for task in stream.tasks:
        units = everything if stream.label_map is None else stream.label_map[task.view]
        if units.min() < 0 or (stream.task_labels and not set(units.tolist()) <= set(task.classes)):
            raise Refused(
                f"label_noise: among = 'all' would give samples of task {task.name!r} classes that have no output in "
                "it; choose among = 'experience'",
                "among",
            )
    return [everything]


def _groups(stream: Stream) -> list[Index]:
    """Return the groups of classes that occur together, if every class always occurs with the same classes."""
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
            "label_noise: among = 'experience' finds no other class for a wrong label, since every experience holds a "
            "single class; choose among = 'all'",
            "among",
        )
    return [np.array(group) for group in groups if len(group) > 1]
