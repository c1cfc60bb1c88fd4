"""The combinator ``first``: the beginning of a stream, on which a learner can choose settings before the stream
ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from clbench.core.errors import Refused
from clbench.core.types import Experience, Index, Stream
from clbench.scenarios.combinators import noted


@dataclass(frozen=True, eq=False)
class _Renumbered:
    """Build experience i of the base stream with the new numbers of its tasks."""

    base: Callable[[int], Experience]
    numbers: Index  # (T,) new number of each task, -1 if it is left out

    def __call__(self, i: int) -> Experience:
        experience = self.base(i)
        task = experience.task
        return replace(experience, task=int(self.numbers[task]) if isinstance(task, int) else self.numbers[task])


@dataclass(frozen=True, eq=False)
class _ViewsOfSome:
    """Return the views (T,) of the tasks that are kept while experience i runs."""

    base: Callable[[int], Index]
    kept: Index

    def __call__(self, i: int) -> Index:
        return self.base(i)[self.kept]


def first(stream: Stream, *, experiences: int) -> Stream:
    """End a stream after its first experiences; tasks without a sample in them are left out of evaluations.

    The samples, their order and the outputs of the model stay as they are. So a setting that is chosen on this stream
    uses nothing that a learner would see later.

    Args:
        stream: Any stream.
        experiences: K, the number of experiences to keep, from 1 to the length of the stream.

    Raises:
        Refused: The stream has fewer experiences, or the number is below 1.

    Source: Chaudhry et al. 2019, arXiv 1812.00420, choose settings on the first three experiences and report results
    on others.
    """
    if not 1 <= experiences <= len(stream):
        raise Refused(
            f"first: experiences = {experiences} is not possible with a stream of {len(stream)}; give 1 to "
            f"{len(stream)}",
            "experiences",
        )
    description = noted(stream, "first", {"experiences": experiences})
    kept = np.array(sorted({t for i in range(experiences) for t in stream.build(i).tasks}), dtype=np.int64)
    if len(kept) == len(stream.tasks):
        return replace(stream, length=experiences, description=description)
    numbers = np.full(len(stream.tasks), -1, dtype=np.int64)
    numbers[kept] = np.arange(len(kept))
    return replace(
        stream,
        length=experiences,
        build=_Renumbered(stream.build, numbers),
        tasks=tuple(replace(stream.tasks[t], id=new) for new, t in enumerate(kept)),
        views_at=None if stream.views_at is None else _ViewsOfSome(stream.views_at, kept),
        description=description,
    )
