"""Maximally interfered retrieval: rehearse the samples whose loss the next step would raise most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from clbench.core.errors import Refused
from clbench.core.parameters import Count
from clbench.strategies.part import EVERY_FAMILY, Part
from clbench.strategies.replay import Start, rehearse

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import Learner, Output
    from clbench.training.replay_buffer import Draw

RATIO = 5
"""Candidates per rehearsed sample: 50 for 10 in the paper."""


@dataclass(kw_only=True)
class InterferedRetrieval(Part):
    """Rehearse the candidates with the largest l(w') - l(w), where w' = w - lr · g is the step without rehearsal.

    Args:
        rows: Samples rehearsed per step; ``None`` takes as many as the batch has.
        candidates: Samples drawn from the replay buffer as candidates, at least ``rows``; ``None`` takes five times as
            many.
        loss_form: ``concat`` takes one mean over stream and rehearsed samples; ``sum`` adds the two means.
        pool: Candidates from ``all`` of the replay buffer, or only from ``earlier`` experiences, if boundaries are
            visible.
        start: Start as soon as the replay buffer holds a sample of an ``earlier`` experience, or ``any`` sample.

    The virtual step is plain SGD with the current learning rate, for any optimiser. l is the objective, whichever part
    sets it. Losses of candidates are computed without augmentation, in training mode, with equal dropout for both.
    """

    random_stream: ClassVar[str] = "InterferedRetrieval"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    rows: Count | None = None
    candidates: Count | None = None
    loss_form: Literal["concat", "sum"] = "concat"
    pool: Literal["all", "earlier"] = "all"
    start: Start = "earlier"

    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    owns: ClassVar[frozenset[str]] = frozenset({"stream coefficient"})

    def __post_init__(self) -> None:
        if self.rows and self.candidates and self.candidates < self.rows:
            raise Refused(
                f"mir: {self.rows} samples cannot be chosen among {self.candidates} candidates; give at least as many "
                "candidates as samples, or leave them out for five times as many"
            )

    def batch(self, learner: Learner, batch: Batch) -> None:
        memory, before = learner.memory, learner.experience
        if not (len(memory) if self.start == "any" and self.pool == "all" else memory.has_earlier(before)):
            return
        rows = self.rows or batch.size
        wanted = max(rows, self.candidates or RATIO * rows)
        draw = memory.draw(wanted, before=before if self.pool == "earlier" else None, generator=self.generator)
        rise = interference(learner, batch.index[:, : batch.size], draw)
        worst = rise.argsort(descending=True, stable=True)[:rows]
        chosen = worst.sort().values  # in the order drawn: with as many candidates as samples this is replay
        rehearse(batch, memory.take(draw.slots[chosen]), self.loss_form)


def interference(learner: Learner, index: Tensor, draw: Draw) -> Tensor:
    """Return how much a step on samples of an index matrix (5, B) would raise the objective of each sample of a draw,
    (n,)."""
    batch = learner.batch(index)
    learner.freeze_idle_heads(batch)
    g, held = learner.side_work.gradient(batch), learner.frozen
    stepped = learner.w.detach() - learner.lr * (g if held is None else g.masked_fill_(held, 0.0))
    before, after = (
        each_objective(learner, draw.index, learner.side_work.features(draw.index, w=w, training=True))
        for w in (None, stepped)
    )
    return after - before


def each_objective(learner: Learner, index: Tensor, output: Output) -> Tensor:
    """Return the objective of each sample of an index matrix (5, n) for the model's output without augmentation, (n,).

    Raises:
        Refused: A part replaces the objective by one that is no sum over the sources of a batch.
    """
    import torch

    from clbench.training.batch import Source

    rows = learner.batch(index)
    if not learner.replaces_objective:
        return learner.family.loss(output.logits, rows.target, rows.class_mask)
    # as a separate source, each sample has a coefficient, whose derivative is the sample's objective
    weight = torch.ones(len(rows), device=index.device, requires_grad=True)
    rows.sources = [Source(i, i + 1, each) for i, each in enumerate(weight)]
    rows.augment(lambda plain, _: plain)
    with learner.side_work.undisturbed(training=True), torch.enable_grad():
        total = learner.objective(rows, output)
    if not total.requires_grad:
        raise Refused(
            "mir needs the loss of every sample, which the objective of this strategy does not give; join mir with a "
            "part whose objective weighs each source by its coefficient"
        )
    (each,) = torch.autograd.grad(total, weight)
    return each


def mir(
    *,
    rows: Count | None = None,
    candidates: Count | None = None,
    loss: Literal["concat", "sum"] = "concat",
    pool: Literal["all", "earlier"] = "all",
    start: Start = "earlier",
) -> list[Part]:
    """Replay with ER-MIR, which rehearses the candidates whose loss the next step would raise most.

    Settings are as in :class:`InterferedRetrieval`; ``loss`` is its ``loss_form``.

    Source: Aljundi et al. 2019, arXiv 1908.04742, algorithm 1 with the criterion s_MI-1. The authors' code sums the two
    means and draws from earlier tasks only: ``mir(loss=sum, pool=earlier)``.

    Expected:
        class: at or slightly above er with the same loss, most with small batches; at several times the cost.
        task: as er with small batches; within a head there is little interference.
        domain: as er with small batches; far below it with large ones, since the chosen samples suffer together.
        recurring: as er; samples of present classes are seldom chosen.
    """
    return [InterferedRetrieval(rows=rows, candidates=candidates, loss_form=loss, pool=pool, start=start)]
