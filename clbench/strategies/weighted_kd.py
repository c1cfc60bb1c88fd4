"""Cross-entropy and distillation of old classes, weighted by the share of old classes: the loss of BiC and WA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from clbench.core.search_space import Search
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

LABEL = 1  # row of an index matrix, as in clbench.training.batch, which imports torch

# published: 2 (Wu et al. 2019), 2 (Zhao et al. 2020)
Temperature = Annotated[float, Field(gt=0), Search(1, 10, log=True)]


@dataclass(kw_only=True)
class WeightedKD(Part):
    """Replace the objective by (1 - λ) · cross-entropy + λ · mean over samples of -Σ_c q_c log p_c.

    λ is the number of old classes divided by that of old and running classes. Old are the classes seen up to the last
    boundary that are not in the running experience. q and p are softmaxes of logits / temperature over the old classes:
    q of the model at the last boundary, in evaluation mode, p of the current model. All samples of a batch are
    distilled, rehearsed ones too. There is no factor T². Without old classes it is the cross-entropy.

    Args:
        temperature: T, above 0.

    Source: Wu et al. 2019, arXiv 1905.13260, eqs. 1 to 3; Zhao et al. 2020, arXiv 1911.07053. That running classes are
    not old where classes recur is our choice: with the papers' λ the cross-entropy would vanish there.
    """

    random_stream: ClassVar[str] = "WeightedKD"

    temperature: Temperature = 2.0

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if "known" not in self.state:
            return
        old = self.state["known"].clone()  # (C,) bool
        old[experience.index[LABEL]] = False
        running = int(experience.index[LABEL].unique().numel())
        n = int(old.sum())
        self.state["old"], self.state["share"] = old, n / (n + running)
        self.state["taught"] = self.state.get("taught", False) or n > 0

    def self_checks(self, learner: Learner) -> list[str]:
        if self.state.get("taught"):
            return []
        return ["never distilled anything: no experience leaves out a class that came before"]

    @property
    def _share(self) -> float:
        """Return λ of the running experience."""
        return float(self.state.get("share", 0.0))

    def batch(self, learner: Learner, batch: Batch) -> None:
        if self._share:
            batch.also_trained = self.state["old"]

    def objective(self, learner: Learner, batch: Batch, output: Output) -> Tensor:
        from clbench.strategies.lwf import distillation
        from clbench.training.objective import task_loss

        loss, share = task_loss(output.logits, batch), self._share
        if not share:
            return loss
        previous = learner.side_work.forward(batch.x, task=batch.revealed_task(), **self.state["previous"])
        old = self.state["old"]
        term = distillation(output.logits / self.temperature, previous.logits / self.temperature, old, old)
        return (1 - share) * loss + share * term

    def plasticity(self, learner: Learner, batch: Batch, output: Output) -> Tensor:
        """Return the cross-entropy on the stream's samples, with its weight."""
        from clbench.training.objective import task_loss

        return (1 - self._share) * task_loss(output.logits, batch, only=batch.stream)

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        self.state["previous"] = learner.side_work.copy()
        self.state["known"] = learner.classes.seen.clone()
