"""Class-incremental with repetition: classes occur repeatedly; every class is a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from clbench.core.errors import Refused, did_you_mean
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Experience, Index, Mask, Rows, Stream
from clbench.scenarios.schedules import (
    ByClass,
    Floats,
    class_tasks,
    digest,
    first_positions,
    refuse_unused,
    repetition_probabilities,
)
from clbench.scenarios.shared_settings import Common, Output, check_experiences, common


def cir(
    dataset: Dataset,
    seed: int,
    *,
    generator: Literal["slot", "sampling"] = "slot",
    experiences: int = 20,
    slots: int = 5,
    first: Literal["geometric", "zipf", "poisson", "uniform"] = "geometric",
    first_parameter: float | None = None,
    repetition: Literal["fixed", "zipf", "dual", "random"] = "fixed",
    repetition_parameter: float | list[float] | None = None,
    rows_per_experience: int = 500,
    output: Output = "seen",
    boundaries: bool = True,
) -> Stream:
    """Generate a stream in which classes recur, either by slots or by chance; all C classes are evaluated.

    ``slot``: G_slot(N, K). The samples of each class are shuffled and divided into N K / C equal slots; if the division
    leaves a remainder, classes drawn at random get one slot more. The slots are dealt to N experiences, from the last
    to the first: K different classes at random as long as K classes have slots left, then one slot at a time. Repeated
    slots of a class therefore gather in the first experiences. Every sample is used at most once; the remainder of a
    class is dropped. K = C gives all classes in every experience, N K = C is class-incremental.

    ``sampling``: Each class first occurs at a position drawn from ``first``, and in every later experience with its
    probability of repetition. Experiences without a class are removed. ``rows_per_experience`` samples are divided
    equally among the classes present; for a remainder, classes drawn at random have one more. Samples are drawn without
    replacement within an experience, and with replacement across experiences.

    Args:
        dataset: The data set, with C classes.
        seed: Determines classes and samples.
        generator: ``slot`` or ``sampling``.
        experiences: N, at least 1; if experiences are removed, the stream is shorter.
        slots: K, slots per experience, 1 to C; only for ``slot``.
        first: Only for ``sampling``: the probability of positions e = 0 to N-1 is proportional to (1-p)^e
            (``geometric``), (e+1)^-s (``zipf``), mu^e / e! (``poisson``), or equal (``uniform``).
        first_parameter: p in (0, 1), by default 0.01; s >= 0, by default 1; or mu > 0, without a default.
        repetition: Only for ``sampling``: one probability for all classes (``fixed``), r^-s for the class of rank r = 1
            to C (``zipf``), a low and a high one (``dual``), or uniform in [0, 1) for each class (``random``). Which
            class gets which probability is drawn.
        repetition_parameter: The probability, by default 0.2; s >= 0, by default 1; or for ``dual`` a list: the
            fraction of classes with the low probability, the low and the high probability, such as [0.3, 0.1, 1.0].
        rows_per_experience: Samples of an experience, only for ``sampling``; fewer if its classes have fewer.
        output: Which units compete: those ``seen`` so far, or ``all``.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    Raises:
        Refused: A class gets no slot or has no samples, a class has fewer samples than slots, parameters are out of
            range or belong to the other generator, or an experience has fewer samples than classes.

    Source: Hemati et al. 2023, CoLLAs (arXiv 2301.11396), and its code.
    """
    shared = common(setting="class", output=output, task_labels=None, boundaries=boundaries)
    tasks = class_tasks(dataset)
    check_experiences(experiences)
    chance = {
        "first": first,
        "first_parameter": first_parameter,
        "repetition": repetition,
        "repetition_parameter": repetition_parameter,
        "rows_per_experience": rows_per_experience,
    }
    build: _Slots | _Samples
    if generator == "slot":
        refuse_unused(cir, chance, because="generator = 'slot'")
        build = _slots(dataset, seed, experiences, slots, shared)
        own: dict[str, Any] = {"slots": slots, "classes": digest(build.classes)}
    elif generator == "sampling":
        refuse_unused(cir, {"slots": slots}, because="generator = 'sampling'")
        at = first_positions(first, first_parameter, experiences)
        again = repetition_probabilities(seed, repetition, repetition_parameter, dataset.n_classes)
        present = occurrences(seed, at, again)  # (N, C)
        present = present[present.any(axis=1)]  # (E, C)
        build = _samples(dataset, seed, present, rows_per_experience, shared)
        own = {**chance, "classes": digest(present), "length": len(present)}
    else:
        raise Refused(
            f"generator = {generator!r} does not exist; {did_you_mean(generator, ('slot', 'sampling'))}", "generator"
        )
    return Stream(
        name="cir",
        dataset=dataset,
        tasks=tasks,
        length=len(build),
        build=build,
        n_outputs=dataset.n_classes,
        seed=seed,
        description={
            "scenario": "cir",
            "output": shared.output,
            "boundaries": shared.boundaries,
            "generator": generator,
            "experiences": experiences,
            **own,
        },
        output=shared.output,
    )


# ------------------------------------------------------------------------------------------- slots


@dataclass(frozen=True, eq=False)
class _Slots:
    """Build experience i: its slots, each a range of a class's samples in shuffled order."""

    train: Rows
    mixed: ByClass
    classes: Index  # (N, K)
    slot: Index  # (N, K) number of the slot within its class
    size: Index  # (C,) samples in a slot
    boundary: bool

    def __len__(self) -> int:
        return len(self.classes)

    def counts(self, i: int) -> Index:
        """Return the number of samples of each class in experience i, (C,)."""
        return np.bincount(self.classes[i], minlength=len(self.size)) * self.size

    def __call__(self, i: int) -> Experience:
        stretches = zip(self.classes[i], self.slot[i], strict=True)
        rows = np.concatenate([self.mixed[c][s * self.size[c] : (s + 1) * self.size[c]] for c, s in stretches])
        return _of_classes(i, np.sort(rows), self.train, self.boundary)


def _slots(dataset: Dataset, seed: int, experiences: int, slots: int, shared: Common) -> _Slots:
    n_classes = dataset.n_classes
    if not 1 <= slots <= n_classes:
        raise Refused(
            f"slots = {slots} per experience are not possible with {n_classes} classes; ask for 1 to {n_classes}",
            "slots",
        )
    if experiences * slots < n_classes:
        raise Refused(
            f"experiences = {experiences} of slots = {slots} make {experiences * slots} slots, which leaves "
            f"{n_classes - experiences * slots} of {n_classes} classes empty; ask for at least "
            f"{-(-n_classes // slots)} experiences, or {-(-n_classes // experiences)} slots",
            "experiences",
        )
    grouped = ByClass.of(dataset.train, n_classes)
    draw = Generator(seed, "stream")
    number = np.full(n_classes, experiences * slots // n_classes)  # (C,)
    number[draw.permutation(n_classes)[: experiences * slots % n_classes]] += 1
    size = grouped.counts // number
    if not size.all():
        fewest = int(grouped.counts.min())
        raise Refused(
            f"experiences = {experiences} of slots = {slots} cut a class into up to {number.max()} slots, and "
            f"{dataset.name!r} has a class of {fewest} training samples; ask for at most "
            f"{fewest * n_classes // slots} experiences",
            "experiences",
        )
    mixed = np.concatenate([grouped[c][draw.permutation(len(grouped[c]))] for c in range(n_classes)])
    classes = _deal(draw, number, experiences, slots)
    slot = np.empty_like(classes)
    for c in range(n_classes):
        slot[classes == c] = np.arange(number[c])
    return _Slots(dataset.train, ByClass(mixed, grouped.starts), classes, slot, size, shared.boundaries)


def _deal(draw: Generator, number: Index, experiences: int, slots: int) -> Index:
    """Return the class of each slot, (N, K), from ``number`` (C,) slots of each class; the last experience is dealt
    first."""
    left = number.copy()
    classes = np.empty((experiences, slots), dtype=np.int64)
    for i in reversed(range(experiences)):
        available = np.flatnonzero(left)
        if len(available) >= slots:
            classes[i] = available[draw.sample(len(available), slots)]
            left[classes[i]] -= 1
            continue
        for j in range(slots):
            available = np.flatnonzero(left)
            classes[i, j] = available[draw.integers(1, len(available))[0]]
            left[classes[i, j]] -= 1
    return classes


# ------------------------------------------------------------------------------------------- sampling


@dataclass(frozen=True, eq=False)
class _Samples:
    """Build experience i: equally many samples of each class that is present."""

    train: Rows
    by_class: ByClass
    seed: int
    present: Mask  # (E, C)
    rows: int
    boundary: bool

    def __len__(self) -> int:
        return len(self.present)

    def _shares(self, i: int, draw: Generator) -> Index:
        """Return the number of samples of each class, (C,)."""
        classes = np.flatnonzero(self.present[i])
        shares = np.zeros(self.present.shape[1], dtype=np.int64)
        shares[classes] = self.rows // len(classes)
        shares[classes[draw.permutation(len(classes))[: self.rows % len(classes)]]] += 1
        return np.minimum(shares, self.by_class.counts)

    def counts(self, i: int) -> Index:
        """Return the number of samples of each class in experience i, (C,)."""
        return self._shares(i, Generator(self.seed, f"stream/rows/{i}"))

    def __call__(self, i: int) -> Experience:
        draw = Generator(self.seed, f"stream/rows/{i}")
        shares = self._shares(i, draw)
        groups = [self.by_class[c] for c in np.flatnonzero(shares).tolist()]
        rows = np.concatenate([g[draw.sample(len(g), int(n))] for g, n in zip(groups, shares[shares > 0], strict=True)])
        return _of_classes(i, np.sort(rows), self.train, self.boundary)


def _of_classes(i: int, rows: Index, train: Rows, boundary: bool) -> Experience:
    task = train.y[rows]
    return Experience(i, rows, task, 0, tuple(np.unique(task).tolist()), boundary=boundary)


def _samples(dataset: Dataset, seed: int, present: Mask, rows: int, shared: Common) -> _Samples:
    most = int(present.sum(axis=1).max())
    if rows < most:
        raise Refused(
            f"rows_per_experience = {rows} leaves a class empty where {most} classes are present; ask for at least "
            f"{most}",
            "rows_per_experience",
        )
    by_class = ByClass.of(dataset.train, dataset.n_classes)
    return _Samples(dataset.train, by_class, seed, present, rows, shared.boundaries)


def occurrences(seed: int, at: Floats, again: Floats) -> Mask:
    """Draw whether a class is present, (N, C), from probabilities of first positions (N,) and of repetition (C,)."""
    positions = Generator(seed, "stream/first").weighted(at, len(again))  # (C,)
    order = np.arange(len(at))[:, None]  # (N, 1)
    drawn = Generator(seed, "stream/again").uniform(len(at) * len(again)).reshape(len(at), len(again))
    present: Mask = (order == positions) | ((order > positions) & (drawn < again))
    return present
