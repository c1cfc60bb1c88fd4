"""CUBER: gradient projection that lets a task change weights that a related earlier task agrees to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from clbench.core.parameters import NonNegative
from clbench.core.search_space import Search
from clbench.strategies.scaled_projection import ALIGNED, NEAR, ScaledProjection

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner

CHUNK = 512
"""Number of samples of which a gradient is computed at once."""


@dataclass(kw_only=True)
class CUBER(ScaledProjection):
    """Train as trgp, and also change the weights of a related earlier task if its gradient agrees.

    A related task j (see trgp) is in regime 3 in a layer if <g_j, G> > agree |g_j| |G|, where g_j is the gradient with
    which j ended and G that of the new task before training; else in regime 2. Tasks that are not related are in regime
    1. The gradient is projected away from the directions of tasks in regimes 1 and 2, but not from those in regime 3
    alone. The loss gets strength Σ_j |(w - w_0) B_j| over the tasks of regime 3, with w_0 the weights before the task.
    In every step j is tested with the gradient of the step; once <g_j, G> < agree |g_j| |G|, it is in regime 2 for the
    rest of the task.

    Args:
        strength: Factor of the penalty, at least 0.
        agree: Cosine of the two gradients from which a task is in regime 3.
        threshold, growth, rows, related, top, form: As in :class:`clbench.strategies.trgp.TRGP`.

    g_j is computed on all samples of the task, in one more pass. The penalty is added to the gradient in closed form.
    We know no published strength.

    Source: Lin et al. 2022b, arXiv 2211.00789, algorithm 1; the authors' code is not public, so ``form=code`` is what
    that of trgp does.

    Expected:
        class: skipped, because task labels are hidden.
        task: like trgp, with less forgetting, or with gains on earlier tasks that are like the new one.
        domain: like trgp; earlier tasks gain if the same inputs return with the same labels.
        recurring: like trgp; a task that returns may not train the directions of any task.
    """

    random_stream: ClassVar[str] = "CUBER"

    strength: Annotated[NonNegative, Search(0.01, 1, log=True)]
    # published: 0 (Lin et al. 2022b)
    agree: Annotated[float, Field(ge=-1, le=1), Search(0, 0.5)] = 0.0

    def regime(self, layer: str, earlier: int, gradient: Tensor) -> int:
        return ALIGNED if self._agreement(layer, earlier, gradient) > 0 else NEAR

    def correct(self, learner: Learner, batch: Batch) -> None:
        task = self.state["task"]
        for layer, regimes in self.state["regimes"][task].items():
            aligned = [j for j, regime in regimes.items() if regime == ALIGNED]
            if not aligned:
                continue
            if "start" not in self.state:
                self.state["start"] = learner.w.detach().clone()
            place = learner.slices[f"{layer}.weight"]
            g = learner.g[place].view(-1, len(self.state["directions"][layer]))  # (O, I)
            opposed = [j for j in aligned if self._agreement(layer, j, g) < 0]
            for j in opposed:
                regimes[j] = NEAR
            if opposed:
                self.state["fixed"][layer] = self._fixed(layer)
            relation = self.state["scales"][task][layer]
            bases = self._relation(task, layer)[0].split([len(q) for q in relation["q"]], dim=1)
            moved = (learner.w.detach()[place] - self.state["start"][place]).view_as(g)
            for j, basis in zip(relation["tasks"], bases, strict=True):
                if regimes[j] == ALIGNED:
                    change = moved @ basis  # (O, r)
                    g.addmm_(change / change.norm().clamp(min=1e-12), basis.T, alpha=self.strength)

    def leave_task(self, learner: Learner, experience: ExperienceView) -> None:
        self.state.pop("start", None)
        total = learner.w.new_zeros(learner.w.shape)
        for rows in experience.index.split(CHUNK, dim=1):
            total.add_(learner.side_work.gradient(learner.batch(rows)), alpha=rows.shape[1] / len(experience))
        self.state.setdefault("gradients", {})[self.state["task"]] = {
            layer: total[learner.slices[f"{layer}.weight"]].view(-1, len(basis)).clone()
            for layer, basis in self.state["directions"].items()
        }

    def _agreement(self, layer: str, earlier: int, gradient: Tensor) -> float:
        """Return <g, G> - agree |g| |G| for a gradient G (O, I) and the gradient g with which an earlier task ended."""
        ended = self.state["gradients"][earlier][layer]
        product = float(ended.flatten() @ gradient.flatten())
        return product if self.agree == 0 else product - self.agree * float(ended.norm() * gradient.norm())
