"""ER-ACE: replay with an asymmetric cross-entropy, so that new samples do not lower the scores of old classes."""

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
    """Restrict the class mask of the stream's samples to the classes of the batch; rehearsed samples keep theirs.

    Args:
        unseen: Whether classes without a sample so far ``compete`` too on the stream's samples, as in the authors'
            code, or are ``hidden``, as in the paper's equation. It matters only if the benchmark's ``output`` is
            ``all``.
    """

    random_stream: ClassVar[str] = "Asymmetric"

    unseen: Literal["hidden", "compete"] = "hidden"

    masks_classes: ClassVar[bool] = True

    def batch(self, learner: Learner, batch: Batch) -> None:
        present = learner.classes.seen.new_zeros(learner.n_outputs)  # (C,) bool
        present.index_fill_(0, batch.y[batch.stream.span], True)
        if self.unseen == "compete":
            present |= ~learner.classes.seen
        batch.mask_classes(batch.stream, present)


def er_ace(
    *, rows: Count | None = None, start: Start = "any", unseen: Literal["hidden", "compete"] = "hidden"
) -> list[Part]:
    """Replay with ER-ACE: the sum of two mean cross-entropies with different class masks.

    On the stream's samples the classes of the batch compete, on rehearsed samples all classes. Settings are as in
    :class:`clbench.strategies.replay.Replay` and :class:`Asymmetric`.

    Source: Caccia et al. 2022, arXiv 2104.05025. The head is the benchmark's; the released code uses a cosine head
    (scale 10, no bias) for this method alone. It rehearses from the second step on, as here. It lets classes with an
    index above the largest seen one compete, which ``unseen: compete`` does here.

    Expected:
        class: above er with the same loss (``er(loss=sum, start=any)``) on images with a small replay buffer, equal or
            slightly below on MNIST; above er with one mean by more, only because of larger steps. Low on the newest
            classes at first.
        task: as er; heads of other tasks never compete anyway.
        domain: as er with the summed loss, since every class occurs in every experience.
        recurring: the more often classes recur, the smaller its lead over er with the same loss.
    """
    return [Replay(rows=rows, loss_form="sum", start=start), Asymmetric(unseen=unseen)]
