"""The search for hidden buffers: samples of the stream that a part keeps outside the replay buffer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clbench.adapters.online_learner import OnlineLearner
from clbench.running.prepared_run import Run
from clbench.strategies.part import Part
from clbench.training.batch import ROW, Batch
from clbench.training.learner import ExperienceView

FEW = 5
"""Smallest number of distinct samples for a hidden buffer; fewer may match by chance, as the mean of a class with one
sample."""

LIBRARIES = ("clbench", "torch", "numpy", "sklearn", "builtins")
"""Libraries whose objects are not searched: a stored learner holds the stream, and that is no hidden buffer."""


class HiddenBuffers:
    """Search ``state`` and attributes of a run's parts for samples of earlier experiences.

    Samples are recognised by the inputs of batches, by their raw values, and by columns of the index matrix. Samples of
    the running experience, of the running batch and of the replay buffer are allowed. Other learners keep objects of
    their own, which are counted without a bound.

    Args:
        run: A run that has not begun.

    Attributes:
        found: A part and the place of samples -> the largest number that was found there.
    """

    def __init__(self, run: Run) -> None:
        self.found: dict[tuple[str, str], int] = {}
        self._run = run
        self._parts = [part for part in run.chain.parts if not isinstance(part, OnlineLearner)]
        self._rows: dict[bytes, int] = {}
        x = run.stream.dataset.train.x
        self._features = int(np.prod(x.shape[1:]))
        self._learn(x, range(len(x)))
        self._recent: set[int] = set()
        self._gather = run.learner._rows.gather
        run.learner._rows.gather = self._shown  # type: ignore[method-assign]

    def _shown(self, index: Tensor, *changes: Any) -> Tensor:
        x, rows = self._gather(index, *changes), index[ROW].tolist()
        for known in (x, self._run.learner.raw(index), index.T):
            self._learn(known, rows)
        self._recent.update(rows)
        return x

    def _learn(self, values: Any, rows: Any) -> None:
        for key, row in zip(_keys(values, len(rows)), rows, strict=True):
            self._rows.setdefault(key, row)

    def look(self) -> None:
        """Search the parts at the end of a step."""
        run = self._run
        running = set(run.stream[run.cursor.experience].rows.tolist())
        own = running | self._recent | set(run.learner.memory.all().index[ROW].tolist())
        self._recent = set()
        for part in self._parts:
            kept: dict[str, set[int]] = {}
            for place, value in _held(part):
                kept.setdefault(place, set()).update(self._among(value) - own)
            for place, rows in kept.items():
                if len(rows) >= FEW:
                    self.found[part.title, place] = max(len(rows), self.found.get((part.title, place), 0))

    def _among(self, values: Any) -> set[int]:
        """Return the samples of the stream in an array of any shape that can hold a whole number of them."""
        size, shape = int(np.prod(values.shape)), tuple(values.shape)
        keys = _keys(values, size // self._features) if size and size % self._features == 0 else []
        if size and shape[-1:] == (5,):
            keys += _keys(values, size // 5)
        if size and shape[-2:-1] == (5,):  # an index matrix, or several
            keys += _keys(values.swapaxes(-2, -1), size // 5)
        return {self._rows[key] for key in keys if key in self._rows}


def _keys(values: Any, n: int) -> list[bytes]:
    """Return the identity of each of n samples: their values, for any dtype."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    flat = np.ascontiguousarray(array, dtype=np.float32).reshape(n, -1) + np.float32(0)  # merges -0 and 0
    return [row.tobytes() for row in flat]


def _held(part: Part) -> Iterator[tuple[str, Any]]:
    """Yield arrays and tensors that a part holds, each with its place, such as ``state['rows']``.

    Tensors of one shape in a list are yielded as one.
    """
    met: set[int] = set()
    for name, value in vars(part).items():
        if name != "_state":
            yield from _arrays(value, name, met)
    for name, value in part.state.items():
        yield from _arrays(value, f"state[{name!r}]", met)


def _arrays(value: Any, place: str, met: set[int]) -> Iterator[tuple[str, Any]]:
    if id(value) in met:
        return
    met.add(id(value))
    if _is_array(value):
        yield place, value
    elif isinstance(value, list | tuple | set | frozenset | deque | Mapping):
        inside = list(value.values() if isinstance(value, Mapping) else value)
        alike = {tuple(each.shape) for each in inside if _is_array(each)}
        for shape in alike:
            same = [torch.as_tensor(each).detach().cpu() for each in inside if _is_array(each) and each.shape == shape]
            yield place, torch.stack([each.to(torch.float32) for each in same])
        for each in inside:
            if not _is_array(each):
                yield from _arrays(each, place, met)
    elif isinstance(value, Batch | ExperienceView) or type(value).__module__.partition(".")[0] not in LIBRARIES:
        for name, each in getattr(value, "__dict__", {}).items():
            yield from _arrays(each, f"{place}.{name}", met)


def _is_array(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.layout is torch.strided and not value.is_complex() and value.device.type != "meta"
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
