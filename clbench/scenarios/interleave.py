"""Interleave: two streams over one data set take turns; all tasks of both are evaluated."""

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
    """``block`` experiences of the stream, ``block`` of the other one, and so on; the longer one's rest at the end.

    Tasks of the other stream are counted on from those of the first. What competes (``output``) is as in the first.

    Args:
        stream: The one that begins.
        other: ``scenario`` and settings of the other one, over the same data set; its seed derives from this one's.
        block: Experiences of a turn, at least 1.
        outputs: Both streams have the same output units (``shared``), or the other one's are counted on.

    Raises:
        Refused: No whole turn, shared outputs of different number, or a task revealed in one stream and hidden in the
            other.
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
    """(first + second, 2): which stream's turn it is, 0 or 1, and which of its experiences comes."""
    which = np.repeat([0, 1], [first, second])
    place = np.concatenate([np.arange(first), np.arange(second)])
    order = np.lexsort((place, which, place // block))
    return np.stack([which[order], place[order]], axis=1)


def _n_views(stream: Stream) -> int:
    """How many views a stream has; where nothing tells, its experiences do."""
    if stream.label_map is not None:
        return len(stream.label_map)
    if stream.transform is None:
        return 1
    return 1 + max(int(np.max(part.view)) for parts in (stream.tasks, stream) for part in parts)


def _label_maps(first: Stream, second: Stream, shift: int) -> tuple[Index, Index] | None:
    """(V, C) of both streams, those of the second counted on; ``None`` where every label is its own output unit."""
    if first.label_map is None and second.label_map is None and not shift:
        return None

    def table(stream: Stream, up: int) -> Index:
        identity = np.arange(stream.dataset.n_classes, dtype=np.int64)
        own = np.tile(identity, (_n_views(stream), 1)) if stream.label_map is None else stream.label_map
        return np.where(own < 0, own, own + up)

    return table(first, 0), table(second, shift)


@dataclass(frozen=True, eq=False)
class _Turns:
    """Experiences, tasks and views of two streams as those of one."""

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
        """A task of the second stream among those of both."""
        number = task.id + len(self.first.tasks)
        return replace(task, id=number, view=task.view + self.views, classes=self._counted_on(task.classes))

    def views_at(self, i: int) -> Index:
        """Views of all tasks while experience i runs; a stream that waits stays at its latest one."""
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
    """Views below ``views`` are presented by one transform, the others, counted from 0, by another one.

    Args:
        first, second: ``None`` for the identity.
        views: How many views the first one has.
    """

    first: Transform | None
    second: Transform | None
    views: int

    def describe(self) -> dict[str, Any]:
        """Both descriptions and where the second one's views begin."""
        parts = [None if part is None else part.describe() for part in (self.first, self.second)]
        return {"kind": "either", "parts": parts, "views": self.views}

    def apply(self, x: Tensor, view: Tensor, rows: Tensor) -> Tensor:
        """Transform rows ``x`` (B, ...) by their view (B,)."""
        import torch

        out = torch.empty_like(x)
        for part, mine, start in ((self.first, view < self.views, 0), (self.second, view >= self.views, self.views)):
            where = mine.nonzero().squeeze(1)  # (b,)
            if len(where):
                some = x[where]
                out[where] = some if part is None else part.apply(some, view[where] - start, rows[where])
        return out
