"""Streaming linear discriminant analysis: running class means and one running covariance that all classes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from clbench.core.search_space import Search
from clbench.strategies.ncm import Features, Means
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import Learner, Output

# published: 1e-4 (Hayes and Kanan 2020)
Shrinkage = Annotated[float, Field(gt=0, le=1), Search(1e-4, 1, log=True)]
Target = Literal["variance", "identity"]


@dataclass(kw_only=True)
class Discriminants(Means):
    """Keep means as :class:`clbench.strategies.ncm.Means` does, and a running covariance Σ.

    After t samples, Σ <- (t Σ + Δ) / (t + 1) with Δ = t / (t + 1) · (z - μ_y)(z - μ_y)ᵀ, where μ_y is the mean before
    the sample.

    Args:
        features: As in :class:`clbench.strategies.ncm.Means`.
        shrinkage: ε, in (0, 1].
        target: The target of shrinkage: ``variance``, the mean variance v of the features times I, so that ε means the
            same for any scale; ``identity``, I itself.
    """

    random_stream: ClassVar[str] = "Discriminants"

    shrinkage: Shrinkage = 0.1
    target: Target = "variance"

    def observe(self, learner: Learner, batch: Batch) -> None:
        import torch

        z, y = self.see(learner, batch.x), batch.y
        self.meet(learner, z)
        if "scatter" not in self.state:
            self.state["scatter"] = z.new_zeros(z.shape[1], z.shape[1])  # t Σ
        count, mean = self.state["count"], self.state["mean"]
        earlier = (y[:, None] == y[None, :]).tril(-1).to(z.dtype)  # (B, B) earlier samples of one class
        held = count[y] + earlier.sum(1)  # (B,)
        before = (count[y][:, None] * mean[y] + earlier @ z) / held.clamp(min=1)[:, None]  # (B, H) μ_y before it
        t = count.sum() + torch.arange(len(y), dtype=z.dtype, device=z.device)
        apart = z - before
        self.state["scatter"].addmm_(apart.T, apart * (t / (t + 1))[:, None])  # so that t Σ only grows by Δ
        self.move(z, y)

    def read(self, learner: Learner, z: Tensor) -> Output:
        import torch

        if "discriminants" not in learner.scratch:  # once per evaluation
            count, mean = self.state["count"], self.state["mean"]
            shared = self.state["scatter"] / count.sum()
            unit = shared.diagonal().mean() if self.target == "variance" else shared.new_ones(())
            unit = unit.where(unit > 0, 1.0)  # nothing varies before the second sample of any class
            shared.mul_(1 - self.shrinkage).diagonal().add_(self.shrinkage * unit)
            weight = torch.cholesky_solve(mean.T, torch.linalg.cholesky(shared))  # (H, C) Λ μ
            learner.scratch["discriminants"] = weight, 0.5 * (mean.T * weight).sum(0)
        weight, offset = learner.scratch["discriminants"]
        return self.told(learner, z, z @ weight - offset)


def slda(*, features: Features = "pixels", shrinkage: Shrinkage = 0.1, target: Target = "variance") -> list[Part]:
    """Classify by streaming LDA: the class with the largest μ_cᵀ Λ z - ½ μ_cᵀ Λ μ_c.

    Λ = ((1 - ε) Σ + ε v I)⁻¹, where v is the mean variance of the features, the mean of the diagonal of Σ. It needs one
    pass, no gradient, no replay buffer and no boundary. It stores C means and one H x H matrix.

    Args:
        features: ``pixels``, or the features of the benchmark's initial ``model``, with weights if it has any; it is
            not trained.
        shrinkage: ε, in (0, 1].
        target: ``variance`` shrinks towards v I, ``identity`` towards I. The paper and its code have the second, with ε
            = 1e-4: ``slda(shrinkage=1e-4, target=identity)``, which is almost nothing or far too much, depending on the
            features' scale.

    The paper begins with means and covariance of some base classes, computed at once. Here both begin at zero, as its
    formulas allow, so that the first sample of a class counts with z - 0. All arithmetic is in float64.

    Source: Hayes and Kanan 2020, arXiv 1909.01520, section 3 (Deep SLDA), update order of the authors' code. The target
    v I is that of Ledoit and Wolf 2004, Journal of Multivariate Analysis 88(2), and of the estimate (oracle
    approximating shrinkage) with which the authors' code begins.

    Expected:
        class: near a linear classifier on all data at once, almost without a gap; far above naive, often above replay
            if features are good.
        task: high, since only the task's classes compete; tasks do not affect each other.
        domain: one mean per class over all domains: good if domains are similar, poor otherwise.
        recurring: hardly changed by repetition.
    """
    return [Discriminants(features=features, shrinkage=shrinkage, target=target)]
