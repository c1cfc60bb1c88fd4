"""Consolidation strengths of single weights: from free through held back to frozen, renewed at every boundary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from clbench.core.parameters import Count, Fraction, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import ADDS, Part
from clbench.strategies.quadratic import add_penalty_gradient, drawn_rows

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner


@dataclass(kw_only=True)
class Consolidation(Part):
    """Give each weight a strength b, which holds it near its value at the last boundary; the strongest are frozen.

    The penalty is (strength / 2) · Σ b (w - w*)², with the weights w* of the last boundary. At the end of an experience
    b <- decay · b + F, with its Fisher information F. The share ``frozen`` of the weights with the largest b then has
    an infinite strength: no step moves them until the next boundary.

    Args:
        strength: λ, at least 0; as in ``ewc(mode=online)``, to which it is equal where ``frozen`` is 0.
        frozen: The share of all weights that is frozen after each experience, from 0 to 1.
        decay: The factor of earlier strengths at a boundary, from 0 to 1. 1 sums them; below 1 old tasks are forgotten
            gradually, and weights that mattered to them alone become free again.
        rows: Samples of the experience for the estimate of F; ``None`` takes all.

    The source describes a policy over the strengths of weights, for tasks in different states, and shows it on toy
    examples. It has no constants and no rule for the size of b, so that Fisher information, shares and factors are
    ours. Growing and pruning of the network are left out.

    Source: Ling and Bohn 2021, arXiv 2105.00157 (consolidation by a strength per weight).

    Expected:
        class: near naive, that is near 1 / experiences: zero accuracy on old classes is expected.
        task: above naive if naive forgets, once strength or share are suitable.
        domain: somewhat above naive at best; a large share lowers learning accuracy.
        recurring: as naive with small values; with large ones it keeps what it learned first; ``decay`` forgets.
    """

    random_stream: ClassVar[str] = "Consolidation"
    families: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})

    # no published values: the source has no constants
    strength: Annotated[NonNegative, Search(0.1, 1e5, log=True)]
    frozen: Annotated[Fraction, Search(0.05, 0.95)]
    decay: Annotated[Fraction, Search(0.5, 1)] = 1.0
    rows: Count | None = None

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})
    gradient_order: ClassVar[int] = ADDS
    identity: ClassVar[Mapping[str, Any] | None] = {"strength": 0, "frozen": 0}

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if "importance" not in self.state:
            return
        count = round(self.frozen * learner.w.numel())
        if not count:
            learner.freeze(f"consolidation/{self.twin}", None)
            return
        held = learner.w.detach().new_zeros(learner.w.shape).bool()  # (P,)
        held[self.state["importance"].topk(count, sorted=False).indices] = True
        learner.freeze(f"consolidation/{self.twin}", held)

    def gradient(self, learner: Learner, batch: Batch) -> None:
        if "importance" in self.state:
            add_penalty_gradient(learner, self.state["importance"], self.state["anchor"], self.strength)

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        index = drawn_rows(experience, self.rows, generator=self.generator)
        new = learner.side_work.fisher(index, estimator="exact", generator=self.generator)
        if "importance" in self.state:
            new = self.decay * self.state["importance"] + new
        self.state["importance"], self.state["anchor"] = new, learner.w.detach().clone()
