"""ER-ACE: replay with an asymmetric cross-entropy, so that new rows never push old classes down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from clbench.parameters import Count
from clbench.strategies.part import Part
from clbench.strategies.replay import Replay, Start

if TYPE_CHECKING:
    from clbench.batch import Batch
    from clbench.learner import Learner


@dataclass(kw_only=True)
class Asymmetric(Part):
    """On the stream's rows only the classes of this very batch compete; rehearsed rows are left alone.

    Args:
        unseen: Whether classes without a row so far may ``compete`` too on the stream's rows, as in the authors' code,
            or are ``hidden``, as in the paper's equation. Only matters where the benchmark's ``output`` is ``all``.
    """

    unseen: Literal["hidden", "compete"] = "hidden"

    narrows: ClassVar[bool] = True

    def batch(self, learner: Learner, batch: Batch) -> None:
        present = learner.seen.new_zeros(learner.n_outputs)  # (C,) bool
        present[batch.y[batch.stream.span]] = True
        if self.unseen == "compete":
            present |= ~learner.seen
        batch.narrow(batch.stream, present, learner.n_outputs)


def er_ace(
    *, rows: Count | None = None, start: Start = "earlier", unseen: Literal["hidden", "compete"] = "hidden"
) -> list[Part]:
    """ER-ACE (Caccia et al. 2022, arXiv 2104.05025): the sum of the two means, the stream's over its own classes.

    Settings as in :class:`clbench.strategies.replay.Replay` and :class:`Asymmetric`. The linear head of the original is
    kept; the cosine head and the switched-off first task of one popular re-implementation are not part of the method.
    """
    return [Replay(rows=rows, loss_form="sum", start=start), Asymmetric(unseen=unseen)]
