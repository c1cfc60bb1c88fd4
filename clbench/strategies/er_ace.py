"""ER-ACE: replay with an asymmetric cross-entropy, so that new rows never push old classes down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from clbench.core.parameters import Count
from clbench.strategies.part import Part
from clbench.strategies.replay import Replay, Start

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import Learner


@dataclass(kw_only=True)
class Asymmetric(Part):
    """On the stream's rows only the classes of this very batch compete; rehearsed rows are left alone.

    Args:
        unseen: Whether classes without a row so far may ``compete`` too on the stream's rows, as in the authors' code,
            or are ``hidden``, as in the paper's equation. Only matters where the benchmark's ``output`` is ``all``.
    """

    random_stream: ClassVar[str] = "Asymmetric"

    unseen: Literal["hidden", "compete"] = "hidden"

    masks_classes: ClassVar[bool] = True

    def batch(self, learner: Learner, batch: Batch) -> None:
        present = learner.classes.seen.new_zeros(learner.n_outputs)  # (C,) bool
        present[batch.y[batch.stream.span]] = True
        if self.unseen == "compete":
            present |= ~learner.classes.seen
        batch.mask_classes(batch.stream, present)


def er_ace(
    *, rows: Count | None = None, start: Start = "any", unseen: Literal["hidden", "compete"] = "hidden"
) -> list[Part]:
    """ER-ACE: the sum of two means, cross-entropy of the stream's rows over the classes of this very batch, and of
    rehearsed rows over all classes. Settings as in :class:`clbench.strategies.replay.Replay` and :class:`Asymmetric`.

    Source: Caccia et al. 2022, arXiv 2104.05025. The head is the benchmark's; the released code puts a cosine head
    (scale 10, no bias) under this method alone. It rehearses from the second step on, as here; and it
    lets classes with an index from the largest one seen on compete, for which ``unseen: compete`` stands.

    Expected:
        class: above er at the same loss (``er(loss=sum, start=any)``) on images with a small memory, level with it or a
            little below on MNIST; above er with one mean by more, for the longer steps alone. Low on the newest
            classes at first.
        task: as er; the heads of other tasks never compete anyway.
        domain: as er with the summed loss, since every class occurs in every experience.
        recurring: what lead it has over er at the same loss shrinks as classes come back more often.
    """
    return [Replay(rows=rows, loss_form="sum", start=start), Asymmetric(unseen=unseen)]
