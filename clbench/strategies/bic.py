"""BiC: weighted distillation of exemplars, then a linear correction of the newest classes on held-out samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from clbench.core.errors import Refused
from clbench.core.parameters import NonNegative
from clbench.core.search_space import Search
from clbench.strategies.head_rows import HEAD_IS_GENERATED, head_bias, head_matrix, write
from clbench.strategies.part import MOVES, Part
from clbench.strategies.weighted_kd import Temperature, WeightedKD

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.learner import ExperienceView, Learner

ITERATIONS = 200
"""Most iterations of L-BFGS in the second stage; a few are enough for two numbers."""

HeldOut = Annotated[float, Field(gt=0, lt=1), Search(0.05, 0.5)]
Ridge = Annotated[NonNegative, Search(0.001, 10, log=True)]
Form = Literal["paper", "code"]


@dataclass(kw_only=True)
class BiasCorrection(Part):
    """Hold out a few samples of every class, and fit factor and constant for the logits of new classes on them.

    With M samples in the replay buffer and s classes seen, running ones included, max(1, held_out · M / s) samples of
    each class are held out of an experience: of new classes from its samples, of all others from their exemplars. They
    are not learned in this experience. At its end α and β minimise, on these samples,

        mean cross-entropy of the corrected logits + ridge / 2 · ((α - 1)² + β²),

    where the logit o of a new class becomes α · o + β. Then α and β are written into the head: its weights of new
    classes are multiplied by α, and their bias b becomes α · b + β. New are classes that were not seen before; without
    them or without old classes nothing is held out or corrected, as in the first experience.

    Other exemplars are merged into the experience. Exemplars are chosen by herding at its end, from all of its samples,
    as :class:`clbench.strategies.icarl.Exemplars` chooses them. Frozen weights stay.

    Args:
        held_out: Share of a class's exemplars, in (0, 1).
        ridge: Factor of the term that keeps α near 1 and β near 0, at least 0. Without it there is no minimum if the
            held-out samples can be separated.
        form: ``paper``, cross-entropy; ``code``, the cross-entropy of PyCIL, which has a softmax of the softmax.

    Source: Wu et al. 2019, arXiv 1905.13260, section 3.3.

    Raises:
        Refused: The replay buffer has fewer than two samples for each class; or the head has no bias.
    """

    random_stream: ClassVar[str] = "BiasCorrection"

    # published: 0.1 (Wu et al. 2019)
    held_out: HeldOut = 0.1
    # published: 0.1, on β alone (Wu et al. 2019, authors' code)
    ridge: Ridge = 0.1
    form: Form = "paper"

    needs: ClassVar[frozenset[str]] = frozenset({"memory", "boundaries"})
    memory_policy: ClassVar[str | None] = "herding"
    end_order: ClassVar[int] = MOVES
    owns: ClassVar[frozenset[str]] = frozenset({"order"})
    conflicts: ClassVar[dict[str, str]] = {
        "Hypernet": HEAD_IS_GENERATED,
        "Binary": "the first adds a number to scores by the head's bias, and the second has layers without biases",
    }

    def attach(self, learner: Learner) -> None:
        self.__dict__["_places"] = head_matrix(learner, self.title), head_bias(learner, self.title)

    # ------------------------------------------------------------------ samples

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        """Draw the samples that are held out."""
        import torch

        from clbench.training.batch import Y

        seen = learner.classes.seen
        known: Tensor = self.state.get("known", seen.new_zeros(learner.n_outputs))
        running = torch.zeros_like(known).index_fill_(0, experience.index[Y], True)
        new = running & ~known  # (C,) bool
        self.state.update(known=known | running, new=new, count=0)
        # of a fixed size for every stream
        self.state["held"] = experience.index.new_zeros((5, learner.memory.size))
        if not (bool(new.any()) and bool(known.any())):
            return
        held = self._drawn(learner, experience, new, int((known | running).sum()))
        self.state["held"][:, : held.shape[1]] = held
        self.state["count"] = held.shape[1]

    def _drawn(self, learner: Learner, experience: ExperienceView, new: Tensor, s: int) -> Tensor:
        """Return the samples (5, n) that are held out, about as many of each of s classes."""
        import torch

        from clbench.training.batch import Y

        each = learner.memory.size // s
        if each < 2:
            raise Refused(
                f"memory.size {learner.memory.size} leaves less than two exemplars for each of the {s} classes seen so "
                f"far; {self.title} holds one of them out and learns the others, so it needs {2 * s} samples or more"
            )
        n, found = max(1, int(self.held_out * each)), []
        exemplars, fresh = learner.memory.all().index, set(new.nonzero()[:, 0].tolist())
        for c in self.state["known"].nonzero()[:, 0].tolist():
            own = experience.index if c in fresh else exemplars
            places = np.flatnonzero((own[Y] == c).cpu().numpy())
            most = max(0, min(n, len(places) - 1))  # one at least is learned
            chosen = places[self.generator.sample(len(places), most)] if most else places[:0]
            found.append(own[:, torch.from_numpy(chosen).to(own.device)])
        return torch.cat(found, dim=1)

    @property
    def _held(self) -> Tensor:
        """Return the held-out samples (5, n) of the running experience."""
        held: Tensor = self.state["held"][:, : self.state["count"]]
        return held

    def _learned(self, index: Tensor) -> Tensor:
        """Return which of some samples (5, n) are not held out, (n,) bool."""
        from clbench.training.batch import ROW, VIEW

        held = self._held[[ROW, VIEW]]  # (2, k)
        which: Tensor = ~(index[[ROW, VIEW], :, None] == held[:, None, :]).all(0).any(1)
        return which

    def merge(self, learner: Learner, experience: ExperienceView) -> Tensor | None:
        exemplars = learner.memory.all().index
        kept = exemplars[:, self._learned(exemplars)]
        return kept if kept.shape[1] else None

    def order(self, learner: Learner, experience: ExperienceView, epoch: int, order: Tensor) -> Tensor:
        if not self.state["count"]:
            return order
        own = len(experience)
        learned = self._learned(experience.index)  # merged samples were chosen before
        return order[(order >= own) | learned[order.clamp(max=own - 1)]]

    # ------------------------------------------------------------------ the second stage

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        """Correct the head, then choose exemplars."""
        from clbench.strategies.icarl import choose_exemplars

        if self.state["count"]:
            self._correct(learner)
            self.state["count"] = 0
        choose_exemplars(learner, experience)

    def _correct(self, learner: Learner) -> None:
        from clbench.training.batch import Y

        new, held = self.state["new"], self._held
        logits = learner.side_work.features(held).logits
        factor, constant = corrected(logits, held[Y], new, learner.classes.mask(held).masked, self.ridge, self.form)
        self.state["factor"], self.state["constant"] = factor, constant
        matrix, bias = self.__dict__["_places"]
        w = learner.w.data[matrix].view(len(new), -1)  # (C, H)
        b = learner.w.data[bias]  # (C,)
        write(learner, matrix, w.where(~new[:, None], factor.to(w.dtype) * w))
        write(learner, bias, b.where(~new, factor.to(b.dtype) * b + constant.to(b.dtype)))


def corrected(
    logits: Tensor, y: Tensor, new: Tensor, masked: Callable[[Tensor], Tensor], ridge: float, form: Form
) -> tuple[Tensor, Tensor]:
    """Return α and β for the logits of new classes, float64 scalars.

    Args:
        logits: (n, C) of held-out samples.
        y: (n,) their labels.
        new: (C,) bool, the classes that are corrected.
        masked: From scores (n, C) to scores with -inf if a class does not compete.
        ridge: As in :class:`BiasCorrection`.
        form: As in :class:`BiasCorrection`.
    """
    import torch
    from torch.nn.functional import cross_entropy

    logits = logits.detach().double()
    start = torch.tensor([1.0, 0.0], dtype=torch.float64, device=logits.device)
    numbers = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([numbers], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = masked(logits.where(~new, numbers[0] * logits + numbers[1]))
        if form == "code":
            scores = masked(scores.softmax(1))
        value = cross_entropy(scores, y) + ridge / 2 * (numbers - start).square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    factor, constant = numbers.detach()
    return factor, constant


def bic(
    *,
    # published: 2 (Wu et al. 2019)
    temperature: Temperature = 2.0,
    held_out: HeldOut = 0.1,
    ridge: Ridge = 0.1,
    form: Form = "paper",
) -> list[Part]:
    """Learn exemplars with each experience, distil old classes, then correct the logits of new classes on held-out
    samples.

    The loss is (1 - λ) · cross-entropy + λ · distillation, λ the share of old classes; see
    :class:`clbench.strategies.weighted_kd.WeightedKD`. The correction of a logit o of a new class is α · o + β; see
    :class:`BiasCorrection` for it and for the other arguments. The corrected model answers, and teaches in the next
    experience.

    Args:
        temperature: T of the distillation, above 0.

    Source: Wu et al. 2019, arXiv 1905.13260, "Large scale incremental learning". Deviations: the correction is written
    into the head and not kept as a layer, and its two numbers are the minimum of the loss and not the end of 200 epochs
    of SGD.

    Expected:
        class: above replay of the same exemplars with cross-entropy alone, most with small replay buffers and many
            passes; a few held-out samples are enough for two numbers.
        task: near replay; what is corrected hardly matters, since classes of different experiences never compete.
        domain: replay of herded samples; no class is new after the first experience, so nothing is corrected.
        recurring: classes that are absent are distilled; only classes seen for the first time are corrected.
    """
    return [WeightedKD(temperature=temperature), BiasCorrection(held_out=held_out, ridge=ridge, form=form)]
