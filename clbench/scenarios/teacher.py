"""Teacher: random patterns whose labels a perceptron with binary weights gives, another one in every experience."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Experience, Index, Rows, Stream, Teacher
from clbench.data.patterns import CLASSES, labels, signs
from clbench.scenarios.shared_settings import Output, common, own_experience, own_task

Load = Annotated[float, Field(gt=0)]
Correlation = Annotated[float, Field(ge=-1, le=1)]


def teacher(
    dataset: Dataset,
    seed: int,
    *,
    setting: Literal["domain"] = "domain",
    alpha: tuple[Load, ...] = (2.0, 2.0),
    correlation: Correlation = 0.5,
    output: Output = "seen",
    task_labels: bool | None = None,
    boundaries: bool = True,
) -> Stream:
    """Generate a stream in which the labels of experience t are the signs of Σ w_t x, for a teacher w_t of N weights
    ±1.

    The first teacher is random. Each weight of a later teacher equals that of the first one with probability (1 + r0) /
    2, so that their overlap Σ w_1 w_t / N is near r0. Every experience is a task with patterns of its own, which are
    drawn from the same law for training and for evaluation.

    Args:
        dataset: Patterns of N values ±1, such as the data set ``patterns``; its own labels are not used.
        seed: Determines the teachers and which patterns each experience has.
        setting: ``domain``: all tasks share the two output units.
        alpha: The number of training patterns of each experience, as a multiple of N; one number for each experience.
        correlation: r0, from -1 to 1.
        output: Which of the two output units compete: those ``seen`` so far, or ``all``.
        task_labels: Whether the task of a sample is revealed; by default not.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    Raises:
        Refused: Inputs are not ±1, there are too few of them, or an experience has patterns of one class only.

    Source: Li et al. 2023, Physical Review E 108, 014309 (arXiv 2212.02846), with N = 1000, two tasks, alpha 2 and 0.1
    to 7, and r0 -0.5, 0 and 0.5.
    """
    shared = common(setting=setting, output=output, task_labels=task_labels, boundaries=boundaries)
    _check_patterns(dataset)
    inputs = int(np.prod(dataset.shape))
    sizes = [max(1, round(each * inputs)) for each in alpha]
    if not sizes:
        raise Refused("alpha = [] makes no stream; give a number for each experience, such as [2, 2]", "alpha")
    if sum(sizes) > len(dataset.train) or len(dataset.test) < len(sizes):
        raise Refused(
            f"alpha = {list(alpha)} is not possible: {dataset.name!r} has {len(dataset.train)} training patterns of "
            f"{inputs} inputs and {len(dataset.test)} test patterns; the sum of alpha is at most "
            f"{len(dataset.train) / inputs:.3g}",
            "alpha",
        )
    weights = _teachers(seed, inputs, len(sizes), correlation)
    ends = np.cumsum(sizes)
    train = np.split(Generator(seed, "stream/rows").permutation(len(dataset.train))[: ends[-1]], ends[:-1])
    test = np.array_split(Generator(seed, "stream/test").permutation(len(dataset.test)), len(sizes))
    labelled = _labelled(dataset, weights, train, test)
    return Stream(
        name="teacher",
        dataset=labelled,
        tasks=tuple(
            replace(
                own_task(t, f"teacher {t}", labelled.test, rows, None), teacher=Teacher(weights[t], sizes[t] / inputs)
            )
            for t, rows in enumerate(test)
        ),
        length=len(sizes),
        build=_Own(labelled.train, tuple(train), shared.boundaries),
        n_outputs=len(CLASSES),
        seed=seed,
        description={
            "scenario": "teacher",
            **shared.describe(),
            "alpha": list(alpha),
            "correlation": correlation,
            "overlaps": [float(w @ weights[0]) / inputs for w in weights],
        },
        task_labels=shared.task_labels,
        output=shared.output,
    )


@dataclass(frozen=True, eq=False)
class _Own:
    """Build experience i: the patterns of the i-th teacher."""

    train: Rows
    rows: tuple[Index, ...]
    boundary: bool

    def __call__(self, i: int) -> Experience:
        return own_experience(i, self.train, self.rows[i], None, boundary=self.boundary)


def _check_patterns(dataset: Dataset) -> None:
    for rows in (dataset.train, dataset.test):
        if dataset.scale != 1.0 or dataset.mean or not bool((np.abs(rows.x[:, ...]) == 1).all()):
            raise Refused(
                f"scenario 'teacher' needs inputs of +1 and -1, so that labels have no rounding error, and "
                f"{dataset.name!r} has others; write dataset: patterns, or dataset: {{name: patterns, size: 501}} for "
                "another number of inputs, without normalize"
            )


def _teachers(seed: int, inputs: int, count: int, correlation: float) -> NDArray[np.float32]:
    """Return the weights ±1 of all teachers, (T, N)."""
    draw = Generator(seed, "stream")
    first = signs(draw, inputs)
    same = [draw.uniform(inputs) < (1 + correlation) / 2 for _ in range(count - 1)]
    return np.stack([first, *(np.where(each, first, -first) for each in same)])


def _labelled(dataset: Dataset, weights: NDArray[np.float32], train: list[Index], test: list[Index]) -> Dataset:
    """Return the data set with the labels of each experience's teacher; patterns of none have those of the first."""
    digest = hashlib.blake2b(dataset.checksum.encode(), digest_size=16)
    made = []
    for rows, parts in ((dataset.train, train), (dataset.test, test)):
        x = rows.x.reshape(len(rows), -1)
        y = labels(x, weights[0])
        for own, w in zip(parts, weights, strict=True):
            y[own] = labels(x[own], w)
            if len(np.unique(y[own])) < len(CLASSES):
                raise Refused(
                    f"a teacher gives all its {len(own)} patterns the same label; choose a larger alpha or more inputs",
                    "alpha",
                )
        digest.update(y.tobytes())
        made.append(Rows(rows.x, y))
    return replace(dataset, train=made[0], test=made[1], class_names=CLASSES, checksum=digest.hexdigest())
