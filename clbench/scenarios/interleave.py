"""Interleave: two streams over one data set alternate; all tasks of both are evaluated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from clbench.core.errors import Refused
from clbench.core.rng import derive
from clbench.core.types import Experience, Index, Stream, Task, Transform
from clbench.scenarios.combinators import noted, purpose

if TYPE_CHECKING:
    from torch import Tensor


def interleave(
    stream: Stream,
    *,
    other: dict[str, Any],
    block: int = 1,
    outputs: Literal["shared", "separate"] = "shared",
) -> Stream:
    """Alternate between two streams: ``block`` experiences of each in turn, and the rest of the longer stream at the
    end.

    The numbers of the other stream's tasks follow those of the first stream. The setting ``output`` of the first stream
    applies to both.

    Args:
        stream: The first stream.
        other: ``scenario`` and settings of the other stream, over the same data set. Its seed is derived from the first
            stream's seed.
        block: Experiences of one turn, at least 1.
        outputs: Whether both streams have the same output units (``shared``), or the other stream has units of its own
            (``separate``).

    Raises:
        Refused: ``block`` is below 1, shared outputs differ in number, or the task is revealed in one stream and hidden
            in the other.
    """
    from clbench.scenarios import make

    second = make(other, stream.dataset, derive(stream.seed, purpose(stream, "interleave")))
    if block < 1:
        raise Refused(f"interleave: block = {block} makes no turn; give at least 1 experience", "block")
    if outputs not in ("shared", "separate"):
        raise Refused(f"interleave: outputs = {outputs!r} does not exist; choose shared or separate", "outputs")
    if outputs == "shared" and stream.n_outputs != second.n_outputs:
        raise Refused(
            f"interleave: {stream.name!r} has {stream.n_outputs} output units and {second.name!r} {second.n_outputs}, "
            "which cannot be shared; choose settings with equal numbers, or outputs = 'separate'",
            "outputs",
        )
    if stream.task_labels != second.task_labels:
        raise Refused(
            f"interleave: {stream.name!r} {'reveals' if stream.task_labels else 'hides'} the task and {second.name!r} "
            "does not do so; give both the same task_labels",
            "other",
        )
    if second.dataset is not stream.dataset:
        raise Refused("interleave: the other stream changes the data (label_noise); let the noise follow interleave")
    shift = 0 if outputs == "shared" else stream.n_outputs
    tables = _label_maps(stream, second, shift)
    plain = tables is None and stream.transform is None and second.transform is None
    views = 0 if plain else _n_views(stream)
    turns = _Turns(stream, second, _positions(len(stream), len(second), block), views, shift)
    return replace(
        stream,
        tasks=(*stream.tasks, *map(turns.task, second.tasks)),
        length=len(turns.positions),
        build=turns.experience,
        n_outputs=shift + second.n_outputs,
        transform=_either(stream.transform, second.transform, views),
        label_map=None if tables is None else np.concatenate(tables),
        views_at=None if stream.views_at is None and second.views_at is None else turns.views_at,
        description=noted(
            stream, "interleave", {"other": second.description, "block": block, "outputs": outputs, "views": views}
        ),
    )


def _positions(first: int, second: int, block: int) -> Index:
    """Return which stream has its turn, 0 or 1, and which of its experiences comes next, (first + second, 2)."""
    which = np.repeat([0, 1], [first, second])
    place = np.concatenate([np.arange(first), np.arange(second)])
    order = np.lexsort((place, which, place // block))
    return np.stack([which[order], place[order]], axis=1)


def _n_views(stream: Stream) -> int:
    """Return the number of views of a stream; if nothing states it, it is taken from the experiences."""
    if stream.label_map is not None:
        return len(stream.label_map)
    if stream.transform is None:
        return 1
    return 1 + max(int(np.max(part.view)) for parts in (stream.tasks, stream) for part in parts)


def _label_maps(first: Stream, second: Stream, shift: int) -> tuple[Index, Index] | None:
    """Return the label maps (V, C) of both streams, with the second one's units shifted; ``None`` if all are the
    identity."""
    if first.label_map is None and second.label_map is None and not shift:
        return None

    def table(stream: Stream, up: int) -> Index:
        identity = np.arange(stream.dataset.n_classes, dtype=np.int64)
        own = np.tile(identity, (_n_views(stream), 1)) if stream.label_map is None else stream.label_map
        return np.where(own < 0, own, own + up)

    return table(first, 0), table(second, shift)


@dataclass(frozen=True, eq=False)
class _Turns:
    """Combine experiences, tasks and views of two streams."""

    first: Stream
    second: Stream
    positions: Index  # (E, 2)
    views: int
    shift: int

    def experience(self, i: int) -> Experience:
        which, place = self.positions[i].tolist()
        if which == 0:
            return replace(self.first.build(place), id=i)
        experience = self.second.build(place)
        return replace(
            experience,
            id=i,
            task=experience.task + len(self.first.tasks),
            view=experience.view + self.views,
            classes=self._counted_on(experience.classes),
        )

    def task(self, task: Task) -> Task:
        """Return a task of the second stream with its number in the combined stream."""
        number = task.id + len(self.first.tasks)
        return replace(task, id=number, view=task.view + self.views, classes=self._counted_on(task.classes))

    def views_at(self, i: int) -> Index:
        """Return the views of all tasks while experience i runs; a waiting stream keeps its latest views."""
        which = self.positions[: i + 1, 0]
        latest = [int((which == stream).sum()) - 1 for stream in (0, 1)]
        views = self.first.task_views(latest[0]), self.second.task_views(latest[1]) + self.views
        return np.concatenate(views)

    def _counted_on(self, classes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(c + self.shift for c in classes)


def _either(first: Transform | None, second: Transform | None, views: int) -> Transform | None:
    return None if first is None and second is None else Either(first, second, views)


@dataclass(frozen=True, eq=False)
class Either:
    """Apply one transform to views below ``views``, and another one to the other views, counted from 0.

    Args:
        first, second: The transforms; ``None`` for the identity.
        views: Number of views of the first transform.
    """

    first: Transform | None
    second: Transform | None
    views: int

    def describe(self) -> dict[str, Any]:
        """Return both descriptions, and the first view of the second transform."""
        parts = [None if part is None else part.describe() for part in (self.first, self.second)]
        return {"kind": "either", "parts": parts, "views": self.views}

    def apply(self, x: Tensor, view: Tensor, rows: Tensor) -> Tensor:
        """Transform samples ``x`` (B, ...) by their view (B,)."""
        import torch

        out = torch.empty_like(x)
        for part, mine, start in ((self.first, view < self.views, 0), (self.second, view >= self.views, self.views)):
            where = mine.nonzero().squeeze(1)  # (b,)
            if len(where):
                some = x[where]
                out[where] = some if part is None else part.apply(some, view[where] - start, rows[where])
        return out
