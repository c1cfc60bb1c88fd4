"""L2: stay near the weights of the last boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clbench.parameters import NonNegative
from clbench.strategies.part import ADDS, Part
from clbench.strategies.quadratic import add_penalty_gradient

if TYPE_CHECKING:
    from clbench.batch import Batch
    from clbench.learner import Learner, Shown


@dataclass(kw_only=True)
class L2(Part):
    """Penalty strength · Σ (w - w_previous)², from the end of the first experience on.

    Args:
        strength: Factor of the sum, without ½; no published default. Must be at least 0.
        head: Whether the last layer is held too. The authors' code holds the encoder only (0.05 there), and so do we.

    Source: Smith et al. 2023, arXiv 2203.17269 (the case of unit importance); authors' code for the extent.
    """

    strength: NonNegative
    head: bool = False

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})
    gradient_order: ClassVar[int] = ADDS

    def end_experience(self, learner: Learner, experience: Shown) -> None:
        self.state["anchor"] = learner.w.detach().clone()
        if not self.head:
            self.state["held"] = (~learner.head_mask).to(learner.w.dtype)

    def gradient(self, learner: Learner, batch: Batch) -> None:
        if "anchor" in self.state:
            add_penalty_gradient(learner, self.state.get("held"), self.state["anchor"], 2 * self.strength)
