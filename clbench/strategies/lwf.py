"""Learning without forgetting: on new samples, keep the predictions of the last boundary's model for old classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from clbench.core.parameters import NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

TASK, LABEL = 2, 1  # rows of an index matrix, as in clbench.training.batch, which imports torch


@dataclass(kw_only=True)
class LwF(Part):
    """Add strength · Σ over old heads of mean over the stream's samples of -Σ_c q_c log p_c to the loss.

    q and p are softmaxes of logits / temperature over an old head's classes: q of the model at the last boundary, in
    evaluation mode, p of the current model. If task labels are revealed, every earlier task has a head. Otherwise all
    classes seen up to the last boundary form one head.

    Args:
        strength: λ_o, at least 0; 1 in the paper.
        temperature: T, above 0; 2 in the paper.
        softmax: p over the ``old`` classes (the paper's heads), or over all ``seen`` ones, with target 0 for new
            classes (van de Ven et al. 2022). Both are equal if task labels are revealed.
        squared: Whether to multiply by T², which keeps the gradient's size when T changes (Hinton et al. 2015); the
            paper does not.
        compete: Which classes compete in the cross-entropy of the stream's samples if task labels are hidden: all that
            the benchmark allows (``seen``), as in published class-incremental results, or only those of the running
            ``experience``, the closest to the paper's new head.

    Left out: the paper first trains the new head alone until it converges. Rehearsed samples are not distilled.

    Source: Li and Hoiem 2016, arXiv 1606.09282, eqs. 2 to 4; several old tasks are summed, as there.

    Expected:
        class: near naive with ``compete=seen``, since one softmax over old and new classes lowers the old ones anyway;
            this is expected. Above naive with ``compete=experience``, with a wide spread over seeds.
        task: above naive if tasks are similar; otherwise it gains little or harms.
        domain: above naive if new samples resemble the old ones; the term slows learning of what is new.
        recurring: near naive to slightly above it with ``compete=seen``; recurring classes are taught by labels and by
            the old model.
    """

    random_stream: ClassVar[str] = "LwF"

    # published: 1 (Li and Hoiem 2016), 1 to 3 (Buzzega et al. 2020), 10 (De Lange et al. 2021)
    strength: Annotated[NonNegative, Search(0.1, 100, log=True)] = 1.0
    # published: 2, found on held-out samples (Li and Hoiem 2016); Hinton et al. 2015 use 1 to 20
    temperature: Annotated[float, Field(gt=0), Search(1, 10, log=True)] = 2.0
    softmax: Literal["old", "seen"] = "old"
    squared: bool = False
    compete: Literal["seen", "experience"] = "seen"

    needs: ClassVar[frozenset[str]] = frozenset({"boundaries"})
    masks_classes: ClassVar[bool] = True
    identity: ClassVar[Mapping[str, Any] | None] = {"strength": 0, "compete": "seen"}

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        self.state["classes"] = learner.classes.seen.new_zeros(learner.n_outputs)  # (C,) bool
        self.state["classes"][experience.index[LABEL]] = True

    def batch(self, learner: Learner, batch: Batch) -> None:
        if "previous" in self.state and self.strength:
            batch.also_trained = self.state["heads"].any(0)
        if self.compete == "experience":
            batch.mask_classes(batch.stream, self.state["classes"])

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        if "previous" not in self.state or self.strength == 0 or not len(batch.stream):
            return None
        span = batch.stream.span
        task = batch.revealed_task(span)
        old = learner.side_work.forward(batch.x[span], task=task, **self.state["previous"])
        taught = old.logits / self.temperature  # (B, C)
        logits = output.logits[span] / self.temperature
        rivals = self._rivals(learner, batch)
        factor = self.strength * (self.temperature**2 if self.squared else 1.0)
        terms = [distillation(logits, taught, head, head if rivals is None else rivals) for head in self.state["heads"]]
        return factor * sum(terms[1:], terms[0])

    def _rivals(self, learner: Learner, batch: Batch) -> Tensor | None:
        """Return the classes (C,) bool of the current model's softmax; ``None`` for those of the head alone."""
        mask = learner.classes.mask(batch.index[:, batch.stream.span])
        if self.softmax == "old" or mask.per_row:
            return None
        return mask.competes if mask.competes is not None else learner.classes.seen.new_ones(learner.n_outputs)

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        self.state["previous"] = learner.side_work.copy()
        self.state["heads"] = self._heads(learner, experience)

    def _heads(self, learner: Learner, experience: ExperienceView) -> Tensor:
        """Return the classes (G, C) bool of every head so far."""
        import torch

        tasks = experience.index[TASK].unique()
        mask = learner.classes.mask(tasks.expand(len(experience.index), len(tasks)))
        if not mask.per_row or mask.competes is None:  # no task labels: one head of all classes so far
            return learner.classes.seen[None].clone()
        heads = list(self.state.get("heads", ()))
        for head in mask.competes:
            if not any(torch.equal(head, known) for known in heads):
                heads.append(head)
        return torch.stack(heads)


def distillation(logits: Tensor, taught: Tensor, head: Tensor, rivals: Tensor) -> Tensor:
    """Return the mean over samples of -Σ_c q_c log p_c, a scalar.

    Args:
        logits: (B, C) logits of the student, divided by the temperature.
        taught: (B, C) logits of the teacher, divided by the temperature.
        head: (C,) bool, the classes of q.
        rivals: (C,) bool, the classes of p, which include all of ``head``.
    """
    from clbench.families.class_mask import ClassMask

    mask = ClassMask(head)
    q = mask.masked(taught).softmax(1)  # (B, C)
    log_p = mask.masked(ClassMask(rivals).masked(logits).log_softmax(1), 0.0)
    return -(q * log_p).sum(1).mean()
