"""L2: stay near the weights of the last boundary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from clbench.core.parameters import NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import ADDS, EVERY_FAMILY, Part
from clbench.strategies.quadratic import add_penalty_gradient

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner


@dataclass(kw_only=True)
class L2(Part):
    """Add the penalty strength · Σ (w - w_previous)², from the end of the first experience on.

    Args:
        strength: Factor of the sum, without ½, at least 0; no published default is valid.
        head: Whether to include the last layer. The authors' code includes the encoder only (0.05 there), as here by
            default.
        from_start: Whether to keep the first experience near the initial weights, as the study does with a pre-trained
            model.

    Source: Smith et al. 2023, arXiv 2203.17269 (the case of unit importance); authors' code for the layers.

    Expected:
        class: near naive, that is near 1 / experiences, from scratch; with ``pred_kd`` it trades accuracy on new
            classes for less forgetting.
        task: between naive and ewc: all weights have one importance, so that protecting old tasks costs new ones.
        domain: somewhat above naive at best, and sensitive to the strength.
        recurring: at or below naive: the anchor is only the last boundary, and what it prevents is relearned anyway.
    """

    random_stream: ClassVar[str] = "L2"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    # published: 0.05 (authors' code of Smith et al. 2023)
    strength: Annotated[NonNegative, Search(1e-4, 100, log=True)]
    head: bool = False
    from_start: bool = False

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})
    gradient_order: ClassVar[int] = ADDS
    identity: ClassVar[Mapping[str, Any] | None] = {"strength": 0}

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if self.from_start and "anchor" not in self.state:
            self._anchor(learner)

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        self._anchor(learner)

    def _anchor(self, learner: Learner) -> None:
        self.state["anchor"] = learner.w.detach().clone()
        if not self.head:
            self.state["held"] = (~learner.head_mask).to(learner.w.dtype)

    def gradient(self, learner: Learner, batch: Batch) -> None:
        if "anchor" in self.state:
            add_penalty_gradient(learner, self.state.get("held"), self.state["anchor"], 2 * self.strength)
