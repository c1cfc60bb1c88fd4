"""Ordered streams: one sequence of samples, divided into experiences, with tasks made of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused, did_you_mean
from clbench.core.types import Dataset, Experience, Index, Rows, Stream, Task
from clbench.scenarios.shared_settings import Common


def choose(name: str, value: str, known: Sequence[str]) -> str:
    """Return ``value`` if it is one of ``known``.

    Raises:
        Refused: It is not.
    """
    if value not in known:
        raise Refused(f"{name} = {value!r} does not exist; {did_you_mean(str(value), known)}", name)
    return value


def check_classes(dataset: Dataset) -> None:
    """Check that every class has training samples and test samples.

    Raises:
        Refused: A class has none.
    """
    for split_name, rows in (("training", dataset.train), ("test", dataset.test)):
        missing = np.flatnonzero(np.bincount(rows.y, minlength=dataset.n_classes) == 0)
        if len(missing):
            raise Refused(
                f"{dataset.name!r} has no {split_name} samples of classes {missing.tolist()}, and here each class "
                "counts; remove these classes from the data"
            )


def even(total: int, parts: int, what: str = "experiences") -> Index:
    """Divide ``total`` samples into ``parts`` of equal size, and return their boundaries (parts + 1,).

    If there is a remainder, the first parts are one longer.

    Args:
        total: Number of samples.
        parts: Number of parts, at least 1.
        what: The setting that asks for them, for the message.

    Raises:
        Refused: There are fewer samples than parts.
    """
    if not 1 <= parts <= total:
        raise Refused(f"{what} = {parts} is not possible with {total} samples; ask for 1 to {total}")
    sizes = np.full(parts, total // parts, dtype=np.int64)
    sizes[: total % parts] += 1
    return np.concatenate([[0], np.cumsum(sizes)])


# ------------------------------------------------------------------------------------------- tasks made of classes


def whole_task(dataset: Dataset) -> tuple[Task, ...]:
    """Return one task with all test samples."""
    rows = np.arange(len(dataset.test), dtype=np.int64)
    return (Task(0, "all classes", rows, tuple(int(c) for c in np.unique(dataset.test.y))),)


def group_tasks(dataset: Dataset, groups: Sequence[Index]) -> tuple[Task, ...]:
    """Return one task per group of classes, with the test samples of those classes."""
    task_of = task_of_class(groups, dataset.n_classes)[dataset.test.y]  # (n,)
    return tuple(
        Task(
            t,
            " ".join(dataset.class_names[c] for c in group),
            np.flatnonzero(task_of == t),
            tuple(sorted(int(c) for c in group)),
        )
        for t, group in enumerate(groups)
    )


def class_tasks(dataset: Dataset) -> tuple[Task, ...]:
    """Return one task per class, in the order of the classes."""
    return group_tasks(dataset, singles(dataset))


def singles(dataset: Dataset) -> list[Index]:
    """Return every class as a group of its own."""
    return [np.array([c], dtype=np.int64) for c in range(dataset.n_classes)]


def task_of_class(groups: Sequence[Index], n_classes: int) -> Index:
    """Return the group (C,) of each class; every class belongs to one."""
    task_of = np.full(n_classes, -1, dtype=np.int64)
    for t, group in enumerate(groups):
        task_of[group] = t
    return task_of


# ------------------------------------------------------------------------------------------- one sequence of samples


@dataclass(frozen=True, eq=False)
class OrderedExperiences:
    """Build experience i: the samples ``bounds[i]`` to ``bounds[i + 1]`` of one sequence.

    Args:
        train: The training samples.
        sequence: (L,) indices of training samples in the order of the stream; 4 bytes each.
        bounds: (E + 1,) boundaries of the experiences in the sequence.
        task_of: (C,) task of each class.
        boundary: Whether the strategy sees beginnings and ends.
        shuffled: Whether samples come in a new order in every pass.
    """

    train: Rows
    sequence: NDArray[np.int32]
    bounds: Index
    task_of: Index
    boundary: bool
    shuffled: bool = False

    def __call__(self, i: int) -> Experience:
        rows = self.sequence[self.bounds[i] : self.bounds[i + 1]].astype(np.int64)  # (N,)
        y = self.train.y[rows]
        tasks = self.task_of[y]
        one = bool((tasks == tasks[0]).all())
        return Experience(
            i,
            rows,
            task=int(tasks[0]) if one else tasks,
            view=0,
            classes=tuple(int(c) for c in np.unique(y)),
            boundary=self.boundary,
            shuffled=self.shuffled,
        )


def ordered_stream(
    dataset: Dataset,
    seed: int,
    *,
    sequence: Index,
    bounds: Index,
    groups: Sequence[Index] | None,
    shared: Common,
    description: dict[str, Any],
    shuffled: bool = False,
) -> Stream:
    """Return a stream of one sequence of training samples, with original labels and tasks made of classes.

    Args:
        dataset: The data set that holds the samples.
        seed: The seed of the stream.
        sequence: (L,) indices of training samples in the order of the stream.
        bounds: (E + 1,) boundaries of the experiences in the sequence.
        groups: The classes of each task; ``None`` for one task with all test samples.
        shared: The common settings.
        description: ``scenario``, its own settings, and realised values, JSON-able.
        shuffled: Whether the samples of an experience come in a new order in every pass, instead of the sequence's
            order.
    """
    task_of = np.zeros(dataset.n_classes, np.int64) if groups is None else task_of_class(groups, dataset.n_classes)
    return Stream(
        name=description["scenario"],
        dataset=dataset,
        tasks=whole_task(dataset) if groups is None else group_tasks(dataset, groups),
        length=len(bounds) - 1,
        build=OrderedExperiences(
            dataset.train, sequence.astype(np.int32), bounds, task_of, shared.boundaries, shuffled
        ),
        n_outputs=dataset.n_classes,
        seed=seed,
        description={"output": shared.output, "boundaries": shared.boundaries, **description},
        output=shared.output,
    )
