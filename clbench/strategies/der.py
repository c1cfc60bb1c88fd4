"""Dark experience replay: on rehearsed rows, stay near the logits that the model had when it first kept them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from clbench.core.parameters import Count, NonNegative
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import Learner, Output


@dataclass(kw_only=True)
class DarkExperience(Part):
    """DER++: CE(stream) + alpha · mean (h(x') - z')² + beta · CE(x'', y''), with two independent draws from memory.

    z' are the logits kept with a row: those of the step in which it was met, before the update, on the augmented view
    of that step; x' is augmented anew. The squares are averaged over rows and over all C output units, seen or not.

    Args:
        alpha: Factor of the distance between logits, at least 0; no published default holds across benchmarks.
        beta: Factor of the cross-entropy on the second draw, at least 0; likewise.
        rows: Rows of each draw; ``None`` draws as many as the batch has.

    Memory is drawn from as soon as it holds a row, also within the first experience. Rows are offered on every pass, as
    in the authors' code, so that logits of later passes enter too.

    Source: Buzzega et al. 2020, arXiv 2004.07211. The paper has the squared norm, its code the mean over units, as
    here, and published values of alpha are meant so. Logits of classes still to come are matched too, as there
    (Boschini et al. 2022, X-DER, arXiv 2201.00766, mend that): they are all that keeps new classes off old rows in DER,
    which therefore wants ``stream.output: all``, where all units compete from the start, as in the paper.

    Expected:
        class: above er with small memories, by more with many epochs and output all; level when memory is large.
        task: near er with the summed loss; slightly below it where memory is large.
        domain: near er in few epochs; published results are above it, logits carrying more than labels.
        recurring: above er at equal memory; old logits hold back what a class gains on its return.
    """

    random_stream: ClassVar[str] = "DarkExperience"
    families: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})

    alpha: NonNegative
    beta: NonNegative
    rows: Count | None = None

    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    owns: ClassVar[frozenset[str]] = frozenset({"stream coefficient"})
    memory_admit: ClassVar[str | None] = "every_pass"
    protocol: ClassVar[Mapping[str, Any]] = {"stream.output": "all"}
    identity: ClassVar[Mapping[str, Any] | None] = {"alpha": 0, "beta": 0}

    def __post_init__(self) -> None:
        if not self.alpha:  # nothing is matched: replay, whose units may compete as they like
            self.__dict__["protocol"] = {}

    def batch(self, learner: Learner, batch: Batch) -> None:
        memory, rows = learner.memory, self.rows or batch.size
        if not len(memory) or self.alpha == self.beta == 0:
            return
        batch.stream.coefficient = 1.0
        if self.alpha:
            draw = memory.draw(rows, generator=self.generator)
            batch.keep(self, dark=batch.append(draw.index, coefficient=0.0, side=draw.side))
        if self.beta:
            draw = memory.draw(rows, generator=self.generator)
            batch.append(draw.index, coefficient=self.beta, side=draw.side)

    def store(self, learner: Learner, batch: Batch, output: Output) -> dict[str, Tensor]:
        return {"logits": output.logits[batch.stream.span]} if self.alpha else {}

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        dark = batch.kept(self).get("dark")
        if dark is None:
            return None
        loss: Tensor = self.alpha * (output.logits[dark.span] - dark.side["logits"]).square().mean()
        return loss


def der(*, alpha: NonNegative, rows: Count | None = None) -> list[Part]:
    """DER: CE(stream) + alpha · mean (h(x') - z')², on one draw from memory; :class:`DarkExperience` at beta = 0.

    Args:
        alpha: Factor of the distance between logits, at least 0; no published default holds across benchmarks.
        rows: Rows of the draw; ``None`` draws as many as the batch has.

    Source: Buzzega et al. 2020, arXiv 2004.07211; the authors' code takes the mean over units, and so do we.

    Expected:
        class: near naive in few epochs or with output seen; with output all and many epochs above er.
        task: near er with the summed loss; slightly below it where memory is large.
        domain: near er in few epochs; published results are above it, logits carrying more than labels.
        recurring: old logits hold back what a class gains on its return; derpp suffers less.
    """
    return [DarkExperience(alpha=alpha, beta=0.0, rows=rows)]
