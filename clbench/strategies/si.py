"""Synaptic intelligence: stay near old weights, in proportion to how much moving them has lowered the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from clbench.core.parameters import NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import CLOSES, EVERY_FAMILY, READS, Part
from clbench.strategies.quadratic import add_penalty_gradient, pieces

if TYPE_CHECKING:
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner


@dataclass(kw_only=True)
class SI(Part):
    """Add the penalty strength · Σ Ω (w - w*)², without ½, with the weights w* of the last boundary.

    Within an experience ω <- ω - g · Δw at every step, with the gradient g of the task alone and the change Δw of the
    step. At its end Ω <- Ω + ω / ((w - w*)² + damping), then ω = 0; w* = w when the next experience begins.

    Args:
        strength: c, at least 0; the authors' values differ by benchmark.
        damping: ξ, above 0; it bounds the importance of weights that hardly moved. The authors' code has 0.001 for
            split MNIST and CIFAR, 0.1 for permuted MNIST.
        negative: ``keep`` leaves an Ω below 0 (the loss rose along the path) unchanged, as in the paper's equations; it
            then pushes away from w*. ``clamp`` sets it to 0 at every boundary, as in the authors' code.

    The gradient is read before penalties of any part are added to it, so that ``si + ewc`` measures the same paths as
    ``si``. Terms that parts add to the loss itself, such as a distillation, count as the task's.

    Source: Zenke et al. 2017, arXiv 1703.04200, eqs. 3 to 5. They reset the optimiser's moments at every boundary
    (``training.optimizer_state: reset``).

    Expected:
        class: near naive, that is near 1 / experiences: zero accuracy on old classes is expected.
        task: above naive if naive forgets, once the strength is suitable.
        domain: somewhat above naive at best, and sensitive to the strength.
        recurring: from naive to well above it with a suitable strength; below it if the penalty, which grows with every
            experience, no longer lets the model learn.
    """

    random_stream: ClassVar[str] = "SI"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    # published: 0.001 to 1e5 as a grid (van de Ven et al. 2022), 0.5 to 1 (Buzzega et al. 2020)
    strength: Annotated[NonNegative, Search(1e-3, 1e3, log=True)]
    # published: 0.001 and 0.1 (Zenke et al. 2017), 0.9 and 1 (Buzzega et al. 2020)
    damping: Annotated[float, Field(gt=0), Search(1e-3, 1, log=True)] = 1e-3
    negative: Literal["keep", "clamp"] = "keep"

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})
    gradient_order: ClassVar[int] = READS
    end_order: ClassVar[int] = CLOSES
    identity: ClassVar[Mapping[str, Any] | None] = {"strength": 0}

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if "path" not in self.state:
            self.state["path"] = learner.w.detach().new_zeros(learner.w.shape)  # ω
        self.state["anchor"] = learner.w.detach().clone()  # w*, after all changes of the weights at the boundary

    def gradient(self, learner: Learner, batch: Batch) -> None:
        batch.keep(self, g=learner.g.clone(), w=learner.w.detach().clone())
        if "importance" in self.state:
            add_penalty_gradient(learner, self.state["importance"], self.state["anchor"], 2 * self.strength)

    def after_step(self, learner: Learner, batch: Batch) -> None:
        before = batch.kept(self)
        for path, g, w, old in pieces(self.state["path"], before["g"], learner.w.detach(), before["w"]):
            path.addcmul_(g, w - old, value=-1.0)

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        w, state = learner.w.detach(), self.state
        gained = state["path"] / ((w - state["anchor"]).square() + self.damping)
        total = state["importance"] + gained if "importance" in state else gained
        state["importance"] = total.clamp(min=0) if self.negative == "clamp" else total
        state["path"].zero_()
