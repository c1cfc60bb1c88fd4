"""SCoLe: thousands of short experiences, each with k of the N classes; every class is a task."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, combinations, cycle, islice
from math import comb, isfinite
from typing import Literal

import numpy as np

from clbench.core.errors import Refused, did_you_mean
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Experience, Index, Rows, Stream
from clbench.scenarios.schedules import ByClass, Floats, class_tasks, digest, draw_different, refuse_unused
from clbench.scenarios.shared_settings import Output, check_experiences, common

Variant = Literal["default", "two_periods", "stop_visiting"]

RAREST = 1e-100
"""Smallest ratio between the weights of two classes."""
MOST_SUBSETS = 1_000_000
"""Largest number of subsets of k classes for ``couples``, which lists them all."""


def scole(
    dataset: Dataset,
    seed: int,
    *,
    experiences: int = 200,
    k: int = 2,
    imbalance: float = 0.0,
    prob_reduction: float = 1.0,
    variant: Variant = "default",
    randomized: float = 1.0,
    couples: float = 1.0,
    rows_per_class: int | None = None,
    train_fraction: float = 1.0,
    output: Output = "all",
    boundaries: bool = True,
) -> Stream:
    """Generate a stream in which every experience has k of the N classes; all N are evaluated from the first one on.

    Classes recur, and so do samples. Within an experience no sample occurs twice. The default is the published scenario
    with uniform probabilities.

    Args:
        dataset: The data set, with N classes.
        seed: Determines the classes, which of them are rare, and the samples for ``rows_per_class`` and
            ``train_fraction``.
        experiences: T, at least 1; usually thousands.
        k: Different classes per experience, 1 to N, drawn one after the other without replacement.
        imbalance: Entropy decrease e >= 0: p_c ∝ (1 - f c)^e with f = min(0.05, 1 / N), assigned to the classes by the
            seed; 0 is uniform.
        prob_reduction: d >= 1: each occurrence of a class divides its probability by d; 1 has no effect.
        variant: ``two_periods``: experiences in the first half of the stream have only the first N // 2 classes, the
            others only the rest. ``stop_visiting``: experiences i > T / 2 have only the first N // 2 classes.
        randomized: Probability in [0, 1]. Below 1 the classes cycle through all subsets of k in lexicographic order,
            and each class is replaced with this probability by any of the N classes. A replacement may be a class that
            is already present; such an experience has fewer than k classes.
        couples: Fraction in (0, 1]. Below 1 only this fraction of all subsets of k, drawn once, occurs, uniformly.
        rows_per_class: Samples of each class, drawn without replacement and independently for each experience; by
            default all.
        train_fraction: Fraction in (0, 1] of the samples of the k classes, drawn independently for each experience. The
            authors' code holds out 0.1 for validation each time: 0.9.
        output: Which units compete: ``all``, since all classes are evaluated at any time, or those ``seen`` so far.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    Raises:
        Refused: There are more classes per experience than available, settings are out of range or have no effect
            together, or a class has no samples.

    Source: Lesort et al. 2023, CoLLAs (arXiv 2207.04543), and its code. Deviations: f is 0.05, or 0.01 (N = 100),
    there; our f is equal for N <= 20 and N = 100, and is defined for all N. Replacement has exactly the given
    probability. Odd N and T are allowed in ``two_periods``. No samples are held out by default.
    """
    shared = common(setting="class", output=output, task_labels=None, boundaries=boundaries)
    tasks = class_tasks(dataset)
    rows = ByClass.of(dataset.train, dataset.n_classes)
    _check_rows(dataset, rows, rows_per_class, train_fraction)
    _check_classes(dataset.n_classes, check_experiences(experiences), k, variant)
    for name, value, low, high in (
        ("imbalance", imbalance, 0.0, np.inf),
        ("prob_reduction", prob_reduction, 1.0, np.inf),
        ("randomized", randomized, 0.0, 1.0),
        ("couples", couples, 0.0, 1.0),
    ):
        if not (low <= value <= high and isfinite(value)):
            span = f"at least {low:g}" if high == np.inf else f"from {low:g} to {high:g}"
            raise Refused(f"{name} = {value} is out of range; give a number {span}", name)
    plain = {"variant": variant, "imbalance": imbalance, "prob_reduction": prob_reduction}
    if randomized < 1:
        refuse_unused(scole, {**plain, "couples": couples}, because=f"randomized = {randomized} makes classes cycle")
        classes = _cycled(seed, dataset.n_classes, k, experiences, randomized)
    elif couples < 1:
        refuse_unused(scole, plain, because=f"couples = {couples} draws whole subsets uniformly")
        classes = _coupled(seed, dataset.n_classes, k, experiences, couples)
    else:
        p = probabilities(seed, dataset.n_classes, imbalance=imbalance)
        classes = _drawn(seed, p, k, experiences, variant, prob_reduction)
    build = _Draw(dataset.train, rows, seed, classes, rows_per_class, train_fraction, shared.boundaries)
    return Stream(
        name="scole",
        dataset=dataset,
        tasks=tasks,
        length=experiences,
        build=build,
        n_outputs=dataset.n_classes,
        seed=seed,
        description={
            "scenario": "scole",
            "output": shared.output,
            "boundaries": shared.boundaries,
            "experiences": experiences,
            "k": k,
            **plain,
            "randomized": randomized,
            "couples": couples,
            "rows_per_class": rows_per_class,
            "train_fraction": train_fraction,
            "classes": digest(classes),
        },
        output=shared.output,
    )


def probabilities(seed: int, n_classes: int, *, imbalance: float) -> Floats:
    """Return the probability (N,) of each class, before the seed assigns them decreasing; ``imbalance`` 0 is uniform.

    Raises:
        Refused: The rarest class would have no chance to occur.
    """
    falling = 1 - min(0.05, 1 / n_classes) * np.arange(n_classes)  # (N,)
    p = falling**imbalance
    if p[-1] < RAREST:
        most = np.log(RAREST) / np.log(falling[-1])
        raise Refused(
            f"imbalance = {imbalance} leaves the rarest of {n_classes} classes no chance; give at most {most:.0f}",
            "imbalance",
        )
    shares: Floats = (p / p.sum())[Generator(seed, "stream/imbalance").permutation(n_classes)]
    return shares


# ------------------------------------------------------------------------------------------- which classes, (T, k)


def _drawn(seed: int, p: Floats, k: int, experiences: int, variant: str, reduction: float) -> Index:
    """Draw classes in proportion to p. No draw depends on later ones: a longer stream begins like a shorter one."""
    uniforms = Generator(seed, "stream/classes").uniform(experiences * k).reshape(experiences, k)
    classes = np.empty((experiences, k), dtype=np.int64)
    visits = np.zeros(len(p), dtype=np.int64)
    size = 1024 if reduction == 1 else 1  # reduced probabilities depend on the draw before
    for start in range(0, experiences, size):
        numbers = np.arange(start, min(start + size, experiences))
        weights = p * _may_occur(len(p), numbers, experiences, variant)  # (size, N)
        if reduction > 1:
            behind = (visits[weights[0] > 0].min() - visits).clip(max=0).astype(float)  # (N,)
            weights *= np.maximum(reduction**behind, RAREST)
        classes[numbers] = draw_different(weights, uniforms[numbers])
        if reduction > 1:
            visits[classes[start]] += 1
    return classes


def _may_occur(n_classes: int, numbers: Index, experiences: int, variant: str) -> Index:
    """Return 1 for classes that may be drawn in an experience, else 0, (len(numbers), N)."""
    allowed = np.ones((len(numbers), n_classes), dtype=np.int64)
    half = n_classes // 2
    if variant == "two_periods":
        second = numbers >= experiences // 2
        allowed[~second, half:] = 0
        allowed[second, :half] = 0
    elif variant == "stop_visiting":
        allowed[numbers > experiences / 2, half:] = 0
    return allowed


def _cycled(seed: int, n_classes: int, k: int, experiences: int, randomized: float) -> Index:
    every = islice(cycle(combinations(range(n_classes), k)), experiences)
    classes = np.fromiter(chain.from_iterable(every), dtype=np.int64).reshape(experiences, k)
    draw = Generator(seed, "stream/classes")
    replaced = draw.uniform(experiences * k).reshape(experiences, k) < randomized
    return np.where(replaced, draw.integers(experiences * k, n_classes).reshape(experiences, k), classes)


def _coupled(seed: int, n_classes: int, k: int, experiences: int, couples: float) -> Index:
    subsets = comb(n_classes, k)
    if subsets > MOST_SUBSETS:
        raise Refused(
            f"couples = {couples} would choose among {subsets} subsets of {k} of {n_classes} classes; that is possible "
            f"up to {MOST_SUBSETS}: lower k, or leave couples at 1",
            "couples",
        )
    used = int(couples * subsets + 1e-9)
    if used == 0:
        raise Refused(
            f"couples = {couples} leaves none of the {subsets} subsets of {k} of {n_classes} classes; give at least "
            f"{1 / subsets:.4g}",
            "couples",
        )
    every = np.fromiter(chain.from_iterable(combinations(range(n_classes), k)), dtype=np.int64).reshape(subsets, k)
    chosen = every[Generator(seed, "stream/couples").permutation(subsets)[:used]]
    return chosen[Generator(seed, "stream/classes").integers(experiences, used)]


# ------------------------------------------------------------------------------------------- selection of samples


@dataclass(frozen=True, eq=False)
class _Draw:
    """Build experience i: samples of its classes."""

    train: Rows
    by_class: ByClass
    seed: int
    classes: Index  # (T, k)
    rows_per_class: int | None
    train_fraction: float
    boundary: bool

    def counts(self, i: int) -> Index:
        """Return the number of samples of each class in experience i, (N,)."""
        if self.train_fraction < 1:
            return np.bincount(np.asarray(self(i).task), minlength=len(self.by_class.counts))
        counts = np.zeros_like(self.by_class.counts)
        present = self.classes[i]
        counts[present] = self.by_class.counts[present] if self.rows_per_class is None else self.rows_per_class
        return counts

    def __call__(self, i: int) -> Experience:
        present = np.unique(self.classes[i])
        draw = Generator(self.seed, f"stream/rows/{i}")
        groups = [self.by_class[c] for c in present]
        if self.rows_per_class is not None:
            groups = [group[draw.sample(len(group), self.rows_per_class)] for group in groups]
        rows = np.sort(np.concatenate(groups))  # (n,)
        if self.train_fraction < 1:
            rows = rows[np.sort(draw.sample(len(rows), max(1, round(self.train_fraction * len(rows)))))]
        task = self.train.y[rows]
        return Experience(i, rows, task, 0, tuple(np.unique(task).tolist()), boundary=self.boundary)


def _check_rows(dataset: Dataset, rows: ByClass, rows_per_class: int | None, train_fraction: float) -> None:
    fewest = int(rows.counts.min())
    if rows_per_class is not None and not 1 <= rows_per_class <= fewest:
        raise Refused(
            f"rows_per_class = {rows_per_class} is not possible: {dataset.name!r} has classes of {fewest} training "
            "samples; ask for 1 to that many, or leave it out for all",
            "rows_per_class",
        )
    if not 0 < train_fraction <= 1:
        raise Refused(
            f"train_fraction = {train_fraction} is out of range; give a number above 0 and up to 1", "train_fraction"
        )
    if rows_per_class is not None:
        refuse_unused(scole, {"train_fraction": train_fraction}, because=f"rows_per_class = {rows_per_class}")


def _check_classes(n_classes: int, experiences: int, k: int, variant: str) -> None:
    known = ("default", "two_periods", "stop_visiting")
    if variant not in known:
        raise Refused(f"variant = {variant!r} does not exist; {did_you_mean(variant, known)}", "variant")
    most = n_classes if variant == "default" else n_classes // 2
    if not 1 <= k <= most:
        half = "" if variant == "default" else f", and variant = {variant!r} restricts experiences to half of them"
        raise Refused(
            f"k = {k} classes per experience are not possible with {n_classes} classes{half}; ask for 1 to {most}", "k"
        )
    if variant == "two_periods" and experiences < 2:
        raise Refused(f"experiences = {experiences} cannot have two periods; ask for at least 2", "experiences")
