"""Helpers of streams with repetition: samples by class, draws without replacement, first positions, counts.

Letters: N samples, C classes, T tasks, E experiences.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused, did_you_mean
from clbench.core.rng import Generator
from clbench.core.types import Dataset, Index, Rows, Stream, Task

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ByClass:
    """Group the training samples by class, so that the samples of one class are a slice.

    Args:
        order: (N,) sample indices, class after class, ascending within a class.
        starts: (C + 1,) start of each class in ``order``.
    """

    order: Index
    starts: Index

    @classmethod
    def of(cls, rows: Rows, n_classes: int) -> ByClass:
        """Group samples by label; each of ``n_classes`` has a group, which may be empty."""
        counts = np.bincount(rows.y, minlength=n_classes)
        return cls(np.argsort(rows.y, kind="stable"), np.concatenate([[0], np.cumsum(counts)]))

    def __getitem__(self, c: int) -> Index:
        return self.order[self.starts[c] : self.starts[c + 1]]

    @property
    def counts(self) -> Index:
        """Return the number of samples of each class, (C,)."""
        return np.diff(self.starts)


def class_tasks(dataset: Dataset) -> tuple[Task, ...]:
    """Return one task per class, with its test samples.

    Raises:
        Refused: A class has no training or no test samples.
    """
    for split, rows in (("training", dataset.train), ("test", dataset.test)):
        empty = np.flatnonzero(np.bincount(rows.y, minlength=dataset.n_classes) == 0)
        if len(empty):
            raise Refused(
                f"every class is a task here, and {dataset.name!r} has no {split} samples of classes {empty.tolist()}; "
                "remove these classes, or choose another split of the data"
            )
    tests = ByClass.of(dataset.test, dataset.n_classes)
    return tuple(Task(c, dataset.class_names[c], tests[c], (c,)) for c in range(dataset.n_classes))


def refuse_unused(scenario: Callable[..., Any], given: Mapping[str, Any], *, because: str) -> None:
    """Refuse settings that have no effect in the chosen mode, unless they have their defaults.

    Args:
        scenario: The scenario; its signature holds the defaults.
        given: The settings that the mode does not use, by name.
        because: The mode, as the user writes it, such as ``mode = 'self'``.

    Raises:
        Refused: A setting was changed.
    """
    parameters = inspect.signature(scenario).parameters
    for name, value in given.items():
        if value != parameters[name].default:
            raise Refused(
                f"{name} = {value!r} has no effect with {because}; leave it at {parameters[name].default!r}", name
            )


def draw_different(weights: Floats, uniforms: Floats) -> Index:
    """Draw k different positions in each row, one after the other, in proportion to the remaining weights.

    Args:
        weights: (E, N) non-negative, at least k positive in each row.
        uniforms: (E, k) in [0, 1); each number determines one draw.

    Returns:
        (E, k) int64, in the order drawn.
    """
    left = weights.copy()
    rows = np.arange(len(left))
    drawn = np.empty(uniforms.shape, dtype=np.int64)
    for i in range(uniforms.shape[1]):
        cumulative = np.cumsum(left, axis=1)  # (E, N)
        target = uniforms[:, i] * cumulative[:, -1]
        position = (cumulative <= target[:, None]).sum(axis=1)
        last = left.shape[1] - 1 - (left[:, ::-1] > 0).argmax(axis=1)  # guards against rounding beyond the end
        drawn[:, i] = np.minimum(position, last)
        left[rows, drawn[:, i]] = 0.0
    return drawn


def digest(values: Sequence[Any] | NDArray[Any]) -> str:
    """Return 16 hex digits that identify an array of integers in a stream's description."""
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<i8").tobytes()).hexdigest()[:16]


def counts(stream: Stream) -> Index:
    """Return the number of samples of each task in each experience: the raster of a stream.

    Args:
        stream: Any stream. If its scenario knows the counts, no sample is drawn.

    Returns:
        (E, T) int64.
    """
    of = getattr(stream.build, "counts", None)
    if of is None:

        def of(i: int) -> Index:
            experience = stream[i]
            tasks = np.broadcast_to(np.asarray(experience.task), len(experience))
            return np.bincount(tasks, minlength=len(stream.tasks))

    return np.stack([of(i) for i in range(len(stream))]).astype(np.int64)


# ------------------------------------------------------------------------------------------- when classes occur

FIRST: dict[str, float | None] = {"geometric": 0.01, "zipf": 1.0, "poisson": None, "uniform": None}
"""Default parameter of each distribution of first positions."""
REPETITION: dict[str, float | None] = {"fixed": 0.2, "zipf": 1.0, "dual": None, "random": None}
"""Default parameter of each distribution of the probability of repetition."""


def first_positions(first: str, parameter: float | None, experiences: int) -> Floats:
    """Return the probability (N,) of each position at which a class may first occur; see ``clbench.scenarios.cir``.

    Raises:
        Refused: The distribution is unknown, or its parameter is missing, superfluous or out of range.
    """
    at = np.arange(experiences, dtype=np.float64)
    value = _parameter("first", first, parameter, FIRST)
    if first == "geometric":
        weights = (1 - _inside("first_parameter", value, 0, 1, open_ends=True)) ** at
    elif first == "zipf":
        weights = (at + 1) ** -_inside("first_parameter", value, 0, 100)
    elif first == "poisson":
        logarithms = at * np.log(_inside("first_parameter", value, 0, 1e6, open_ends=True))
        logarithms[1:] -= np.cumsum(np.log(at[1:]))
        weights = np.exp(logarithms - logarithms.max())
    else:
        weights = np.ones(experiences)
    shares: Floats = weights / weights.sum()
    return shares


def repetition_probabilities(
    seed: int, repetition: str, parameter: float | list[float] | None, n_classes: int
) -> Floats:
    """Return the probability (C,) that a class is present after its first occurrence; see ``clbench.scenarios.cir``.

    Raises:
        Refused: The distribution is unknown, or its parameter is missing, superfluous or out of range.
    """
    value = _parameter("repetition", repetition, parameter, REPETITION)
    draw = Generator(seed, "stream/repetition")
    if repetition == "fixed":
        return np.full(n_classes, _inside("repetition_parameter", value, 0, 1))
    if repetition == "random":
        return draw.uniform(n_classes)
    if repetition == "zipf":
        p = np.arange(1.0, n_classes + 1) ** -_inside("repetition_parameter", value, 0, 100)
    else:
        if not isinstance(value, list) or len(value) != 3:
            raise Refused(
                f"repetition_parameter = {value} is not [fraction of classes, low probability, high probability]; "
                "write it as in [0.3, 0.1, 1.0]",
                "repetition_parameter",
            )
        fraction, low, high = (_inside("repetition_parameter", part, 0, 1) for part in value)
        p = np.where(np.arange(n_classes) < int(fraction * n_classes + 1e-9), low, high)
    return p[draw.permutation(n_classes)]


def _parameter(name: str, kind: str, given: Any, defaults: dict[str, float | None]) -> Any:
    """Return the given parameter, or the default of this kind."""
    if kind not in defaults:
        raise Refused(f"{name} = {kind!r} does not exist; {did_you_mean(kind, defaults)}", name)
    if kind in ("uniform", "random"):
        if given is not None:
            raise Refused(f"{name}_parameter = {given} has no effect with {name} = {kind!r}; leave it out")
        return None
    value = defaults[kind] if given is None else given
    if value is None:
        raise Refused(f"{name} = {kind!r} has no published default; give {name}_parameter", f"{name}_parameter")
    return value


def _inside(name: str, value: Any, low: float, high: float, *, open_ends: bool = False) -> float:
    if isinstance(value, list) or not (low < value < high if open_ends else low <= value <= high):
        span = f"strictly between {low:g} and {high:g}" if open_ends else f"from {low:g} to {high:g}"
        raise Refused(f"{name} = {value} is out of range; give one number {span}", name)
    return float(value)
