"""Streams without some of the training samples of each experience, which measure what was learned in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from clbench.core.types import Experience, Mask, Stream
from clbench.data.stratified import of_each


@dataclass(frozen=True, eq=False)
class HeldOutRows:
    """Hold a share of the samples of each experience out of training, with all of its classes and tasks.

    The draw depends on the samples of the experience and on the seed alone, so that nothing that comes later changes
    it. At least one sample of each class and task is held out if there are two, and at least one remains.

    Args:
        stream: The stream.
        share: The share of the samples, in (0, 1).
        seed: The seed of the draw.
    """

    stream: Stream
    share: float
    seed: int

    @property
    def training(self) -> Stream:
        """Return the stream without the held-out samples."""
        return replace(self.stream, build=self._part(lambda held: ~held))

    def held_out(self, position: int) -> Experience:
        """Return an experience with its held-out samples alone."""
        return self._part(lambda held: held)(position)

    def _part(self, chosen: Callable[[Mask], Mask]) -> Callable[[int], Experience]:
        def build(position: int) -> Experience:
            experience = self.stream.build(position)
            kept = chosen(self._held(experience))
            task, view = (
                value if isinstance(value, int) else np.asarray(value)[kept]
                for value in (experience.task, experience.view)
            )
            return replace(experience, rows=experience.rows[kept], task=task, view=view)

        return build

    def _held(self, experience: Experience) -> Mask:
        """Return which samples (N,) of an experience are held out; a sample that it holds twice is in or out at
        once."""
        labels = self.stream.labels(self.stream.dataset.train, experience.rows, experience.view)
        rows, first, where = np.unique(experience.rows, return_index=True, return_inverse=True)
        task = np.broadcast_to(np.asarray(experience.task), len(experience))[first]
        _, groups = np.unique(np.stack([np.asarray(labels)[first], task]), axis=1, return_inverse=True)
        held = of_each(groups.reshape(-1), self.share, f"tuning/held-out/{experience.id}", self.seed)
        held = _leave_one(held, groups.reshape(-1)) if len(rows) else held
        return held[where.reshape(-1)]


def _leave_one(held: Mask, groups: np.ndarray) -> Mask:
    """Return the mask without the last held-out sample of every group (N,) of which nothing remains."""
    held = held.copy()
    for group in np.flatnonzero(np.bincount(groups[~held], minlength=int(groups.max()) + 1) == 0):
        held[np.flatnonzero(groups == group)[-1]] = False
    return held
