"""When the samples of each output unit and of each task first arrive; this decides what competes and what is evaluated
if boundaries are hidden. Letters: N samples of an experience, C output units, T tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from clbench.core.types import Experience, Index


@dataclass(eq=False)
class Arrivals:
    """Record when the first samples arrive, in optimiser steps of the stream.

    If an experience has a visible boundary, its tasks count from its beginning. If it is hidden, each task counts from
    the first batch that has one of its samples, so that this does not depend on where the stream is cut.

    Args:
        units: C.
        tasks: T.

    Attributes:
        met: (C,) steps done before the first batch that has a sample of each output unit; -1 for none so far.
        counted: (T,) steps done before each task first counted; -1 for none so far.
        hides: Whether an experience with a hidden boundary has begun.
    """

    units: int
    tasks: int
    met: Index = field(init=False)
    counted: Index = field(init=False)
    hides: bool = False

    def __post_init__(self) -> None:
        self.met, self.counted = np.full(self.units, -1, dtype=np.int64), np.full(self.tasks, -1, dtype=np.int64)
        self._y = self._task = np.zeros(0, dtype=np.int64)
        self._visible, self._more = True, True  # whether the experience may contain something new

    def enter(self, experience: Experience, y: Index) -> None:
        """Begin an experience whose samples have the output units ``y`` (N,)."""
        self.hides |= not experience.boundary
        self._visible, self._more = experience.boundary, True
        self._y, self._task = y, np.broadcast_to(np.asarray(experience.task, dtype=np.int64), len(y))

    def batches(self, order: Callable[[], Index], spans: Sequence[tuple[int, int]]) -> dict[int, tuple[Index, Index]]:
        """Return the batches of a pass with the first samples of output units or tasks.

        They are given as: place of the batch's first sample -> output units, and tasks.

        Args:
            order: Returns the positions (n,) of the pass; called only if needed. Positions from N on are of the replay
                buffer.
            spans: Start and stop of its batches in the order, ascending.
        """
        if not spans or not self._more:
            return {}
        new_units, new_tasks = self.met[self._y] < 0, self.counted[self._task] < 0
        self._more = bool(new_units.any() or new_tasks.any())
        if not self._more:
            return {}
        starts, places = np.array([start for start, _ in spans]), order()[: spans[-1][1]]
        own = np.flatnonzero(places < len(self._y))
        found: dict[int, tuple[Index, Index]] = {}
        for column, (values, new) in enumerate(((self._y, new_units), (self._task, new_tasks))):
            at = own[new[places[own]]]
            arriving, first = np.unique(values[places[at]], return_index=True)
            start = starts[np.searchsorted(starts, at[first], side="right") - 1]
            if column and self._visible:
                start[:] = starts[0]
            for place in np.unique(start).tolist():
                pair = list(found.get(place, (self._none, self._none)))
                pair[column] = arriving[start == place]
                found[place] = (pair[0], pair[1])
        return found

    _none = np.zeros(0, dtype=np.int64)

    def note(self, units: Index, tasks: Index, step: int) -> None:
        """Record that output units and tasks arrive with the batch after ``step`` steps."""
        self.met[units], self.counted[tasks] = step, step

    @property
    def state(self) -> dict[str, object]:
        """Return what is known so far, as numbers and lists."""
        return {"met": self.met.tolist(), "counted": self.counted.tolist(), "hides": self.hides}

    @state.setter
    def state(self, state: dict[str, list[int]]) -> None:
        self.met[:], self.counted[:], self.hides = state["met"], state["counted"], bool(state["hides"])
