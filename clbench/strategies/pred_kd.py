"""Prediction distillation: one sigmoid per class, with the last boundary's model as teacher of old classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from clbench.core.parameters import NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

LABEL = 1  # row of an index matrix, as in clbench.training.batch, which imports torch


@dataclass(kw_only=True)
class PredKD(Part):
    """Replace the objective by the mean over samples of Σ_c BCE(σ(f_c(x)), target_c), one term per class.

    The target of an old class is the output σ of the model at the last boundary, in evaluation mode. The target of
    every other class that competes is 1 for the sample's label and 0 otherwise. Old are the classes seen up to the last
    boundary that are not in the running experience.

    Args:
        strength: Factor of the terms of old classes, at least 0; 1 weights all terms equally, as the source does. 0
            removes old classes from the loss.
        over_classes: ``sum``, or the ``mean`` over the classes that have a term.
        scale: Factor of the whole objective, above 0. The code of the rehearsal-free study multiplies by 5.

    Rehearsed samples have the same targets as the stream's, as in iCaRL (Rebuffi et al. 2017), whose loss this is. If
    task labels are revealed, old heads are taught too although they do not compete.

    Source: Smith et al. 2023, arXiv 2203.17269, section 4 (PredKD with BCE); the form is LwF.MC of Rebuffi et al. 2017,
    arXiv 1611.07725, eq. 1. Labels for recurring classes are our addition: no source has them.

    Expected:
        class: above naive without any replay buffer, with a wide spread over seeds, and far from joint training. Much
            of the gain is that classes do not compete: compare ``strength=0``. New classes are learned slowly, even
            more so together with rehearsed samples.
        task: keeps old heads well; comparable with lwf.
        domain: every class is in every experience, so nothing is distilled: this is training with sigmoids, near naive.
        recurring: recurring classes are relearned from labels, all others are distilled.
    """

    random_stream: ClassVar[str] = "PredKD"

    # published: 1, all terms alike (Rebuffi et al. 2017)
    strength: Annotated[NonNegative, Search(0.1, 10, log=True)] = 1.0
    over_classes: Annotated[Literal["sum", "mean"], Search(choices=("sum", "mean"))] = "sum"
    scale: Annotated[float, Field(gt=0)] = 1.0

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if "known" in self.state:
            self.state["old"] = self.state["known"].clone()
            self.state["old"][experience.index[LABEL]] = False
            taught = self.state.get("taught", False) or (self.strength > 0 and bool(self.state["old"].any()))
            self.state["taught"] = taught

    def self_checks(self, learner: Learner) -> list[str]:
        if self.state.get("taught"):
            return []
        why = "its strength is 0" if not self.strength else "no experience leaves out a class that came before"
        return [f"never distilled anything: {why}; the rest is training with a sigmoid per class"]

    def batch(self, learner: Learner, batch: Batch) -> None:
        if self.strength:
            batch.also_trained = self.state.get("old")

    def objective(self, learner: Learner, batch: Batch, output: Output) -> Tensor:
        from clbench.training.objective import over_sources

        taught = None
        if "old" in self.state:
            old = learner.side_work.forward(batch.x, task=batch.revealed_task(), **self.state["previous"])
            taught = old.logits.sigmoid()
        return self.scale * over_sources(self._each(batch, output, taught), batch)

    def plasticity(self, learner: Learner, batch: Batch, output: Output) -> Tensor:
        """Return the terms of labels: classes that are not old, on the stream's samples."""
        from clbench.training.objective import over_sources

        return self.scale * over_sources(self._each(batch, output, None), batch, only=batch.stream)

    def _each(self, batch: Batch, output: Output, taught: Tensor | None) -> Tensor:
        """Return the loss of each sample (B,), with targets ``taught`` (B, C) for old classes, or without their
        terms."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        logits = output.logits  # (B, C)
        targets = logits.new_zeros(logits.shape).scatter_(1, batch.y[:, None], 1.0)
        counted = batch.class_mask.expanded(logits).to(logits.dtype)
        weight, old = counted, self.state.get("old")
        if old is not None:
            targets = targets if taught is None else taught.where(old, targets)
            weight = weight.masked_fill(old, 0.0 if taught is None else self.strength)
            counted = counted.masked_fill(old, 1.0)
        terms = weight * binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return terms.sum(1) if self.over_classes == "sum" else terms.sum(1) / counted.sum(1)

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        self.state["previous"] = learner.side_work.copy()
        self.state["known"] = learner.classes.seen.clone()
