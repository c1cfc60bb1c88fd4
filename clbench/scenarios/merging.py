"""Merged streams for upper bounds: all data at once, or all data so far; and streams of some experiences only.
Evaluation tasks stay the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from clbench.core.types import Experience, Index, Stream


def merged(stream: Stream) -> Stream:
    """Merge the whole stream into one experience; it holds a sample as often as the stream does.

    If the distribution drifts, tasks are evaluated as they are at the end. Samples keep their original labels, so that
    training on the merged stream is no upper bound there.
    """
    last = stream.task_views(len(stream) - 1)
    return replace(
        stream,
        length=1,
        build=lambda _: _union(0, list(stream)),
        description=_note(stream, "merged"),
        views_at=None if stream.views_at is None else lambda _: last,
    )


def accumulated(stream: Stream) -> Stream:
    """Return a stream whose experience i holds the samples of experiences 0 to i."""
    return replace(stream, build=lambda i: _union(i, stream[: i + 1]), description=_note(stream, "accumulated"))


def only(stream: Stream, places: list[int]) -> Stream:
    """Return a stream of some of the experiences of another stream."""
    return replace(stream, length=len(places), build=lambda number: stream.build(places[number]))


def _note(stream: Stream, sees: str) -> dict[str, Any]:
    return {**stream.description, "sees": sees}


def _union(number: int, experiences: list[Experience]) -> Experience:
    return Experience(
        id=number,
        rows=np.concatenate([e.rows for e in experiences]),
        task=_column(experiences, "task"),
        view=_column(experiences, "view"),
        classes=tuple(sorted({c for e in experiences for c in e.classes})),
        boundary=all(e.boundary for e in experiences),
    )


def _column(experiences: list[Experience], name: str) -> Index:
    return np.concatenate([np.broadcast_to(np.asarray(getattr(e, name), dtype=np.int64), len(e)) for e in experiences])
