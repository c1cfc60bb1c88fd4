"""Elastic weight consolidation: stay near old weights, in proportion to the Fisher information."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from clbench.core.parameters import Count, Fraction, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import ADDS, Part
from clbench.strategies.quadratic import add_penalty_gradient, drawn_rows

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner


@dataclass(kw_only=True)
class EWC(Part):
    """Add the penalty (strength / 2) · Σ_t Σ F_t (w - w_t)², with the ½ of the original paper.

    Args:
        strength: λ, at least 0; no published default is valid across estimators and benchmarks.
        mode: ``separate`` keeps one quadratic per experience (Kirkpatrick et al. 2017); ``online`` keeps one anchor,
            F <- gamma · F + F_new and the penalty (strength / 2) · gamma · F (Schwarz et al. 2018).
        gamma: Decay of old importance if ``mode`` is ``online``, in [0, 1].
        fisher: Estimator, see ``clbench.training.fisher``. Estimators differ by orders of magnitude, so a strength has
            a meaning only together with its estimator.
        rows: Samples of the experience for the estimate of the Fisher information; ``None`` takes all.

    The sum of separate quadratics is stored as one: importance F = Σ F_t and anchor m = Σ F_t w_t / F have the same
    gradient F (w - m), in the memory of two vectors. Schwarz et al. also normalise each F_new; that is left out, so
    that a strength means the same in both modes.

    Source: Kirkpatrick et al. 2017, arXiv 1612.00796, eq. 3; Schwarz et al. 2018, arXiv 1805.06370, section 4.2.

    Expected:
        class: near naive, that is near 1 / experiences: zero accuracy on old classes is expected.
        task: above naive if naive forgets, once the strength suits the estimator.
        domain: somewhat above naive at best, and sensitive to the strength.
        recurring: as naive if tasks recur often; over many experiences penalties accumulate, so that a strength that
            suits few ends far below naive or diverges. ``mode=online`` with ``gamma`` below 1 forgets.
    """

    random_stream: ClassVar[str] = "EWC"
    families: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})

    # published: 0.1 to 1000 (De Lange et al. 2023), 0.7 to 90 (Buzzega et al. 2020); values to 1e10 belong to Adam
    strength: Annotated[NonNegative, Search(0.1, 1e5, log=True)]
    mode: Literal["separate", "online"] = "separate"
    gamma: Annotated[Fraction, Search(0.5, 1, when=("mode", "online"))] = 1.0
    fisher: Literal["exact", "sampled", "empirical", "batch"] = "exact"
    rows: Count | None = None

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})
    gradient_order: ClassVar[int] = ADDS
    identity: ClassVar[Mapping[str, Any] | None] = {"strength": 0}

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        mixed = self.fisher == "batch"  # batches of samples sorted by class would hold one class each
        index = drawn_rows(experience, self.rows, generator=self.generator, mixed=mixed)
        new = learner.side_work.fisher(index, estimator=self.fisher, generator=self.generator)
        w, state = learner.w.detach(), self.state
        if "importance" not in state:
            state["importance"], state["anchor"] = new, w.clone()
        elif self.mode == "online":
            state["importance"], state["anchor"] = self.gamma * state["importance"] + new, w.clone()
        else:
            total = state["importance"] + new
            moved = (new / total.clamp(min=1e-38)) * (w - state["anchor"])
            state["importance"], state["anchor"] = total, state["anchor"] + moved

    def gradient(self, learner: Learner, batch: Batch) -> None:
        if "importance" in self.state:
            factor = self.strength * (self.gamma if self.mode == "online" else 1.0)
            add_penalty_gradient(learner, self.state["importance"], self.state["anchor"], factor)
