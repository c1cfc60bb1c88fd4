"""The form of the loss as a control: the weights of a batch's sources, and the classes that compete on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from clbench.core.parameters import NonNegative
from clbench.strategies.part import EVERY_FAMILY, Part

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import Learner

Classes = Literal["mask", "all"]


@dataclass(kw_only=True)
class LossForm(Part):
    """Set the weight of each source's mean loss, and let all classes compete where the benchmark's class mask would
    not.

    It gives a baseline the loss form of another method, so that a comparison of the two shows what the method adds
    beside its form. ``er + loss_form(new=1, old=1)`` is ``er(loss=sum)``.

    Args:
        alone: Weight of the stream's mean loss in a batch without rehearsed samples; ``None`` leaves it as it is.
        new: Weight of the stream's mean loss in a batch with rehearsed samples; ``None`` leaves it as it is.
        old: Sum of the weights of the mean losses on rehearsed samples; several draws share it by their number of
            samples. ``None`` leaves it as it is.
        new_classes: Whether the benchmark's class ``mask`` holds on the stream's samples, or ``all`` classes compete.
        old_classes: The same on rehearsed samples.

    Source: ours. Ahn et al. 2021, arXiv 2003.13947, and Caccia et al. 2022, arXiv 2104.05025, show how much the
    competing classes change results by themselves.

    Expected:
        class: with all classes on rehearsed samples above the same strategy without it, if the buffer is small; a
            larger weight of rehearsed samples favours old classes.
        task: with all classes below the same strategy without it, since classes of other tasks compete too.
        domain: competing classes have no effect, since all classes occur in every experience.
        recurring: the more often classes recur, the smaller the effect of competing classes.
    """

    random_stream: ClassVar[str] = "LossForm"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    alone: NonNegative | None = None
    new: NonNegative | None = None
    old: NonNegative | None = None
    new_classes: Classes = "mask"
    old_classes: Classes = "mask"

    masks_classes: ClassVar[bool] = True
    identity: ClassVar[Mapping[str, Any] | None] = {
        "alone": None, "new": None, "old": None, "new_classes": "mask", "old_classes": "mask",
    }  # fmt: skip

    def batch(self, learner: Learner, batch: Batch) -> None:
        stream, rehearsed = batch.stream, [source for source in batch.sources[1:] if len(source)]
        total = sum(map(len, rehearsed))
        weight = self.new if total else self.alone
        if weight is not None:
            stream.coefficient = weight
        if self.old is not None:
            for source in rehearsed:
                source.coefficient = self.old * len(source) / total
        if self.new_classes == "all":
            batch.open_classes(stream, learner.n_outputs)
        if self.old_classes == "all":
            for source in rehearsed:
                batch.open_classes(source, learner.n_outputs)
