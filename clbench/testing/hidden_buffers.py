"""Rows of the stream that a part keeps by itself, past its budget of memory: found among all that it holds."""

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
"""Distinct rows that may be met by chance, as where a class has one row and its mean is kept."""

LIBRARIES = ("clbench", "torch", "numpy", "sklearn", "builtins")
"""Whose objects are not looked into: a learner that is kept holds the stream, and that is no hidden buffer."""


class HiddenBuffers:
    """Watches a run for rows of earlier experiences in ``state`` and attributes of its parts.

    Rows are known by the inputs that batches have shown, by their raw values, and by the columns of the index matrix,
    from which inputs are made. Those of the running experience, of the running batch and in memory are within reach
    anyway. Learners of other shapes keep objects of their own, which are counted and not bounded.

    Args:
        run: One that has not begun.

    Attributes:
        found: A part and where it keeps rows -> the most that were seen there.
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
        """Look through the parts at the end of a step."""
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
        """Rows of the stream in an array, of any shape that a whole number of them fits into."""
        size, shape = int(np.prod(values.shape)), tuple(values.shape)
        keys = _keys(values, size // self._features) if size and size % self._features == 0 else []
        if size and shape[-1:] == (5,):
            keys += _keys(values, size // 5)
        if size and shape[-2:-1] == (5,):  # an index matrix, or several
            keys += _keys(values.swapaxes(-2, -1), size // 5)
        return {self._rows[key] for key in keys if key in self._rows}


def _keys(values: Any, n: int) -> list[bytes]:
    """What identifies each of n rows: their values, whatever the type that holds them."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    flat = np.ascontiguousarray(array, dtype=np.float32).reshape(n, -1) + np.float32(0)  # one zero, not two
    return [row.tobytes() for row in flat]


def _held(part: Part) -> Iterator[tuple[str, Any]]:
    """Arrays and tensors among all that a part holds, each with its place, such as ``state['rows']``.

    Tensors of one shape in a list are told as one.
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
