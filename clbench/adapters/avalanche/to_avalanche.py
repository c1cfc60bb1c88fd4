"""Conversion of streams to benchmarks of avalanche-lib, for its loops, loggers, metrics and plugins.

Nothing is copied: experiences hold indices, and a sample is made when a loader requests it.
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
"""Attribute of a data set with the test experience that each of its samples belongs to."""


class ViewedRows(Dataset[tuple[Tensor, int]]):
    """Return samples under their views with their output units, one by one.

    Args:
        resident: The source of the samples, shared by all experiences.
        rows: (N,) samples of it.
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
    """Describe an experience of a clbench stream.

    Args:
        dataset: Its samples.
        number: Its position.
        classes: Output units among its labels.
        task_labels: Labels of its tasks, if the stream reveals them; ``None`` hides that there are any.
    """

    def __init__(
        self, dataset: AvalancheDataset, number: int, classes: tuple[int, ...], task_labels: list[int] | None
    ) -> None:
        super().__init__(dataset=dataset, current_experience=number)
        self.classes_in_this_experience = list(classes)
        self._number = number
        if task_labels is not None:  # its loops balance batches over tasks if this attribute exists
            self.task_labels = task_labels
            if len(task_labels) == 1:
                self.task_label = task_labels[0]

    @property
    def benchmark(self) -> Any:
        """Return the benchmark that it belongs to."""
        return self._origin_stream.benchmark

    @property
    def previous_classes(self) -> list[int]:
        """Return the classes of earlier experiences."""
        return sorted(set().union(*self._origin_stream.classes[: self._number]))

    @property
    def classes_seen_so_far(self) -> list[int]:
        """Return the classes of the experiences up to this one."""
        return sorted(set().union(*self._origin_stream.classes[: self._number + 1]))

    @property
    def future_classes(self) -> list[int]:
        """Return the classes of later experiences, also those that have occurred before."""
        return sorted(set().union(*self._origin_stream.classes[self._number + 1 :]))


class ShownStream(SequenceCLStream):
    """Make experiences when they are first requested, and keep them.

    Args:
        name: ``train`` or ``test``.
        length: Number of experiences.
        make: A function from a position to its experience.
        classes: A function from a position to its output units.
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
        """Return the output units of every experience."""
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
    """Present a clbench stream as a benchmark of avalanche-lib: ``train_stream`` and ``test_stream``.

    The training stream has the stream's experiences; the test stream has one experience for each *task*, with all its
    test samples. Samples are as in clbench's loop: transformed by their view and normalised, float32, without
    augmentation. Experiences have task labels only if the stream reveals them.

    Args:
        stream: The stream.
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
        """Return the test stream for the time in which an experience of the training stream runs.

        It differs from ``test_stream``, which is that at the end of the stream, if evaluation drifts.
        """
        tests = self._tests(experience)
        tests.benchmark = self
        return tests

    @property
    def n_classes_per_exp(self) -> list[int]:
        """Return the number of classes of each training experience."""
        return [len(classes) for classes in self.train_stream.classes]

    @property
    def classes_order(self) -> list[int]:
        """Return the classes of all training experiences, one after another; recurring classes are repeated."""
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
    """Convert a clbench stream to a benchmark of avalanche-lib; see :class:`ShownBenchmark`.

    The benchmark lacks two properties: whether boundaries are visible (its loops always call ``train`` per experience),
    and whether the order of samples matters (``experience.shuffled`` is false); in that case, use
    ``strategy.train(..., shuffle=False)``.
    """
    return ShownBenchmark(stream)


def _column(value: int | Index, n: int) -> Index:
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.int64), n))
