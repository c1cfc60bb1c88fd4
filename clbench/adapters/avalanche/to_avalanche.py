"""Our streams as benchmarks of avalanche-lib: what its loops, loggers, metrics and plugins accept.

Nothing is copied: experiences hold indices, and a row is made when a loader asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from clbench.adapters.avalanche.library import (
    AvalancheDataset,
    DatasetExperience,
    _make_taskaware_classification_dataset,
    quiet,
)
from clbench.core.types import Index, Rows, Stream
from clbench.training.device_rows import Resident

with quiet():
    from avalanche.benchmarks.scenarios.generic_scenario import CLScenario, SequenceCLStream
    from avalanche.benchmarks.utils.data_attribute import DataAttribute

TASK = "evaluation_task"
"""Attribute of a data set that says which experience of the test stream each of its rows belongs to."""


class ViewedRows(Dataset[tuple[Tensor, int]]):
    """Rows under their views, with their output units, one by one.

    Args:
        resident: Where the rows lie; shared by all experiences.
        rows: (N,) rows of it.
        view: (N,) the view of each.
        y: (N,) output units.
    """

    def __init__(self, resident: Resident, rows: Index, view: Index, y: Index) -> None:
        self.resident = resident
        self.rows, self.view = torch.from_numpy(rows), torch.from_numpy(view)
        self.targets = y.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        one = slice(int(place), int(place) + 1)
        return self.resident.present(self.rows[one], self.view[one])[0], self.targets[place]


class ShownExperience(DatasetExperience):
    """An experience of a stream of ours.

    Args:
        dataset: Its rows.
        number: Its position.
        classes: Output units that occur among its labels.
        task_labels: Labels of its tasks, where the stream reveals them; ``None`` hides that there are any.
    """

    def __init__(
        self, dataset: AvalancheDataset, number: int, classes: tuple[int, ...], task_labels: list[int] | None
    ) -> None:
        super().__init__(dataset=dataset, current_experience=number)
        self.classes_in_this_experience = list(classes)
        self._number = number
        if task_labels is not None:  # its loops balance batches over tasks as soon as there is such an attribute
            self.task_labels = task_labels
            if len(task_labels) == 1:
                self.task_label = task_labels[0]

    @property
    def benchmark(self) -> Any:
        """The benchmark that it belongs to."""
        return self._origin_stream.benchmark

    @property
    def previous_classes(self) -> list[int]:
        """Classes of the experiences before it."""
        return sorted(set().union(*self._origin_stream.classes[: self._number]))

    @property
    def classes_seen_so_far(self) -> list[int]:
        """Classes of the experiences up to this one."""
        return sorted(set().union(*self._origin_stream.classes[: self._number + 1]))

    @property
    def future_classes(self) -> list[int]:
        """Classes of the experiences after it, also those that have been there before."""
        return sorted(set().union(*self._origin_stream.classes[self._number + 1 :]))


class ShownStream(SequenceCLStream):
    """Experiences that are made when they are first asked for, and kept.

    Args:
        name: ``train`` or ``test``.
        length: How many there are.
        make: From a position to its experience.
        classes: From a position to the output units that occur there.
    """

    def __init__(
        self,
        name: str,
        length: int,
        make: Callable[[int], ShownExperience],
        classes: Callable[[int], tuple[int, ...]],
    ) -> None:
        self._length, self._make, self._classes_of = length, make, classes
        self._made: dict[int, ShownExperience] = {}
        self._whole = self
        super().__init__(name, None, set_stream_info=False)

    @cached_property
    def classes(self) -> list[tuple[int, ...]]:
        """Output units of every experience."""
        return [self._classes_of(number) for number in range(self._length)]

    def _full_length(self) -> int:
        return self._length

    def _make_experience(self, experience_idx: int) -> ShownExperience:
        if not -self._length <= experience_idx < self._length:
            raise IndexError(f"experience {experience_idx} does not exist; the stream has {self._length}")
        number = experience_idx % self._length
        if number not in self._made:
            made = self._make(number)
            made.origin_stream = self._whole
            self._made[number] = made
        return self._made[number]


class ShownBenchmark(CLScenario):
    """A stream of ours as avalanche-lib knows benchmarks: ``train_stream`` and ``test_stream``.

    The training stream has an experience for each of ours; the test stream one for each *task* of ours, with all its
    test rows. Rows are as our own loop would see them: transformed by their view and normalised, float32, without
    augmentation. Experiences have task labels only where the stream reveals them.

    Args:
        stream: What it shows.
    """

    train_stream: ShownStream
    test_stream: ShownStream

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.n_classes = stream.n_outputs
        self.n_experiences = len(stream)
        dataset = stream.dataset
        self._train, self._test = (
            Resident(rows, dataset, transform=stream.transform) for rows in (dataset.train, dataset.test)
        )
        train = ShownStream("train", len(stream), self._training, lambda number: stream.build(number).classes)
        super().__init__([train, self._tests(len(stream) - 1)])
        train.benchmark = self.test_stream.benchmark = self

    def test_stream_at(self, experience: int) -> ShownStream:
        """The test stream as the world is while an experience of the training stream runs.

        It differs from ``test_stream``, which shows the end of the stream, where evaluation drifts with the setup.
        """
        tests = self._tests(experience)
        tests.benchmark = self
        return tests

    @property
    def n_classes_per_exp(self) -> list[int]:
        """How many classes each training experience has."""
        return [len(classes) for classes in self.train_stream.classes]

    @property
    def classes_order(self) -> list[int]:
        """Classes of all training experiences, one after another; a class that comes back stands there again."""
        return [unit for classes in self.train_stream.classes for unit in classes]

    def _training(self, number: int) -> ShownExperience:
        experience, n = self.stream.build(number), len(self.stream.build(number))
        task, view = _column(experience.task, n), _column(experience.view, n)
        return self._experience(number, experience.rows, self.stream.dataset.train, self._train, task, view)

    def _tests(self, during: int) -> ShownStream:
        stream, views = self.stream, self.stream.task_views(during)

        def make(number: int) -> ShownExperience:
            rows = stream.tasks[number].rows
            task, view = _column(number, len(rows)), _column(int(views[number]), len(rows))
            return self._experience(number, rows, stream.dataset.test, self._test, task, view)

        def classes(number: int) -> tuple[int, ...]:
            rows = stream.tasks[number].rows
            return tuple(np.unique(stream.labels(stream.dataset.test, rows, int(views[number]))).tolist())

        return ShownStream("test", len(stream.tasks), make, classes)

    def _experience(
        self, number: int, rows: Index, split: Rows, resident: Resident, task: Index, view: Index
    ) -> ShownExperience:
        y = self.stream.labels(split, rows, view)
        shown = ViewedRows(resident, rows, view, y)
        revealed = self.stream.task_labels
        dataset = _make_taskaware_classification_dataset(
            shown, targets=shown.targets, task_labels=task.tolist() if revealed else 0
        )
        dataset = dataset.update_data_attribute(TASK, DataAttribute(task.tolist(), TASK))
        labels = np.unique(task).tolist() if revealed else None
        return ShownExperience(dataset, number, tuple(np.unique(y).tolist()), labels)


def to_avalanche(stream: Stream) -> ShownBenchmark:
    """A benchmark of avalanche-lib that shows a stream of ours; see :class:`ShownBenchmark`.

    Two things it cannot say: whether boundaries are visible (its loops always call ``train`` per experience), and that
    the order of rows is meant (``experience.shuffled`` is false); give ``strategy.train(..., shuffle=False)`` then.
    """
    return ShownBenchmark(stream)


def _column(value: int | Index, n: int) -> Index:
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.int64), n))
