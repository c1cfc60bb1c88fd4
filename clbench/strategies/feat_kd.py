"""Feature distillation: on new samples, keep the features near those of the last boundary's model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from clbench.core.parameters import NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output


@dataclass(kw_only=True)
class FeatKD(Part):
    """Add strength · mean over the stream's samples of ‖φ(x) - φ_previous(x)‖² to the loss, from the second experience
    on.

    φ are the features that the last layer reads. φ_previous are those of the model at the last boundary, in evaluation
    mode.

    Args:
        strength: At least 0; 5 in the authors' code, for ``over_features=mean``.
        over_features: ``mean`` of the squared differences over the H features, as in the authors' code, or their
            ``sum``, as in the formula: H times as large.

    Source: Smith et al. 2023, arXiv 2203.17269, section 4 (FeatKD); authors' code for strength and mean.

    Expected:
        class: near naive alone: the features stay, but the last layer still forgets; it is meant for combinations such
            as ``pred_kd + feat_kd``.
        task: above naive: heads of earlier tasks find their features again.
        domain: above naive if old features suit the new samples; otherwise it slows learning.
        recurring: near naive alone, as the last layer is free; the teacher is the model of the last boundary.
    """

    random_stream: ClassVar[str] = "FeatKD"

    # published: 5 (authors' code of Smith et al. 2023)
    strength: Annotated[NonNegative, Search(0.01, 100, log=True)] = 5.0
    over_features: Literal["mean", "sum"] = "mean"

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})
    identity: ClassVar[Mapping[str, Any] | None] = {"strength": 0}

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        if "previous" not in self.state or self.strength == 0 or not len(batch.stream):
            return None
        span = batch.stream.span
        task = batch.revealed_task(span)
        taught = learner.side_work.forward(batch.x[span], task=task, **self.state["previous"]).features  # (B, H)
        distance = (output.features[span] - taught).square()
        return self.strength * (distance.mean() if self.over_features == "mean" else distance.sum(1).mean())

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        self.state["previous"] = learner.side_work.copy()
