"""Experiences of a stream for avalanche-lib: clbench's samples in memory, made one experience at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from clbench.adapters.avalanche.library import _make_taskaware_classification_dataset
from clbench.adapters.avalanche.to_avalanche import ShownBenchmark, ShownExperience, to_avalanche
from clbench.core.types import Experience, Index, Stream
from clbench.training.device_rows import Resident


@dataclass
class Meter:
    """Count samples as loaders fetch them and as they pass through the model.

    Attributes:
        running: The running experience.
        fetched: Experience of origin -> number of samples.
        forward: Samples that passed through the model; ``backward`` are those of them with a gradient.
        stopped: Whether nothing is counted, as during an evaluation.
    """

    running: int = -1
    fetched: Counter[int] = field(default_factory=Counter)
    forward: int = 0
    backward: int = 0
    stopped: bool = False

    def __call__(self, _module: Any, inputs: tuple[Tensor, ...]) -> None:
        """Count the samples before the model's forward pass."""
        if not self.stopped:
            self.forward += len(inputs[0])
            self.backward += len(inputs[0]) * torch.is_grad_enabled()

    def __deepcopy__(self, _memo: Any) -> Meter:
        return self  # copies of the model share one counter


class Rows(Dataset[tuple[Tensor, int]]):
    """Hold the samples of one experience: as one tensor while it runs, made singly when a replay buffer reads them
    later.

    Args:
        resident: The source of the samples.
        rows: (N,) training samples, and ``view`` (N,) of each.
        y: (N,) output units.
        number: The experience.
        meter: The counter of fetched samples.
    """

    def __init__(self, resident: Resident, rows: Tensor, view: Tensor, y: Sequence[int], number: int, meter: Meter):
        self.resident, self.rows, self.view, self.y = resident, rows, view, y
        self.number, self.meter = number, meter
        self.x: Tensor | None = resident.present(rows, view)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        self.meter.fetched[self.number] += 1
        if self.x is not None:
            return self.x[place], self.y[place]
        one = slice(int(place), int(place) + 1)
        return self.resident.present(self.rows[one], self.view[one])[0], self.y[place]


class Experiences:
    """Make the experiences of a stream when they are requested.

    Args:
        stream: The stream.
        resident: The training samples, on the CPU.
        meter: The counter of fetched samples.
        benchmark: The whole benchmark, for methods that ask an experience for it.
    """

    def __init__(
        self, stream: Stream, resident: Resident, meter: Meter, benchmark: ShownBenchmark | None = None
    ) -> None:
        self.stream, self.resident, self.meter, self.benchmark = stream, resident, meter, benchmark

    def make(self, experience: Experience, order: Tensor | None = None) -> tuple[ShownExperience, Rows]:
        """Make one experience, and its samples, which are to be released (``rows.x = None``) at its end.

        Args:
            experience: The experience.
            order: (N,) positions, for another order of its samples.
        """
        stream, n = self.stream, len(experience)
        place = np.arange(n) if order is None else order.numpy()
        view = _column(experience.view, n)[place]
        rows = experience.rows[place]
        y = stream.labels(stream.dataset.train, rows, view).tolist()
        labels: Any = _column(experience.task, n)[place].tolist() if stream.task_labels else 0
        if stream.task_labels and len(experience.tasks) == 1:
            labels = experience.tasks[0]  # one number: its ICaRL cannot join stored labels in a list
        held = Rows(self.resident, torch.from_numpy(rows), torch.from_numpy(view), y, experience.id, self.meter)
        dataset = _make_taskaware_classification_dataset(held, targets=y, task_labels=labels)
        told = sorted({int(task) for task in experience.tasks}) if stream.task_labels else None
        made = ShownExperience(dataset, experience.id, experience.classes, told)
        if self.benchmark is not None:
            made.origin_stream = self.benchmark.train_stream
        return made, held


def whole(stream: Stream) -> ShownBenchmark | None:
    """Return the benchmark if every class occurs in one experience only; else ``None``."""
    classes = [c for experience in stream for c in experience.classes]
    return to_avalanche(stream) if len(set(classes)) == len(classes) else None


def _column(value: int | Index, n: int) -> Index:
    return np.broadcast_to(np.asarray(value, dtype=np.int64), n)
