"""Group mask: in the loss, only the classes of this very minibatch compete; predictions are not masked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clbench.strategies.part import Part

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import Learner


@dataclass(kw_only=True)
class GroupMask(Part):
    """Restrict the loss of all rows of a batch to the classes that occur in the batch.

    Rows that other parts append count. The mask follows the minibatch and not the experience; with two classes and
    batches of 64 that is the same, with many classes it is not.

    Source: Lesort et al. 2022, arXiv 2207.04543 (the authors set absent logits to -1e9; here they are left out).

    Expected:
        class: near naive where classes never come back: scores of different experiences were never compared.
        task: no effect where a batch holds all classes of its task.
        domain: no effect where a batch holds all classes, as is usual with few of them.
        recurring: accuracy on classes grows over a long stream, where without the mask the last ones win.
    """

    random_stream: ClassVar[str] = "GroupMask"

    masks_classes: ClassVar[bool] = True

    def batch(self, learner: Learner, batch: Batch) -> None:
        present = learner.classes.seen.new_zeros(learner.n_outputs)  # (C,) bool
        present[batch.y] = True
        for source in batch.sources:
            batch.mask_classes(source, present)
