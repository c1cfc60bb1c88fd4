"""Proxy-based contrastive replay: samples are contrasted with the head's weight vectors of the classes in the batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from clbench.core.errors import Refused
from clbench.core.parameters import Count
from clbench.core.search_space import Search
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.families.class_mask import ClassMask
    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

Positive = Annotated[float, Field(gt=0)]
# published: 0.09 (Lin et al. 2023); their later method varies it from 0.05 to 0.16
ScoreTemperature = Annotated[Positive, Search(0.05, 0.5, log=True)]
Pairs = Literal["off", "on"] | Count


@dataclass(kw_only=True)
class ProxyContrast(Part):
    """Replace the objective by a contrast of samples with proxies, the weight vectors w_c of the head without bias.

    A are all samples of the joint batch: the stream's, a draw from the replay buffer, and a second view of both. With
    scores s_ic = cos(z_i, w_c) / T the loss is

        factor · mean over i in A of -log [exp(s_i,y_i) / Σ_{j in A} exp(s_i,y_j)]

    so only classes of the joint batch compete, each as often as it occurs there. The class mask of the benchmark
    applies to the sum too. Predictions are read from the scores.

    Args:
        rows: Samples drawn from the replay buffer; ``None`` draws as many as the batch has.
        temperature: T, above 0.
        views: 2 learns every sample raw and once more with the benchmark's augmentation; 1 learns it once, with
            augmentation.
        empty: Whether to ``learn`` or ``skip`` a batch while the replay buffer is empty.
        sample_pairs: Whether samples are contrasted with other samples too, see :func:`contrast`: ``off``, ``on``, or
            from a number of stream samples per step on.
        factor_min, factor_max, period: The factor of the loss varies from the smallest to the largest and back within
            ``period`` steps of an experience (of the stream, if boundaries are hidden).

    Raises:
        Refused: The model has no linear head with proxies.
    """

    random_stream: ClassVar[str] = "ProxyContrast"

    rows: Count | None = None
    temperature: ScoreTemperature = 0.09
    views: Literal[1, 2] = 2
    empty: Literal["learn", "skip"] = "learn"
    sample_pairs: Pairs = "off"
    factor_min: Positive = 1.0
    factor_max: Positive = 1.0
    period: Count = 500

    needs: ClassVar[frozenset[str]] = frozenset({"memory"})
    owns: ClassVar[frozenset[str]] = frozenset({"stream coefficient"})

    def __post_init__(self) -> None:
        if self.factor_min > self.factor_max:
            raise Refused(
                f"factor_min = {self.factor_min:g} is above factor_max = {self.factor_max:g}, and the factor varies "
                "from the first up to the second; exchange them"
            )
        if self.views > 1:
            self.__dict__["needs"] = self.needs | {"augmentation"}

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        self.state["step"] = -1

    def batch(self, learner: Learner, batch: Batch) -> None:
        import torch

        self.state["step"] = self.state.get("step", -1) + 1
        memory = learner.memory
        if len(memory):
            draw = memory.draw(self.rows or batch.size, generator=self.generator)
            batch.append(draw.index, side=draw.side)
        elif self.empty == "skip":
            batch.skip = True
            return
        if self.views > 1:
            raw = len(batch)
            for source in tuple(batch.sources):
                batch.append(batch.index[:, source.span], side=source.side)
            batch.augment(lambda plain, shown: torch.cat([plain[:raw], shown[raw:]]))

    def objective(self, learner: Learner, batch: Batch, output: Output) -> Tensor:
        scores = step_scores(learner, batch, output, self.temperature)
        pairs = self.sample_pairs
        if pairs == "on" or (pairs != "off" and len(batch.stream) >= pairs):
            features, temperature = output.features, self.temperature
        else:
            features, temperature = None, 1.0
        loss = contrast(scores, batch.y, class_mask=batch.class_mask, features=features, temperature=temperature)
        factor = swing(self.state.get("step", 0), self.factor_min, self.factor_max, self.period)
        return loss if factor == 1 else factor * loss

    def predict(self, learner: Learner, output: Output, task: Tensor | None, scores: Tensor) -> Tensor:
        return cosine_scores(output, learner, self.temperature)


def pcr(
    *,
    rows: Count | None = None,
    temperature: ScoreTemperature = 0.09,
    views: Literal[1, 2] = 2,
    empty: Literal["learn", "skip"] = "learn",
) -> list[Part]:
    """Replay with proxies: samples are contrasted with the proxies of the classes in the joint batch.

    Predictions use the nearest proxy. Settings are as in :class:`ProxyContrast`.

    Source: Lin et al. 2023, arXiv 2304.04408, and the authors' code, whose first batch changes no weights:
    ``empty: skip``. Here stream and replay samples pass through the model together, there one after the other, which
    matters for batch normalisation. The initial head is the benchmark's. Combined parts that measure with logits, such
    as ewc with its Fisher information, use the linear head.

    Expected:
        class: above er in one pass with small batches, since classes absent from a batch are not pushed away; the
            newest classes take fewer of the old ones' samples.
        task: at or above er; classes of other tasks compete in neither.
        domain: at or above er; every class is in most batches, so the difference is the cosine head and its scale.
        recurring: above er if few classes occur at a time; the more often classes recur, the smaller the lead.
    """
    return [ProxyContrast(rows=rows, temperature=temperature, views=views, empty=empty)]


def cosine_scores(output: Output, learner: Learner, temperature: float) -> Tensor:
    """Return the cosine of features and proxies over a temperature, (B, C).

    Raises:
        Refused: The model has no linear head with proxies.
    """
    from torch.nn.functional import normalize

    proxies = getattr(getattr(learner.model, "head", None), "weight", None)
    if proxies is None or tuple(proxies.shape) != (learner.n_outputs, output.features.shape[1]):
        raise Refused(
            f"model {type(learner.model).__name__} has no linear layer 'head' from its features to the "
            f"{learner.n_outputs} outputs, whose weights a proxy method could read; give it one, or return logits alone"
        )
    return normalize(output.features) @ normalize(proxies).T / temperature


def step_scores(learner: Learner, batch: Batch, output: Output, temperature: float) -> Tensor:
    """Return :func:`cosine_scores` of a step's output, (B, C), computed once for all hooks of the step."""
    kept = batch.kept(step_scores)
    if kept.get("output") is not output or kept["temperature"] != temperature:
        scores = cosine_scores(output, learner, temperature)
        batch.keep(step_scores, output=output, temperature=temperature, scores=scores)
        return scores
    found: Tensor = kept["scores"]
    return found


def contrast(
    scores: Tensor,
    y: Tensor,
    *,
    class_mask: ClassMask | None = None,
    features: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Return the mean over samples of -log of the share of a sample's own proxy among those of all samples, a scalar.

    With ``features``, the other samples are added to the proxies. The logarithms of all terms of the sample's class are
    then averaged: its proxy, as often as the class occurs, and the other samples.

    Args:
        scores: (A, C) scores of samples and proxies.
        y: (A,) labels; a class is in the sum as often as it occurs here.
        class_mask: Which classes compete on each sample; ``None`` for all.
        features: (A, H) features of the samples, for pairs of samples.
        temperature: Temperature of the cosines of features.

    Source: Lin et al. 2023, arXiv 2304.04408; Khosla et al. 2020, eq. 2, for the form with pairs of samples.
    """
    import torch
    from torch.nn.functional import normalize

    from clbench.families.class_mask import ALL

    n, classes = scores.shape
    counts = scores.new_zeros(classes).index_add_(0, y, scores.new_ones(n))
    below = scores + counts.log()  # n_c equal terms are one term with log n_c; an absent class has none
    mask = class_mask or ALL
    below = mask.masked(below)
    own = scores.gather(1, y[:, None])[:, 0]  # (A,)
    if features is None:
        return (below.logsumexp(1) - own).mean()
    unit = normalize(features)
    others = unit @ unit.T / temperature  # (A, A)
    alone = torch.eye(n, dtype=torch.bool, device=y.device)
    excluded = alone if mask.competes is None else alone | ~mask.competes.expand(n, classes)[:, y]
    total = torch.cat([below, others.masked_fill(excluded, -torch.inf)], dim=1).logsumexp(1)
    same = (y[:, None] == y) & ~alone
    times = counts[y]
    above = (times * own + (others * same).sum(1)) / (times + same.sum(1))
    return (total - above).mean()


def swing(step: int, low: float, high: float, period: int) -> float:
    """Return the value of a cosine that starts at ``low``, reaches ``high`` after half a period, and returns."""
    return low + (high - low) * (1 - math.cos(2 * math.pi * step / period)) / 2
