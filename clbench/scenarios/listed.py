"""Listed: experiences and tasks as a list of samples says, such as those of CORe50, CLEAR or Stream-51."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clbench.core.errors import Refused
from clbench.core.types import Dataset, Experience, Index, Rows, Stream
from clbench.scenarios.shared_settings import Output, Setting, common, own_task, units


def listed(
    dataset: Dataset,
    seed: int,
    *,
    setting: Setting = "class",
    shuffled: bool = True,
    output: Output = "seen",
    task_labels: bool | None = None,
    boundaries: bool = True,
) -> Stream:
    """Generate the stream that a list of samples describes.

    The list is the data set: ``dataset: list:FILE``, a CSV or Parquet file with a row for each sample. Its column
    ``experience`` says in which experience a training sample occurs. A test sample belongs to the task of its
    experience, or to the one that its column ``task`` names. If test samples have neither, they are one test set for
    all experiences, and the stream has one task. Every training sample occurs exactly once.

    Args:
        dataset: Samples with experiences and tasks, with C classes.
        seed: Determines nothing of the stream; orders of samples within experiences follow the run's seed.
        setting: ``class`` and ``domain``: C output units, with the task hidden (it may be revealed in ``domain``).
            ``task``: the same units, with the task revealed.
        shuffled: Whether samples of an experience are learned in random order, or in that of the list, as for streams
            ordered in time.
        output: Which units compete: those ``seen`` so far, or ``all``.
        task_labels: Whether the task of a sample is revealed; by default only in the task setting.
        boundaries: Whether the strategy sees beginnings and ends of experiences.

    Raises:
        Refused: The data set comes from no list, or a task has training or test samples alone.

    Source: the file lists of CORe50 (Lomonaco and Maltoni 2017, CoRL, arXiv 1705.03550).
    """
    shared = common(setting=setting, output=output, task_labels=task_labels, boundaries=boundaries)
    train, test = dataset.train.listed, dataset.test.listed
    if train is None or test is None:
        raise Refused(
            f"scenario 'listed' needs a list of samples, and {dataset.name!r} is none; write dataset: list:FILE, a CSV "
            "or Parquet file with the columns path (or row), label, split and experience",
            "dataset",
        )
    # experiences and tasks of which no sample is left, such as by the setting classes, are left out
    numbers = np.unique(train[:, 0])  # (E,)
    kept = np.unique(train[:, 1])  # (T,)
    lacking = np.setxor1d(kept, test[:, 1])
    if len(lacking):
        what = "test" if lacking[0] in kept else "training"
        raise Refused(
            f"task {dataset.task_names[lacking[0]]!r} of {dataset.name!r} has no {what} samples left; leave out fewer "
            "classes or samples"
        )
    names = [dataset.task_names[t] for t in kept]
    tasks = [
        own_task(t, name, dataset.test, np.flatnonzero(test[:, 1] == kept[t]), None) for t, name in enumerate(names)
    ]
    place = np.stack([np.searchsorted(numbers, train[:, 0]), np.searchsorted(kept, train[:, 1])], axis=1)
    return Stream(
        name="listed",
        dataset=dataset,
        tasks=tuple(tasks),
        length=len(numbers),
        build=_Listed(dataset.train, place, shared.boundaries, bool(shuffled)),
        n_outputs=dataset.n_classes,
        seed=seed,
        description={
            "scenario": "listed",
            **shared.describe(),
            "shuffled": bool(shuffled),
            "experiences": len(numbers),
            "tasks": names,
        },
        task_labels=shared.task_labels,
        output=shared.output,
    )


@dataclass(frozen=True, eq=False)
class _Listed:
    """Build experience i: the training samples of that number, in the order of the list."""

    train: Rows
    place: Index  # (N, 2) experience and task
    boundary: bool
    shuffled: bool

    def __call__(self, i: int) -> Experience:
        rows = np.flatnonzero(self.place[:, 0] == i)  # (n,)
        of = self.place[rows, 1]
        task = int(of[0]) if (of == of[0]).all() else of
        classes = units(self.train, rows)
        return Experience(i, rows, task, 0, classes, boundary=self.boundary, shuffled=self.shuffled)
