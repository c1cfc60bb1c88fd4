"""Memory aware synapses: stay near old weights, the more so where the output is sensitive to them. Needs no labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from clbench.core.parameters import Count, Fraction, NonNegative
from clbench.strategies.part import ADDS, Part
from clbench.strategies.quadratic import add_penalty_gradient, drawn_rows

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner


@dataclass(kw_only=True)
class MAS(Part):
    """Penalty strength · Σ Ω (w - w*)², without ½, w* being the weights of the last boundary.

    Ω = Σ over experiences of the mean over rows of |∂ ‖f(x)‖² / ∂w|, f(x) being the logits of the classes that compete
    on a row.

    Args:
        strength: λ, at least 0. The authors' code has 1, for a pre-trained AlexNet and learning rates below 0.001; no
            default is set, since at larger rates a run can diverge there.
        decay: ``None`` sums the importances of experiences; α in [0, 1] keeps Ω <- α · Ω + (1 - α) · Ω_new instead
            (one popular re-implementation, with α = 0.5).
        rows: Rows of the experience that Ω is estimated on; ``None`` takes all.

    The absolute value is taken row by row, as in the paper's equation. The authors' code takes it of the sum over a
    batch, where rows cancel, unless its batches hold one row; re-implementations do likewise.

    Source: Aljundi et al. 2018, arXiv 1711.09601, eqs. 2 to 4; authors' code for the sum over tasks.

    Expected:
        class: near naive, that is near 1 / experiences: zero accuracy on old classes is what it does there.
        task: above naive where naive forgets, once the strength fits.
        domain: somewhat above naive at best, and sensitive to the strength.
        recurring: from naive to well above it where the strength fits, below it where the penalty, which grows with
            every experience, no longer lets the model learn.
    """

    random_stream: ClassVar[str] = "MAS"
    families: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})

    strength: NonNegative
    decay: Fraction | None = None
    rows: Count | None = None

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})
    gradient_order: ClassVar[int] = ADDS
    identity: ClassVar[Mapping[str, Any] | None] = {"strength": 0}

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        index = drawn_rows(experience, self.rows, generator=self.generator)
        new = learner.side_work.per_row(index, squared_norm, power="absolute")
        old = self.state.get("importance")
        if old is not None:
            new = old + new if self.decay is None else self.decay * old + (1 - self.decay) * new
        self.state["importance"], self.state["anchor"] = new, learner.w.detach().clone()

    def gradient(self, learner: Learner, batch: Batch) -> None:
        if "importance" in self.state:
            add_penalty_gradient(learner, self.state["importance"], self.state["anchor"], 2 * self.strength)


def squared_norm(logits: Tensor) -> Tensor:
    """‖f(x)‖² of each row, (B, C) to (B,)."""
    return logits.square().sum(1)
