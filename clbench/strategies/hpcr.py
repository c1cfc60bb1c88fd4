"""HPCR: proxy-based contrastive replay with a varying temperature and distillation of stored scores and features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from clbench.core.parameters import Count, NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import Part
from clbench.strategies.pcr import Pairs, Positive, ProxyContrast, ScoreTemperature, step_scores

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import Learner, Output


@dataclass(kw_only=True)
class ProxyDistillation(Part):
    """Keep rehearsed samples, in both views, near the scores and similarities that were stored with them:

        alpha · mean over samples i and over samples j of the joint batch of (s_i,y_j - s'_i,y_j)²
        + beta · mean over samples i of -Σ_k p'_ik log p_ik,  p_ik the softmax over the other samples of cos(z_i, z_k) /
        T

    s and z are the current scores and features; s' and p' are those of the step that stored the sample, before its
    update.

    Args:
        alpha: Factor of the distance between scores, at least 0.
        beta: Factor of the cross-entropy between similarities, at least 0.
        temperature: T of scores and similarities, above 0.
        form: ``paper`` starts as soon as the replay buffer holds a sample of an earlier experience (any sample, if
            boundaries are hidden). ``code`` never starts, as in the released code, where a counter is never increased.

    Source: Lin et al. 2023, arXiv 2309.15038, and the authors' code.
    """

    random_stream: ClassVar[str] = "ProxyDistillation"

    alpha: NonNegative
    beta: NonNegative
    temperature: Positive
    form: Literal["paper", "code"] = "paper"

    needs: ClassVar[frozenset[str]] = frozenset({"memory"})

    @property
    def _acts(self) -> bool:
        return self.form == "paper" and self.alpha + self.beta > 0

    def store(self, learner: Learner, batch: Batch, output: Output) -> dict[str, Tensor]:
        if not self._acts:
            return {}
        own = batch.stream.span
        return {
            "scores": step_scores(learner, batch, output, self.temperature)[own],
            "features": output.features[own],
        }

    def loss(self, learner: Learner, batch: Batch, output: Output) -> Tensor | None:
        import torch

        if not self._acts:
            return None
        old = [s for s in batch.sources if "scores" in s.side and s is not batch.stream]
        if not old or not learner.memory.has_earlier(learner.experience):
            return None
        scores = step_scores(learner, batch, output, self.temperature)  # (B, C)
        now, before = (torch.cat(each) for each in zip(*((scores[s.span], s.side["scores"]) for s in old), strict=True))
        loss = self.alpha * score_distance(now, before, batch.y)
        if self.beta and len(now) > 1:
            features = torch.cat([output.features[source.span] for source in old])
            kept = torch.cat([source.side["features"] for source in old])
            loss = loss + self.beta * similarity_loss(features, kept, self.temperature)
        return loss


def hpcr(
    *,
    rows: Count | None = None,
    temperature: ScoreTemperature = 0.09,
    views: Literal[1, 2] = 2,
    empty: Literal["learn", "skip"] = "learn",
    sample_pairs: Pairs = "off",
    factor_min: Positive = 0.5625,
    factor_max: Positive = 1.8,
    period: Count = 500,
    # published: 0.01 and 0.1 for alpha, 0.5 for beta (Lin et al. 2023)
    alpha: Annotated[NonNegative, Search(1e-3, 1, log=True)] = 0.01,
    beta: Annotated[NonNegative, Search(0.05, 5, log=True)] = 0.5,
    form: Literal["paper", "code"] = "paper",
) -> list[Part]:
    """Replay with HPCR: the loss of pcr with a varying factor, and distillation of stored scores and similarities.

    The factor varies within every experience. Settings are as in :class:`clbench.strategies.pcr.ProxyContrast` and
    :class:`ProxyDistillation`.

    Source: Lin et al. 2023, arXiv 2309.15038. The factors are the temperature 0.09 over 0.16 and over 0.05; alpha is
    that for CIFAR-10, and 0.1 for CIFAR-100 and mini-ImageNet. The batch size from which the authors add pairs of
    samples could not be verified.

    Expected:
        class: near pcr; with a large alpha below it in one pass, since scores from before a sample was learned are
            kept.
        task: near pcr, at or above er; heads of other tasks never compete anyway.
        domain: near pcr; keeping the scores of old domains costs little if classes stay the same.
        recurring: near pcr; old scores reduce what a class gains when it recurs.
    """
    proxy = ProxyContrast(
        rows=rows,
        temperature=temperature,
        views=views,
        empty=empty,
        sample_pairs=sample_pairs,
        factor_min=factor_min,
        factor_max=factor_max,
        period=period,
    )
    return [proxy, ProxyDistillation(alpha=alpha, beta=beta, temperature=temperature, form=form)]


def score_distance(now: Tensor, before: Tensor, y: Tensor) -> Tensor:
    """Return the mean squared distance of scores (R, C) in the columns of the labels (A,), one column per label."""
    apart = (now - before).square()
    times = apart.new_zeros(apart.shape[1]).index_add_(0, y, apart.new_ones(len(y)))  # (C,) columns per class
    return (apart * times).sum() / (len(apart) * len(y))


def similarity_loss(features: Tensor, kept: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy from stored to current similarities, a scalar.

    Similarities are the softmax of the cosines with all other samples.

    Args:
        features: (R, H) current features, R at least 2.
        kept: (R, H) stored features; constants.
        temperature: Temperature of the cosines.
    """
    import torch
    from torch.nn.functional import normalize

    itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
    target, now = (
        (unit @ unit.T / temperature).masked_fill(itself, -torch.inf).log_softmax(1)
        for unit in (normalize(kept), normalize(features))
    )
    return -(target.exp() * now.masked_fill(itself, 0.0)).sum(1).mean()
