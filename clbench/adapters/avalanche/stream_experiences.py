"""A stream's experiences as avalanche-lib takes them: our rows, resident, made one experience at a time."""

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
    """Counts rows as loaders fetch them and as they go through the model.

    Attributes:
        running: The running experience.
        fetched: Experience of origin -> rows.
        forward: Rows that went through the model, and ``backward`` those of them with a gradient.
        stopped: Whether nothing is counted, as during a look.
    """

    running: int = -1
    fetched: Counter[int] = field(default_factory=Counter)
    forward: int = 0
    backward: int = 0
    stopped: bool = False

    def __call__(self, _module: Any, inputs: tuple[Tensor, ...]) -> None:
        """A hook before the model's forward pass."""
        if not self.stopped:
            self.forward += len(inputs[0])
            self.backward += len(inputs[0]) * torch.is_grad_enabled()

    def __deepcopy__(self, _memo: Any) -> Meter:
        return self  # copies of the model count on the same account


class Rows(Dataset[tuple[Tensor, int]]):
    """The rows of one experience: held as one tensor while it runs, made one by one when memory asks for them later.

    Args:
        resident: Where they come from.
        rows: (N,) training rows, and ``view`` (N,) of each.
        y: (N,) output units.
        number: The experience.
        meter: Counts what is fetched.
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
    """The experiences of a stream, made when they are asked for.

    Args:
        stream: What is learned.
        resident: The training rows, on the CPU.
        meter: Counts what is fetched of them.
        benchmark: The whole, for methods that ask an experience for it.
    """

    def __init__(
        self, stream: Stream, resident: Resident, meter: Meter, benchmark: ShownBenchmark | None = None
    ) -> None:
        self.stream, self.resident, self.meter, self.benchmark = stream, resident, meter, benchmark

    def make(self, experience: Experience, order: Tensor | None = None) -> tuple[ShownExperience, Rows]:
        """One experience, and its rows to be released (``rows.x = None``) when it is over.

        Args:
            experience: Which one.
            order: (N,) positions, to have its rows in another order.
        """
        stream, n = self.stream, len(experience)
        place = np.arange(n) if order is None else order.numpy()
        view = _column(experience.view, n)[place]
        rows = experience.rows[place]
        y = stream.labels(stream.dataset.train, rows, view).tolist()
        labels: Any = _column(experience.task, n)[place].tolist() if stream.task_labels else 0
        if stream.task_labels and len(experience.tasks) == 1:
            labels = experience.tasks[0]  # one number: its ICaRL cannot join memory to labels in a list
        held = Rows(self.resident, torch.from_numpy(rows), torch.from_numpy(view), y, experience.id, self.meter)
        dataset = _make_taskaware_classification_dataset(held, targets=y, task_labels=labels)
        told = sorted({int(task) for task in experience.tasks}) if stream.task_labels else None
        made = ShownExperience(dataset, experience.id, experience.classes, told)
        if self.benchmark is not None:
            made.origin_stream = self.benchmark.train_stream
        return made, held


def whole(stream: Stream) -> ShownBenchmark | None:
    """The benchmark where every class comes in one experience only; else nothing."""
    classes = [c for experience in stream for c in experience.classes]
    return to_avalanche(stream) if len(set(classes)) == len(classes) else None


def _column(value: int | Index, n: int) -> Index:
    return np.broadcast_to(np.asarray(value, dtype=np.int64), n)
