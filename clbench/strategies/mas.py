"""Memory aware synapses: stay near old weights, in proportion to the output's sensitivity to them. It needs no
labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from clbench.core.parameters import Count, Fraction, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import ADDS, Part
from clbench.strategies.quadratic import add_penalty_gradient, drawn_rows

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner


@dataclass(kw_only=True)
class MAS(Part):
    """Add the penalty strength · Σ Ω (w - w*)², without ½, with the weights w* of the last boundary.

    Ω = Σ over experiences of the mean over samples of |∂ ‖f(x)‖² / ∂w|, with the logits f(x) of the classes that
    compete on a sample.

    Args:
        strength: λ, at least 0. The authors' code has 1, for a pre-trained AlexNet and learning rates below 0.001.
            There is no default, since a run can diverge with it at larger rates.
        decay: ``None`` sums the importances of experiences; α in [0, 1] sets Ω <- α · Ω + (1 - α) · Ω_new instead (a
            popular re-implementation has α = 0.5).
        rows: Samples of the experience for the estimate of Ω; ``None`` takes all.

    The absolute value is taken per sample, as in the paper's equation. The authors' code takes it of the sum over a
    batch, in which samples cancel, unless its batches have one sample; re-implementations do the same.

    Source: Aljundi et al. 2018, arXiv 1711.09601, eqs. 2 to 4; authors' code for the sum over tasks.

    Expected:
        class: near naive, that is near 1 / experiences: zero accuracy on old classes is expected.
        task: above naive if naive forgets, once the strength is suitable.
        domain: somewhat above naive at best, and sensitive to the strength.
        recurring: from naive to well above it with a suitable strength; below it if the penalty, which grows with every
            experience, no longer lets the model learn.
    """

    random_stream: ClassVar[str] = "MAS"
    families: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})

    # published: 1 (Aljundi et al. 2018)
    strength: Annotated[NonNegative, Search(1e-3, 1e3, log=True)]
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
    """Return ‖f(x)‖² of each sample, (B, C) to (B,)."""
    return logits.square().sum(1)
