"""Dark experience replay: on rehearsed samples, stay near the logits that were stored with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import Learner, Output

# published: 0.1 to 1 (Buzzega et al. 2020)
Alpha = Annotated[NonNegative, Search(0.01, 10, log=True)]


@dataclass(kw_only=True)
class DarkExperience(Part):
    """Minimise DER++: CE(stream) + alpha · mean (h(x') - z')² + beta · CE(x'', y''), with two independent draws.

    z' are the logits stored with a sample: those of the step in which it was met, before the update, on that step's
    augmented view. x' is augmented again. The squares are averaged over samples and over all C output units, seen or
    not.

    Args:
        alpha: Factor of the distance between logits, at least 0; no published default is valid across benchmarks.
        beta: Factor of the cross-entropy on the second draw, at least 0; no published default is valid across
            benchmarks.
        rows: Samples of each draw; ``None`` draws as many as the batch has.

    Samples are drawn as soon as the replay buffer has one, also within the first experience. Samples are offered in
    every pass, as in the authors' code, so that logits of later passes are stored too.

    Source: Buzzega et al. 2020, arXiv 2004.07211. The paper has the squared norm, its code the mean over units, as
    here; published values of alpha refer to the mean. Logits of future classes are matched too, as there (Boschini
    et al. 2022, X-DER, arXiv 2201.00766, correct that). In DER, only these logits keep new classes away from old
    samples. DER therefore needs ``stream.output: all``, where all units compete from the start, as in the paper.

    Expected:
        class: above er with small replay buffers, by more with many epochs and output all; equal with large ones.
        task: near er with the summed loss; slightly below it with a large replay buffer.
        domain: near er with few epochs; published results are above it, since logits carry more information than
            labels.
        recurring: above er with equal replay buffers; old logits reduce what a class gains when it recurs.
    """

    random_stream: ClassVar[str] = "DarkExperience"
    families: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})

    alpha: Alpha
    # published: 0.5 and 1 (Buzzega et al. 2020)
    beta: Annotated[NonNegative, Search(0.1, 10, log=True)]
    rows: Count | None = None

    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    owns: ClassVar[frozenset[str]] = frozenset({"stream coefficient"})
    memory_admit: ClassVar[str | None] = "every_pass"
    protocol: ClassVar[Mapping[str, Any]] = {"stream.output": "all"}
    identity: ClassVar[Mapping[str, Any] | None] = {"alpha": 0, "beta": 0}

    def __post_init__(self) -> None:
        if not self.alpha:  # nothing is matched: this is replay, whose class mask is free
            self.__dict__["protocol"] = {}

    def batch(self, learner: Learner, batch: Batch) -> None:
        memory, rows = learner.memory, self.rows or batch.size
        if not len(memory) or self.alpha == self.beta == 0:
            return
        batch.stream.coefficient = 1.0
        draws = memory.draw_each([rows] * (bool(self.alpha) + bool(self.beta)), generator=self.generator)
        if self.alpha:
            batch.keep(self, dark=batch.append(draws[0].index, coefficient=0.0, side=draws[0].side))
        if self.beta:
            batch.append(draws[-1].index, coefficient=self.beta, side=draws[-1].side)

    def store(self, learner: Learner, batch: Batch, output: Output) -> dict[str, Tensor]:
        kept = self.alpha or "logits" in learner.memory.side  # the samples kept have them, so all have to
        return {"logits": output.logits[batch.stream.span]} if kept else {}

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        dark = batch.kept(self).get("dark")
        if dark is None:
            return None
        loss: Tensor = self.alpha * (output.logits[dark.span] - dark.side["logits"]).square().mean()
        return loss


def der(*, alpha: Alpha, rows: Count | None = None) -> list[Part]:
    """Minimise DER: CE(stream) + alpha · mean (h(x') - z')², on one draw; :class:`DarkExperience` with beta = 0.

    Args:
        alpha: Factor of the distance between logits, at least 0; no published default is valid across benchmarks.
        rows: Samples of the draw; ``None`` draws as many as the batch has.

    Source: Buzzega et al. 2020, arXiv 2004.07211; the authors' code takes the mean over units, as here.

    Expected:
        class: near naive with few epochs or with output seen; with output all and many epochs above er.
        task: near er with the summed loss; slightly below it with a large replay buffer.
        domain: near er with few epochs; published results are above it, since logits carry more information than
            labels.
        recurring: old logits reduce what a class gains when it recurs; derpp suffers less.
    """
    return [DarkExperience(alpha=alpha, beta=0.0, rows=rows)]
