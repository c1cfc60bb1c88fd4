"""Maximally interfered retrieval: rehearse the rows whose loss the step to come would raise most."""

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
    from clbench.training.memory import Draw

RATIO = 5
"""Candidates per rehearsed row: 50 for 10 in the paper."""


@dataclass(kw_only=True)
class InterferedRetrieval(Part):
    """Of some candidates drawn from memory, rehearse those with the largest l(w') - l(w), where w' = w - lr · g is the
    step that would be taken without rehearsal.

    Args:
        rows: Rows rehearsed per step; ``None`` takes as many as the batch has.
        candidates: Rows drawn to choose from, at least ``rows``; ``None`` takes five times as many.
        loss_form: ``concat`` takes one mean over stream and rehearsed rows; ``sum`` adds the two means.
        pool: Candidates from ``all`` of memory, or only from ``earlier`` experiences, where boundaries are visible.
        start: Draw as soon as memory holds a row of an ``earlier`` experience, or as soon as it holds ``any``.

    The virtual step is plain SGD at the present learning rate, whatever the optimiser. l is the objective, whoever sets
    it. Losses of candidates are taken un-augmented, in training mode, with one dropout for both.
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
                f"mir: {self.rows} rows cannot be chosen among {self.candidates} candidates; give at least as many "
                "candidates as rows, or leave them out for five times as many"
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
        chosen = worst.sort().values  # in the order drawn: with as many candidates as rows this is replay
        rehearse(batch, memory.take(draw.slots[chosen]), self.loss_form)


def interference(learner: Learner, index: Tensor, draw: Draw) -> Tensor:
    """How much a step on rows of an index matrix (5, B) would raise the objective of each row of a draw, (n,)."""
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
    """The objective of each row of an index matrix (5, n) at the model's output on it, un-augmented, (n,).

    Raises:
        Refused: A part replaces the objective by one that is no sum over the sources of a batch.
    """
    import torch

    from clbench.training.batch import Source

    rows = learner.batch(index)
    if not learner.replaces_objective:
        return learner.family.loss(output.logits, rows.target, rows.class_mask)
    # as a source of its own, each row enters with a coefficient, whose derivative is the row's objective
    weight = torch.ones(len(rows), device=index.device, requires_grad=True)
    rows.sources = [Source(i, i + 1, each) for i, each in enumerate(weight)]
    rows.augment(lambda plain, _: plain)
    with learner.side_work.undisturbed(training=True), torch.enable_grad():
        total = learner.objective(rows, output)
    if not total.requires_grad:
        raise Refused(
            "mir asks what every single row costs, which the objective of this strategy does not tell; join mir with a "
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
    """ER-MIR: replay that chooses, of some candidates, the rows whose loss the step to come would raise most. Settings
    as in :class:`InterferedRetrieval`, ``loss`` being its ``loss_form``.

    Source: Aljundi et al. 2019, arXiv 1908.04742, algorithm 1 with the criterion s_MI-1. The authors' code sums the two
    means and draws from earlier tasks only: ``mir(loss=sum, pool=earlier)``.

    Expected:
        class: at or a little above er with the same loss, most with small batches; at several times the cost.
        task: as er with small batches; within a head there is little to be interfered with.
        domain: as er with small batches; with large ones far below it, since the rows chosen suffer together.
        recurring: as er; rows of classes that are present now are seldom chosen.
    """
    return [InterferedRetrieval(rows=rows, candidates=candidates, loss_form=loss, pool=pool, start=start)]
