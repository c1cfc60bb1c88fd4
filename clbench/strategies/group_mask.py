"""Group mask: only the classes of the minibatch compete in the loss; predictions are not masked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clbench.strategies.part import Part

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import Learner


@dataclass(kw_only=True)
class GroupMask(Part):
    """Restrict the class mask in the loss to the classes that occur in the batch.

    Samples that other parts append count. The mask depends on the minibatch, not on the experience; with two classes
    and batches of 64 that is equal, with many classes it is not.

    Source: Lesort et al. 2022, arXiv 2207.04543 (the authors set absent logits to -1e9; here they are left out).

    Expected:
        class: near naive if classes never recur: scores of different experiences were never compared.
        task: no effect if a batch holds all classes of its task.
        domain: no effect if a batch holds all classes, as is usual with few classes.
        recurring: accuracy grows over a long stream; without the mask the last classes dominate.
    """

    random_stream: ClassVar[str] = "GroupMask"

    masks_classes: ClassVar[bool] = True

    def batch(self, learner: Learner, batch: Batch) -> None:
        present = learner.classes.seen.new_zeros(learner.n_outputs)  # (C,) bool
        present.index_fill_(0, batch.y, True)
        for source in batch.sources:
            batch.mask_classes(source, present)
