"""Cross-entropy over the classes of the running experience: the loss of most methods for pretrained transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clbench.strategies.part import Part

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner


@dataclass(kw_only=True)
class RunningClasses(Part):
    """Let only the classes of the running experience compete on the stream's samples, in training.

    The scores of all other classes are -inf there, so heads of earlier classes receive no gradient. Replayed samples
    keep the benchmark's class mask. Evaluations are unchanged: all classes seen so far compete.
    """

    random_stream: ClassVar[str] = "RunningClasses"

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})
    masks_classes: ClassVar[bool] = True

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        from clbench.training.batch import Y

        running = learner.classes.seen.new_zeros(learner.n_outputs)  # (C,) bool
        self.state["running"] = running.index_fill_(0, experience.index[Y].to(running.device), True)

    def batch(self, learner: Learner, batch: Batch) -> None:
        batch.mask_classes(batch.stream, self.state["running"])
