"""The basic data types of all modules: small, plain data. This module imports no torch.

Letters in shape comments: B samples of a batch, C classes, T tasks, E experiences.
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
"""Version of the stream generators. Every fingerprint includes it, and it is raised if a generator's output changes."""


# --------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, eq=False)
class Rows:
    """Hold images or vectors with labels as arrays, often memory-mapped, so that processes share pages.

    Args:
        x: (N, C, H, W) or (N, H) samples; uint8 or float32.
        y: (N,) int64 labels in [0, number of classes). In a family without classes, labels are groups of samples:
            scenarios distribute groups, and evaluation samples are drawn from all of them.
        target: (N, ...) values to predict, if these are not the labels.
        domain: (N,) int64 position of each sample's domain in ``Dataset.domain_names``, if the data set has domains.
        listed: (N, 2) int64 experience of each sample, -1 for none, and its position in ``Dataset.task_names``, if the
            samples come from a list.
    """

    x: NDArray[Any]
    y: Index
    target: NDArray[Any] | None = None
    domain: Index | None = None
    listed: Index | None = None

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Origin:
    """Say which part of a joined data set comes from one of its sources; all ranges are (start, stop).

    Args:
        name: The name of the source data set.
        train: The range of its training samples.
        test: The range of its test samples.
        classes: The range of its classes.
    """

    name: str
    train: tuple[int, int]
    test: tuple[int, int]
    classes: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Hold a data set in memory.

    Args:
        name: The name in benchmark files and records.
        train: Samples for training.
        test: Samples for evaluation: the test split, or validation samples held out of training.
        class_names: The name of each class, C of them; in a family without classes, of each group of samples.
        scale: The factor that brings stored values to [0, 1]: 1/255 for 8-bit images, 1 for floats.
        mean: Mean of the scaled training values per channel, subtracted when a batch is made; (C,) or (1,), or empty.
        std: Standard deviation per channel, divided by when a batch is made; empty for none.
        checksum: Hex digest of all arrays; the fingerprint of a stream includes it.
        origins: The ranges of the joined data sets, if there are several.
        family: Name of the family of tasks, see ``clbench.families``.
        target_names: Names of the target's columns, in families without classes.
        target_mean: Mean of each column over the training samples, if the family scales targets by it.
        target_std: Standard deviation of each column over the training samples, likewise.
        tokens: Whether inputs are whole numbers that represent something, such as words. They reach the model as
            integers, without scaling. Otherwise they are values and reach it as float32.
        domain_names: The name of each domain, if samples come from several: the values of the column ``group``.
        task_names: The name of each task, if the samples come from a list.
        input_names: The name of each input value of a table, such as ``age`` or ``colour=red``; empty for other data.
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
    target_mean: tuple[float, ...] = ()
    target_std: tuple[float, ...] = ()
    tokens: bool = False
    domain_names: tuple[str, ...] = ()
    input_names: tuple[str, ...] = ()
    task_names: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one sample: (C, H, W) for images, (F,) for vectors."""
        return tuple(self.train.x.shape[1:])


class Transform(Protocol):
    """Present samples under different views, batch by batch. One object serves all views of a stream.

    ``describe`` returns its parameters as JSON-able data, which enter the fingerprint. ``apply`` transforms a batch.
    """

    def describe(self) -> dict[str, Any]: ...

    def apply(self, x: Tensor, view: Tensor, rows: Tensor) -> Tensor:
        """Transform scaled samples ``x`` (B, ...) by their view (B,) int64; ``rows`` (B,) are stable sample indices."""
        ...


# --------------------------------------------------------------------------------------------------- streams


@dataclass(frozen=True, eq=False)
class Teacher:
    """Hold the known rule by which the two labels of a task are given: the sign of a sum over the inputs.

    Args:
        weights: (F,) the weights of the sum.
        load: α, the number of its training samples as a multiple of F.
    """

    weights: NDArray[Any]
    load: float


@dataclass(frozen=True, eq=False)
class Task:
    """Describe a distribution for evaluation. One or more experiences may hold its samples.

    Args:
        id: Index among the tasks of the stream.
        name: Name for people.
        rows: (n,) indices of its test samples.
        classes: Output units among its labels.
        view: View under which it is evaluated.
        teacher: The rule that gives its labels, if it is known. Readings compare a model with it; strategies never see
            it.
    """

    id: int
    name: str
    rows: Index
    classes: tuple[int, ...]
    view: int = 0
    teacher: Teacher | None = None


@dataclass(frozen=True, eq=False)
class Experience:
    """Describe a segment of the stream that is learned as a unit: indices of samples, never pixels.

    Args:
        id: Position in the stream.
        rows: (N,) indices of training samples.
        task: Task of each sample, (N,) int64, or one integer for all.
        view: View of each sample, (N,) int64, or one integer for all.
        classes: Output units among its labels.
        boundary: Whether the strategy sees its beginning and end.
        shuffled: Whether its samples are learned in a new random order in every pass. Otherwise the order is that of
            ``rows``, as for streams whose order matters.
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
        """Return the tasks that have samples in it, ascending."""
        return tuple(int(t) for t in np.unique(np.asarray(self.task)))


@dataclass(frozen=True, eq=False, repr=False)
class Stream(Sequence[Experience]):
    """Hold an ordered sequence of experiences in compact form; an experience is built when it is requested.

    Args:
        name: Name of the scenario that made the stream.
        dataset: The data set that holds the samples.
        tasks: The tasks to evaluate.
        length: Number of experiences.
        build: A pure function from a position to its experience.
        n_outputs: Number of output units of a model for this stream.
        seed: The seed of the stream.
        description: The compact description, JSON-able. With data set and seed, it determines the stream.
        task_labels: Whether the task of a sample is revealed, both in training and in evaluation.
        transform: How views present samples; ``None`` if every view is the identity.
        label_map: (V, C) output unit of each raw label under each view; ``None`` for the identity.
        output: Which units compete in loss and prediction: those ``seen`` so far, or ``all``.
        views_at: A function from an experience to the view (T,) of each task while it runs, for streams whose
            distribution drifts; ``None`` if every task keeps its own view.
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
        """Return the name of the family of tasks, which is that of the data set."""
        return self.dataset.family

    def __len__(self) -> int:
        return self.length

    def __repr__(self) -> str:
        return (
            f"Stream({self.name} of {self.dataset.name}: {self.length} experiences, {len(self.tasks)} tasks, "
            f"{self.n_outputs} outputs, seed {self.seed}, fingerprint {self.fingerprint})"
        )

    def _repr_html_(self) -> str:
        from clbench import html

        text: str = html(self)
        return text

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
        """Return the hash of data checksum, compact description, seed and generator version; 16 hex digits.

        Two streams of the same fingerprint have the same samples in the same experiences.
        """
        identity: dict[str, Any] = {
            "data": self.dataset.checksum,
            "description": self.description,
            "seed": self.seed,
            "version": STREAM_VERSION,
        }
        if self.family != "classification":  # older fingerprints contain no family
            identity["family"] = self.family
        return content_hash(identity)

    def task_views(self, experience: int) -> Index:
        """Return the view (T,) under which each task is evaluated while an experience runs; -1 is before the first."""
        if self.views_at is None:
            return np.array([task.view for task in self.tasks], dtype=np.int64)
        return self.views_at(max(experience, 0))

    def labels(self, rows: Rows, index: Index, view: int | Index) -> Index:
        """Return the label of each of ``rows[index]`` under its view, shape (n,): the output unit in classification."""
        y = np.asarray(rows.y[index])
        return y if self.label_map is None else self.label_map[view, y]

    def to_avalanche(self) -> Any:
        """Convert this stream into a benchmark of avalanche-lib, with ``train_stream`` and ``test_stream``.

        It is a short form of :func:`clbench.to_avalanche`, which imports avalanche-lib. The import takes seconds.
        """
        import clbench

        return clbench.to_avalanche(self)


def content_hash(value: Any) -> str:
    """Return 16 hex digits that identify a JSON-able value, independent of the order of its keys."""
    return hashlib.sha256(canonical_text(value).encode()).hexdigest()[:16]


def canonical_text(value: Any) -> str:
    """Return a JSON-able value as the text that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
