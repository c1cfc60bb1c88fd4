"""ER-AML: replay with an asymmetric metric loss, which compares new samples only with classes of their own batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from clbench.core.parameters import Count
from clbench.core.search_space import Search
from clbench.core.uploads import sent
from clbench.strategies.part import Part
from clbench.strategies.replay import Start

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.core.rng import Generator
    from clbench.training.batch import Batch
    from clbench.training.learner import Learner, Output

Temperature = Annotated[float, Field(gt=0)]


@dataclass(kw_only=True)
class AsymmetricMetric(Part):
    """Learn the stream's samples by a supervised contrastive loss on features, rehearsed samples by cross-entropy.

    Each sample of the stream is an anchor. One positive (another sample of its class) and one negative (a sample of
    another class *of this batch*) are drawn for it from replay buffer and batch together. With unit features z, all
    samples A drawn for the batch, and P(i) those in A with the class of anchor i, the loss is

        mean over i of -(T / T_base) · mean over p in P(i) of log [exp(z_i·z_p / T) / Σ_{a in A} exp(z_i·z_a / T)]

    plus the mean cross-entropy of a draw from the replay buffer over all classes that compete. Anchors without a
    positive or a negative are left out. Before the first draw, the stream's samples are learned by cross-entropy.

    Args:
        rows: Samples drawn from the replay buffer; ``None`` draws as many as the batch has.
        temperature: T, above 0.
        base_temperature: T_base, above 0; it only scales the loss.
        start: Start as soon as the replay buffer holds ``any`` sample, as in the authors' code without task labels, or
            a sample of an ``earlier`` experience.

    The last layer learns from the replay buffer alone, so samples must be admitted while they are learned. With
    ``memory.admit: end`` the newest classes are not predicted before the next experience begins.

    Source: Caccia et al. 2022, arXiv 2104.05025, and the authors' code (temperature 0.2 and base 0.07 there). The head
    is the benchmark's; theirs is a cosine head (scale 10, no bias).

    Expected:
        class: near er_ace and near er with the same loss (``er(loss=sum, start=any)``), above er with one mean; a class
            alone in its batch is learned only from the replay buffer.
        task: near er with the summed loss, although heads learn only from the replay buffer.
        domain: at or above er; positives from the replay buffer attract samples of a new domain to the old ones.
        recurring: the more often classes recur, the smaller its lead over er.
    """

    random_stream: ClassVar[str] = "AsymmetricMetric"

    rows: Count | None = None
    # published: 0.1 to 0.2 (Caccia et al. 2022), 0.07 as base
    temperature: Annotated[Temperature, Search(0.05, 0.5, log=True)] = 0.2
    base_temperature: Temperature = 0.07
    start: Start = "any"

    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    owns: ClassVar[frozenset[str]] = frozenset({"stream coefficient"})
    protocol: ClassVar[Mapping[str, Any]] = {"memory.admit": ("first_pass", "every_pass")}

    def batch(self, learner: Learner, batch: Batch) -> None:
        import torch

        memory, stream = learner.memory, batch.stream
        if not (len(memory) if self.start == "any" else memory.has_earlier(learner.experience)):
            return
        own = batch.index[:, stream.span]  # (5, n)
        pool = torch.cat([memory.all().index, own], dim=1)  # (5, M + n), the batch after the replay buffer
        anchors, partners = draw_partners(own[1], pool[1], self.generator)
        stream.coefficient = 0.0
        batch.keep(self, anchors=anchors, pairs=batch.append(pool.index_select(1, partners), coefficient=0.0))
        draw = memory.draw(self.rows or batch.size, generator=self.generator)
        batch.append(draw.index, coefficient=1.0, side=draw.side)

    def objective(self, learner: Learner, batch: Batch, output: Output) -> Tensor:
        from clbench.training.objective import task_loss

        return task_loss(output.logits, batch) + self._metric(batch, output)

    def plasticity(self, learner: Learner, batch: Batch, output: Output) -> Tensor:
        """Return the metric loss of the stream's samples, with gradients through their partners; cross-entropy before
        the first draw."""
        from clbench.training.objective import task_loss

        return task_loss(output.logits, batch, only=batch.stream) + self._metric(batch, output)

    def _metric(self, batch: Batch, output: Output) -> Tensor | float:
        """Return the metric loss with its factor, a scalar; 0 without an anchor."""
        kept = batch.kept(self)
        if not kept or not len(kept["anchors"]):
            return 0.0
        anchors, pairs, features = kept["anchors"], kept["pairs"], output.features
        metric = contrastive_loss(
            features[anchors], batch.y[anchors], features[pairs.span], batch.y[pairs.span], self.temperature
        )
        return self.temperature / self.base_temperature * metric


def draw_partners(y: Tensor, pool: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw the anchors (k,) of a batch, and their positives followed by their negatives from a pool (2k,).

    Args:
        y: (n,) labels of the batch.
        pool: (m,) labels of the pool; its last n samples are the batch's. No sample is its own positive.
        generator: Generator of the draws.
    """
    import torch

    n, m = len(y), len(pool)
    same = y[:, None] == pool  # (n, m)
    negative = ~same & torch.isin(pool, y)
    itself = torch.arange(m - n, m, device=y.device)
    positive = same.scatter(1, itself[:, None], value=False)
    chance = sent(generator.uniform(2 * n), y.device).view(
        2, n
    )  # drawn for all, so that no sample changes another one's draw
    anchors = (positive.any(1) & negative.any(1)).nonzero()[:, 0]
    partners = []
    for u, may in zip(chance, (positive, negative), strict=True):
        upto = may[anchors].cumsum(1, dtype=torch.int32)  # (k, m)
        nth = (u[anchors] * upto[:, -1]).int() + 1
        partners.append(torch.searchsorted(upto, nth[:, None])[:, 0])
    return anchors, torch.cat(partners)


def contrastive_loss(anchors: Tensor, y: Tensor, others: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return the supervised contrastive loss of anchors (k, H) with labels (k,), a scalar.

    They are compared with other features (a, H) with labels (a,), which include a sample of every anchor's class.
    Source: Khosla et al. 2020, eq. 2.
    """
    from torch.nn.functional import normalize

    similarity = normalize(anchors) @ normalize(others).T / temperature  # (k, a)
    positive = y[:, None] == labels
    logs = similarity.log_softmax(1).masked_fill(~positive, 0.0)
    return -(logs.sum(1) / positive.sum(1)).mean()
