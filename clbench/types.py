"""The vocabulary of everything else: small, pure data. No torch is imported here.

Letters in shape comments: B rows, C classes, T tasks, E experiences, K looks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from importlib import import_module
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
        y: (N,) int64 labels in [0, number of classes).
    """

    x: NDArray[Any]
    y: Index

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
    """A classification data set in memory.

    Args:
        name: How it is called in benchmark files and records.
        train: Rows that may be trained on.
        test: Rows for evaluation (the test split, or the validation rows held out of training).
        class_names: One name per class, C of them.
        scale: Factor that brings stored values to [0, 1]; 1/255 for 8-bit images, 1 for floats.
        mean: Per-channel mean of the scaled training values, subtracted at batch time; (C,) or (1,), or empty.
        std: Per-channel standard deviation, divided by at batch time; empty for none.
        checksum: Hex digest of all arrays, the data's part of a stream's fingerprint.
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
        identity = {
            "data": self.dataset.checksum,
            "description": self.description,
            "seed": self.seed,
            "version": STREAM_VERSION,
        }
        return content_hash(identity)

    def task_views(self, experience: int) -> Index:
        """The view (T,) under which each task is evaluated while an experience runs; -1 is before the first."""
        if self.views_at is None:
            return np.array([task.view for task in self.tasks], dtype=np.int64)
        return self.views_at(max(experience, 0))

    def labels(self, rows: Rows, index: Index, view: int | Index) -> Index:
        """Output unit of each of ``rows[index]`` under its view, shape (n,)."""
        y = np.asarray(rows.y[index])
        return y if self.label_map is None else self.label_map[view, y]

    def to_avalanche(self) -> Any:
        """This stream as a benchmark of avalanche-lib, with ``train_stream`` and ``test_stream``.

        Imports avalanche-lib, which takes seconds; see :func:`clbench.adapters.avalanche.streams.to_avalanche`.
        """
        # by name: the vocabulary knows nobody above it, and this is a user's short way up
        return import_module("clbench.adapters.avalanche.streams").to_avalanche(self)


def content_hash(value: Any) -> str:
    """Sixteen hex digits that identify a JSON-able value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --------------------------------------------------------------------------------------------------- what was observed


class Kind(IntEnum):
    """Why a look was taken: before anything, after a step, or at the end of an experience (or of the stream)."""

    START = 0
    STEP = 1
    END = 2


@dataclass(frozen=True, eq=False)
class Trace:
    """The raw observation of one run; every metric is a pure function of it.

    Args:
        step: (K,) optimiser steps done before each look, ascending.
        kind: (K,) values of :class:`Kind`.
        experience: (K,) experience that was running; -1 at the start look.
        score: (K, T) accuracy in [0, 1] of each task, NaN where it was not looked at.
        rows: (T,) evaluation rows behind each score.
        present: (E, T) whether a task had rows in an experience.
        every: Optimiser steps between step looks; 0 where there is no one such number: where only ends were looked at,
            or looks are uneven by their schedule.
        seconds: (K,) training seconds before each look, the evaluator's clock stopped.
        masked: (K, T) accuracy when only the task's own classes compete, NaN where not looked; (0, 0) if not recorded.
        class_score: (K, C) accuracy per output unit over the rows looked at, NaN where none; (0, 0) if not recorded. A
            row that several tasks share counts for each of them.
        probe_step: (J,) steps at which the gradient was taken apart; none where that was not asked for.
        probe: (J, 6) what was found then, columns as in ``clbench.probe.COLUMNS``.
        units: (T, C) int8, output units at looks at each task: 2 for those of its own classes, 1 for others that
            compete with them at some look, 0 for the rest; (0, 0) in older records.
        population: (T,) rows of each task from which ``rows`` of them were drawn, without replacement; (0,) if unknown.
    """

    step: Index
    kind: Index
    experience: Index
    score: NDArray[np.float64]
    rows: Index
    present: Mask
    every: int = 1
    seconds: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    masked: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    class_score: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    probe_step: Index = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    probe: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 6)))
    population: Index = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    units: NDArray[np.int8] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int8))

    def __post_init__(self) -> None:
        looks, tasks = self.score.shape
        for name in ("step", "kind", "experience"):
            if getattr(self, name).shape != (looks,):
                raise ValueError(f"trace.{name} has shape {getattr(self, name).shape}; score asks for ({looks},)")
        if self.rows.shape != (tasks,) or self.present.ndim != 2 or self.present.shape[1] != tasks:
            raise ValueError(
                f"trace.rows has shape {self.rows.shape} and trace.present {self.present.shape}; "
                f"score asks for ({tasks},) and (experiences, {tasks})"
            )
        optional = {
            "masked": (looks, tasks),
            "class_score": (looks, *self.class_score.shape[1:]),
            "population": (tasks,),
            "units": (tasks, *self.units.shape[1:]),
        }
        for name, shape in optional.items():
            held = getattr(self, name)
            if held.size and held.shape != shape:
                raise ValueError(f"trace.{name} has shape {held.shape}; score asks for {shape}")

    @property
    def n_tasks(self) -> int:
        return self.score.shape[1]

    @property
    def n_experiences(self) -> int:
        return self.present.shape[0]

    @cached_property
    def first_visit(self) -> Index:
        """(T,) experience in which each task first had rows; the number of experiences where it never had."""
        return np.where(self.present.any(axis=0), self.present.argmax(axis=0), self.n_experiences)

    @cached_property
    def standard_error(self) -> NDArray[np.float64]:
        """(K, T) standard error of each score as an estimate of the accuracy on all N test rows of its task.

        For a score p of n rows drawn without replacement, sqrt(p (1 - p) / n · (N - n) / (N - 1)): 0 where all rows are
        looked at, NaN where none. Where N is unknown, the last factor is left out. Rows are drawn stratified by label,
        so this is rather too large than too small.

        Source: W. G. Cochran 1977, Sampling Techniques, section 3.2.
        """
        return self.error_of(self.score)

    def error_of(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same for any accuracies (..., T) on the evaluation rows of each task."""
        n, left = self.rows, np.ones(self.n_tasks)
        if self.population.size:
            left = np.where(n < self.population, (self.population - n) / np.maximum(self.population - 1, 1), 0.0)
        return np.sqrt(np.maximum(score * (1 - score), 0.0) / np.maximum(n, 1) * left)


# --------------------------------------------------------------------------------------------------- records

HOSTS = ("avalanche",)
"""Libraries whose own loops run strategies, by the scheme in the strategies' names."""

STATUSES = ("done", "skipped", "diverged", "failed")


@dataclass(frozen=True, eq=False)
class Record:
    """Everything about one cell (benchmark, strategy, seed). Metrics are not stored: they are computed from the trace.

    Args:
        key: Content hash of the cell, 16 hex digits.
        cell: The cell itself: benchmark, strategy and seed in canonical form.
        label: The strategy's name on boards, with overrides.
        status: One of ``done skipped diverged failed``.
        reason: Why, where the status is not ``done``.
        trace: The observation; ``None`` where nothing was observed.
        fingerprint: The stream's.
        cost: What the run spent; see ``clbench.cost``.
        alarms: Sentences about things that look wrong although nothing failed.
        environment: Versions, hardware, device, commit.
        created: Time of writing, ISO 8601, UTC.
    """

    key: str
    cell: dict[str, Any]
    label: str
    status: str
    reason: str = ""
    trace: Trace | None = None
    fingerprint: str = ""
    cost: dict[str, float] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    created: str = ""

    @property
    def benchmark(self) -> str:
        """Name and version, such as ``split-digits@1``."""
        return f"{self.cell['benchmark']['name']}@{self.cell['benchmark']['version']}"

    @property
    def seed(self) -> int:
        return int(self.cell["seed"])

    @property
    def engine(self) -> str:
        """Whose loop ran it: ``clbench``, or the library of a hosted strategy, such as ``avalanche``."""
        schemes = {str(item.get("name", "")).partition(":")[0] for item in self.cell.get("strategy", ())}
        return next((engine for engine in HOSTS if engine in schemes), "clbench")
