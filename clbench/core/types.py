"""The vocabulary of everything else: small, pure data. No torch is imported here.

Letters in shape comments: B rows, C classes, T tasks, E experiences.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

STREAM_VERSION = 1
"""Version of the stream generators: part of every fingerprint, raised when a generator's output changes."""


# --------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, eq=False)
class Rows:
    """Images or vectors with labels, held as arrays (often memory-mapped, so that processes share pages).

    Args:
        x: (N, C, H, W) or (N, H); uint8 or float32.
        y: (N,) int64 labels in [0, number of classes). In a family without classes they group the rows, so that
            scenarios can deal out groups, and evaluation rows are drawn from all of them.
        target: (N, ...) what is to be predicted, where that is not the label.
    """

    x: NDArray[Any]
    y: Index
    target: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Origin:
    """Where one of several joined data sets lies in the whole; all ranges are (start, stop).

    Args:
        name: How that data set is called.
        train: Its training rows.
        test: Its test rows.
        classes: Its classes.
    """

    name: str
    train: tuple[int, int]
    test: tuple[int, int]
    classes: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory.

    Args:
        name: How it is called in benchmark files and records.
        train: Rows that may be trained on.
        test: Rows for evaluation (the test split, or the validation rows held out of training).
        class_names: One name per class, C of them; in a family without classes, one per group of rows.
        scale: Factor that brings stored values to [0, 1]; 1/255 for 8-bit images, 1 for floats.
        mean: Per-channel mean of the scaled training values, subtracted at batch time; (C,) or (1,), or empty.
        std: Per-channel standard deviation, divided by at batch time; empty for none.
        checksum: Hex digest of all arrays, the data's part of a stream's fingerprint.
        origins: Where each of several joined data sets lies.
        family: Name of the family of tasks, see ``clbench.families``.
        target_names: Names of the columns of the target, in families without classes.
    """

    name: str
    train: Rows
    test: Rows
    class_names: tuple[str, ...]
    scale: float
    checksum: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    origins: tuple[Origin, ...] = ()
    family: str = "classification"
    target_names: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row: (C, H, W) for images, (F,) for vectors."""
        return tuple(self.train.x.shape[1:])


class Transform(Protocol):
    """How a family of views presents rows; one object serves all views of a stream, batched.

    ``describe`` is the JSON-able parameters (they enter the fingerprint), ``apply`` maps a batch.
    """

    def describe(self) -> dict[str, Any]: ...

    def apply(self, x: Tensor, view: Tensor, rows: Tensor) -> Tensor:
        """Transform scaled rows ``x`` (B, ...) by their view (B,) int64; ``rows`` (B,) are stable row indices."""
        ...


# --------------------------------------------------------------------------------------------------- streams


@dataclass(frozen=True, eq=False)
class Task:
    """A distribution to be evaluated on; one or more experiences may visit it.

    Args:
        id: Index in the stream's tasks.
        name: For people.
        rows: (n,) rows of the test data.
        classes: Output units that occur among its labels.
        view: The view under which it is evaluated.
    """

    id: int
    name: str
    rows: Index
    classes: tuple[int, ...]
    view: int = 0


@dataclass(frozen=True, eq=False)
class Experience:
    """A stretch of the stream that is learned as a unit: indices, never pixels.

    Args:
        id: Position in the stream.
        rows: (N,) indices into the training rows.
        task: Task of each row, (N,) int64, or one integer for all.
        view: View of each row, (N,) int64, or one integer for all.
        classes: Output units that occur among its labels.
        boundary: Whether its beginning and end are visible to the strategy.
        shuffled: Whether its rows are learned in a fresh random order on every pass; else in the order given here, as
            streams need whose order is their point.
    """

    id: int
    rows: Index
    task: int | Index
    view: int | Index
    classes: tuple[int, ...]
    boundary: bool = True
    shuffled: bool = True

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def tasks(self) -> tuple[int, ...]:
        """The tasks present, ascending."""
        return tuple(int(t) for t in np.unique(np.asarray(self.task)))


@dataclass(frozen=True, eq=False, repr=False)
class Stream(Sequence[Experience]):
    """An ordered sequence of experiences, in compact form: experiences are built when they are asked for.

    Args:
        name: Name of the scenario that made it.
        dataset: Where the rows live.
        tasks: What is evaluated.
        length: Number of experiences.
        build: From a position to its experience; a pure function.
        n_outputs: Number of output units of a model for this stream.
        seed: The seed it was made from.
        description: The compact description, JSON-able: everything that, with data set and seed, determines the stream.
        task_labels: Whether the task of a row is revealed, in training and at evaluation.
        transform: How views present rows; ``None`` where every view is the identity.
        label_map: (V, C) output unit of each raw label under each view; ``None`` for the identity.
        output: Which units compete in loss and prediction: those ``seen`` so far, or ``all``.
        views_at: From an experience to the view of each task (T,) while it runs, where the world drifts and evaluation
            with it; ``None`` where every task keeps its own view.
    """

    name: str
    dataset: Dataset
    tasks: tuple[Task, ...]
    length: int
    build: Callable[[int], Experience] = field(repr=False)
    n_outputs: int
    seed: int
    description: dict[str, Any]
    task_labels: bool = False
    transform: Transform | None = None
    label_map: Index | None = None
    output: str = "seen"
    views_at: Callable[[int], Index] | None = field(default=None, repr=False)

    @property
    def family(self) -> str:
        """Name of the family of tasks, which is the data set's."""
        return self.dataset.family

    def __len__(self) -> int:
        return self.length

    def __repr__(self) -> str:
        return (
            f"Stream({self.name} of {self.dataset.name}: {self.length} experiences, {len(self.tasks)} tasks, "
            f"{self.n_outputs} outputs, seed {self.seed}, fingerprint {self.fingerprint})"
        )

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return [self.build(i) for i in range(*position.indices(self.length))]
        if not -self.length <= position < self.length:
            raise IndexError(f"experience {position} does not exist; the stream has {self.length}")
        return self.build(position % self.length)

    def __iter__(self) -> Iterator[Experience]:
        return (self.build(i) for i in range(self.length))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of data checksum, compact description, seed and generator version; 16 hex digits.

        Two people whose streams have the same fingerprint train on the same rows in the same experiences.
        """
        identity: dict[str, Any] = {
            "data": self.dataset.checksum,
            "description": self.description,
            "seed": self.seed,
            "version": STREAM_VERSION,
        }
        if self.family != "classification":  # older fingerprints name no family
            identity["family"] = self.family
        return content_hash(identity)

    def task_views(self, experience: int) -> Index:
        """The view (T,) under which each task is evaluated while an experience runs; -1 is before the first."""
        if self.views_at is None:
            return np.array([task.view for task in self.tasks], dtype=np.int64)
        return self.views_at(max(experience, 0))

    def labels(self, rows: Rows, index: Index, view: int | Index) -> Index:
        """Label of each of ``rows[index]`` under its view, shape (n,): its output unit, in classification."""
        y = np.asarray(rows.y[index])
        return y if self.label_map is None else self.label_map[view, y]

    def to_avalanche(self) -> Any:
        """Convert this stream into a benchmark of avalanche-lib, with ``train_stream`` and ``test_stream``.

        It is short for :func:`clbench.to_avalanche`, which imports avalanche-lib; that takes seconds.
        """
        import clbench

        return clbench.to_avalanche(self)


def content_hash(value: Any) -> str:
    """Sixteen hex digits that identify a JSON-able value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
