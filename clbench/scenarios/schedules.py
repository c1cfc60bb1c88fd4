"""What streams with recurrence share: rows by class, draws without replacement, when classes occur, counts.

Letters: N rows, C classes, T tasks, E experiences.
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
    """The training rows grouped by class, so that those of one class are a slice.

    Args:
        order: (N,) row indices, class after class, ascending within a class.
        starts: (C + 1,) where each class begins in ``order``.
    """

    order: Index
    starts: Index

    @classmethod
    def of(cls, rows: Rows, n_classes: int) -> ByClass:
        """Group rows by label; each of ``n_classes`` has a group, possibly an empty one."""
        counts = np.bincount(rows.y, minlength=n_classes)
        return cls(np.argsort(rows.y, kind="stable"), np.concatenate([[0], np.cumsum(counts)]))

    def __getitem__(self, c: int) -> Index:
        return self.order[self.starts[c] : self.starts[c + 1]]

    @property
    def counts(self) -> Index:
        """Rows of each class, (C,)."""
        return np.diff(self.starts)


def class_tasks(dataset: Dataset) -> tuple[Task, ...]:
    """One task per class: its test rows.

    Raises:
        Refused: A class without training or test rows.
    """
    for split, rows in (("training", dataset.train), ("test", dataset.test)):
        empty = np.flatnonzero(np.bincount(rows.y, minlength=dataset.n_classes) == 0)
        if len(empty):
            raise Refused(
                f"every class is a task here, and {dataset.name!r} has no {split} rows of classes {empty.tolist()}; "
                "remove these classes, or choose another split of the data"
            )
    tests = ByClass.of(dataset.test, dataset.n_classes)
    return tuple(Task(c, dataset.class_names[c], tests[c], (c,)) for c in range(dataset.n_classes))


def refuse_unused(scenario: Callable[..., Any], given: Mapping[str, Any], *, because: str) -> None:
    """Refuse settings that say nothing in the chosen mode, unless they are at their defaults.

    Args:
        scenario: The scenario; its signature holds the defaults.
        given: The settings that the mode does not use, by name.
        because: The mode, as the user writes it, such as ``mode = 'self'``.

    Raises:
        Refused: One of them was changed.
    """
    parameters = inspect.signature(scenario).parameters
    for name, value in given.items():
        if value != parameters[name].default:
            raise Refused(
                f"{name} = {value!r} says nothing where {because}; leave it at {parameters[name].default!r}", name
            )


def draw_different(weights: Floats, uniforms: Floats) -> Index:
    """In each row, k different positions, drawn one after the other in proportion to the weights that are left.

    Args:
        weights: (E, N) non-negative, at least k positive in each row.
        uniforms: (E, k) in [0, 1): one number decides one draw.

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
        last = left.shape[1] - 1 - (left[:, ::-1] > 0).argmax(axis=1)  # where rounding would step past the end
        drawn[:, i] = np.minimum(position, last)
        left[rows, drawn[:, i]] = 0.0
    return drawn


def digest(values: Sequence[Any] | NDArray[Any]) -> str:
    """Sixteen hex digits that stand for an array of integers in a stream's description."""
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<i8").tobytes()).hexdigest()[:16]


def counts(stream: Stream) -> Index:
    """How many rows of each task each experience holds: the raster of a stream.

    Args:
        stream: Any; where its scenario knows the counts, no row is drawn.

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
"""Default parameter of each distribution of first occurrences."""
REPETITION: dict[str, float | None] = {"fixed": 0.2, "zipf": 1.0, "dual": None, "random": None}
"""Default parameter of each way to give classes their probability of repetition."""


def first_positions(first: str, parameter: float | None, experiences: int) -> Floats:
    """Probability of each position at which a class may first occur, (N,); see ``clbench.scenarios.cir``.

    Raises:
        Refused: An unknown distribution, or a parameter that is missing, superfluous or out of range.
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
    """Probability that a class is present after it first occurred, (C,); see ``clbench.scenarios.cir``.

    Raises:
        Refused: An unknown distribution, or a parameter that is missing, superfluous or out of range.
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
    """What was given, else the default of this kind."""
    if kind not in defaults:
        raise Refused(f"{name} = {kind!r} does not exist; {did_you_mean(kind, defaults)}", name)
    if kind in ("uniform", "random"):
        if given is not None:
            raise Refused(f"{name}_parameter = {given} says nothing where {name} = {kind!r}; leave it out")
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
