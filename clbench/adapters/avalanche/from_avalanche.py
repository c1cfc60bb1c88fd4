"""Conversion of avalanche-lib's benchmarks to streams: samples are read once, tasks are found by labels or by
position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.adapters.avalanche.library import quiet
from clbench.adapters.avalanche.to_avalanche import TASK
from clbench.core.errors import Refused
from clbench.core.global_rng import preserved
from clbench.core.types import Dataset, Experience, Index, Rows, Stream, Task, content_hash
from clbench.data.arrays import checksum


def from_avalanche(
    benchmark: Any, *, name: str = "avalanche", tasks: Sequence[int] | None = None, output: str = "seen", seed: int = 0
) -> Stream:
    """Convert a benchmark of avalanche-lib, classic or made by hand, to a stream.

    Every sample is read once through its data set's *evaluation* transforms, without random augmentation. A sample that
    recurs with the same label, in one experience or in several, is stored once. Labels are output units, also if tasks
    share labels. Each test experience is a task.

    The task of a training sample is the first of: the data set's attribute ``evaluation_task`` (set by
    :meth:`Stream.to_avalanche`); ``tasks``; the one test experience with the sample's task label and class, if all
    samples of an experience have one; the test experience at the same position, if both streams are equally long. Task
    labels are revealed if experiences have an attribute ``task_labels`` and labels differ between test experiences; the
    revealed label is the test experience.

    Args:
        benchmark: A benchmark with ``train_stream`` and ``test_stream``.
        name: Name of its data in records.
        tasks: Test experience of each training experience, if it cannot be found.
        output: Which units compete: those ``seen`` so far, or ``all``.
        seed: Seed that the stream records; nothing is drawn from it.

    Raises:
        Refused: Samples differ in shape, or tasks cannot be found.
    """
    with preserved(), quiet():  # a transform may draw numbers, even from a range of one value
        trains, tests = list(benchmark.train_stream), list(benchmark.test_stream)
        guide = Guide(tests, tasks=tasks, trains=len(trains))
        train, places = _stored([each.dataset for each in trains])
        test, wheres = _stored([each.dataset for each in tests])
        found = [guide.tasks_of(each, place) for place, each in enumerate(trains)]
    if train.x.shape[1:] != test.x.shape[1:] or train.x.dtype != test.x.dtype:
        raise Refused(
            f"training samples are {train.x.dtype} of shape {train.x.shape[1:]} and test samples {test.x.dtype} of "
            f"shape {test.x.shape[1:]}; give both streams the same evaluation transforms"
        )
    scale = 1 / 255 if train.x.dtype == np.uint8 else 1.0
    n_outputs = 1 + int(max(train.y.max(), test.y.max()))
    names = tuple(map(str, range(n_outputs)))
    learned = Listed(tuple(places), tuple(found), train.y)
    return Stream(
        name="avalanche",
        dataset=Dataset(name, train, test, names, scale, checksum(train, test, scale)),
        tasks=_tasks(wheres, test.y),
        length=len(trains),
        build=learned,
        n_outputs=n_outputs,
        seed=seed,
        description={
            "scenario": "avalanche",
            "task_labels": guide.revealed,
            "output": output,
            "experiences": len(trains),
            "rows": content_hash([[a.tolist(), b.tolist()] for a, b in zip(places, found, strict=True)]),
            "tests": content_hash([rows.tolist() for rows in wheres]),
            "repeated_classes": _repeats(learned(i).classes for i in range(len(trains))),
            "repeated_tasks": _repeats(learned(i).tasks for i in range(len(trains))),
        },
        task_labels=guide.revealed,
        output=output,
    )


@dataclass(frozen=True, eq=False)
class Listed:
    """Return experiences from lists.

    Args:
        rows: (N,) training samples of each experience.
        task: (N,) tasks of the samples of each experience.
        y: Labels of all training samples.
    """

    rows: tuple[Index, ...]
    task: tuple[Index, ...]
    y: Index

    def __call__(self, number: int) -> Experience:
        """Return one experience."""
        rows = self.rows[number]
        return Experience(number, rows, self.task[number], 0, tuple(np.unique(self.y[rows]).tolist()))


class Guide:
    """Find the test experience of a training sample; see :func:`from_avalanche`.

    Args:
        tests: The test experiences.
        tasks: Test experience of each training experience, if given.
        trains: Number of training experiences, if known.

    Attributes:
        labels: (T,) the task label of each test experience.
        revealed: Whether task labels are revealed.
    """

    def __init__(self, tests: Sequence[Any], *, tasks: Sequence[int] | None, trains: int | None) -> None:
        self._tasks, self._trains, self._n = tasks, trains, len(tests)
        self._of: dict[tuple[int, int], set[int]] = {}
        self.labels = np.zeros(len(tests), dtype=np.int64)
        for place, experience in enumerate(tests):
            pairs = _pairs(experience.dataset)
            self.labels[place] = min(label for label, _ in pairs)
            for pair in pairs:
                self._of.setdefault(pair, set()).add(place)
        self.revealed = len(set(self.labels.tolist())) > 1 and all(hasattr(each, "task_labels") for each in tests)

    def tasks_of(self, experience: Any, place: int) -> Index:
        """Return the test experience of each sample of a training experience, (N,).

        Raises:
            Refused: They cannot be found.
        """
        dataset = experience.dataset
        n, told = len(dataset), dataset._data_attributes.get(TASK)
        if told is not None:
            return np.array(list(told), dtype=np.int64)
        if self._tasks is not None and place < len(self._tasks):
            return np.full(n, self._tasks[place], dtype=np.int64)
        pairs = _pairs(dataset)
        if all(len(self._of.get(pair, ())) == 1 for pair in pairs):
            task = {pair: next(iter(self._of[pair])) for pair in pairs}
            return np.array([task[pair] for pair in zip(*_columns(dataset), strict=True)], dtype=np.int64)
        if self._trains == self._n:
            return np.full(n, place, dtype=np.int64)
        raise Refused(
            f"the test experience for the samples of training experience {place} cannot be found: task label and "
            f"class do not determine it, and there are {self._trains} training and {self._n} test experiences; give "
            "tasks=[test experience of each training experience]"
        )


def test_tasks(tests: Sequence[Any]) -> tuple[Rows, tuple[Task, ...]]:
    """Read the samples of test experiences once through their evaluation transforms; return them with a task for
    each."""
    rows, places = _stored([each.dataset for each in tests])
    return rows, _tasks(places, rows.y)


def _tasks(places: Sequence[Index], y: Index) -> tuple[Task, ...]:
    return tuple(
        Task(number, f"test {number}", rows, tuple(np.unique(y[rows]).tolist())) for number, rows in enumerate(places)
    )


def _columns(dataset: Any) -> tuple[list[int], list[int]]:
    """Return task label and class of each sample."""
    y = [int(label) for label in dataset.targets]
    labels = dataset._data_attributes.get("targets_task_labels")
    return ([0] * len(y) if labels is None else [int(label) for label in labels]), y


def _pairs(dataset: Any) -> set[tuple[int, int]]:
    return set(zip(*_columns(dataset), strict=True))


def _stored(datasets: Sequence[Any]) -> tuple[Rows, list[Index]]:
    """Return each distinct sample once, and the samples of each data set in its order."""
    known: dict[bytes, int] = {}
    x: list[NDArray[Any]] = []
    y: list[int] = []
    places = []
    for dataset in datasets:
        shown, place = dataset.eval(), []
        for number in range(len(shown)):
            row, label = _values(shown[number][0]), int(shown.targets[number])
            key = hashlib.blake2b(row.tobytes() + label.to_bytes(8, "little", signed=True), digest_size=16).digest()
            if known.setdefault(key, len(x)) == len(x):
                x.append(row)
                y.append(label)
            place.append(known[key])
        places.append(np.array(place, dtype=np.int64))
    shapes = {(row.shape, str(row.dtype)) for row in x}
    if len(shapes) != 1:
        raise Refused(
            f"samples differ in shape or type ({sorted(map(str, shapes))[:3]}); give transforms that make them equal"
        )
    return Rows(np.stack(x), np.array(y, dtype=np.int64)), places


def _values(row: Any) -> NDArray[Any]:
    """Convert a tensor, array or image to uint8 or float32, channels first."""
    value = np.asarray(row.detach().cpu() if hasattr(row, "detach") else row)
    if not hasattr(row, "detach") and value.ndim >= 2:
        value = value[None] if value.ndim == 2 else value.transpose(2, 0, 1)
    return np.ascontiguousarray(value, dtype=np.uint8 if value.dtype == np.uint8 else np.float32)


def _repeats(groups: Iterator[tuple[int, ...]]) -> bool:
    seen: set[int] = set()
    for group in groups:
        if seen & set(group):
            return True
        seen |= set(group)
    return False
