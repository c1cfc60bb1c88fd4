"""Analytic class-incremental learning: ridge regression on randomly expanded frozen features, kept exact batch by
batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from clbench.core.parameters import Count
from clbench.core.search_space import Search
from clbench.strategies.ncm import Features, Means
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import Learner, Output

# published: 0.1 in the authors' program, 0.001 in the class that it uses (Zhuang et al. 2022)
Gamma = Annotated[float, Field(gt=0), Search(1e-3, 1e3, log=True)]
BLOCK = 512
"""Samples of one update; a longer batch is cut, because the update solves a system of as many equations."""


@dataclass(kw_only=True)
class AnalyticHead(Means):
    """Keep the weights W of ridge regression on h = relu(z V), and R = (HᵀH + γ I)⁻¹ over all samples so far.

    For a batch H (B, M) with one-hot labels Y (B, C): S = I + H R Hᵀ, then W <- W + R Hᵀ S⁻¹ (Y - H W) and
    R <- R - R Hᵀ S⁻¹ H R.

    Args:
        features: As in :class:`clbench.strategies.ncm.Means`.
        expansion: M, the number of random features.
        gamma: γ, above 0.
    """

    random_stream: ClassVar[str] = "AnalyticHead"

    expansion: Count = 2048
    gamma: Gamma = 0.1

    def meet(self, learner: Learner, z: Tensor) -> None:
        """Draw the expansion of features (B, F), and begin without a sample, at the first batch."""
        if "count" in self.state:
            return
        import torch

        width, m = z.shape[1], self.expansion
        drawn = torch.from_numpy(self.generator.uniform(width * m)).to(z).view(width, m)
        self.state["expansion"] = drawn.mul_(2).sub_(1).mul_(width**-0.5)  # (F, M) V, uniform in ± 1 / √F
        self.state["inverse"] = torch.eye(m, dtype=z.dtype, device=z.device).div_(self.gamma)  # (M, M) R
        self.state["weight"] = z.new_zeros(m, learner.n_outputs)  # (M, C) W
        self.state["count"] = z.new_zeros(learner.n_outputs)  # (C,) samples of each class

    def expand(self, z: Tensor) -> Tensor:
        """Return relu(z V), (B, M), for features (B, F)."""
        h: Tensor = (z @ self.state["expansion"]).relu_()
        return h

    def observe(self, learner: Learner, batch: Batch) -> None:
        z, y = self.see(learner, batch.x), batch.y
        self.meet(learner, z)
        self.state["count"].index_add_(0, y, z.new_ones(len(y)))
        for features, labels in zip(z.split(BLOCK), y.split(BLOCK), strict=True):
            self.regress(self.expand(features), labels)

    def regress(self, h: Tensor, y: Tensor) -> None:
        """Add samples (B, M) with labels (B,) to the regression."""
        import torch

        inverse, weight = self.state["inverse"], self.state["weight"]
        wrong = (h @ weight).neg_()  # (B, C) Y - H W
        wrong[torch.arange(len(y), device=y.device), y] += 1.0
        moved = h @ inverse  # (B, M) H R, of a symmetric R
        system = moved @ h.T  # (B, B)
        system.diagonal().add_(1.0)
        root = torch.linalg.cholesky_ex(system).L  # without waiting for its check; 1 is added to the diagonal
        moved = torch.linalg.solve_triangular(root, moved, upper=False)
        weight.addmm_(moved.T, torch.linalg.solve_triangular(root, wrong, upper=False))
        inverse.addmm_(moved.T, moved, alpha=-1.0)

    def read(self, learner: Learner, z: Tensor) -> Output:
        return self.told(learner, z, self.expand(z) @ self.state["weight"])


def acil(*, features: Features = "model", expansion: Count = 2048, gamma: Gamma = 0.1) -> list[Part]:
    """Classify by ridge regression on fixed random features, with the exact solution after every batch.

    The scores are h W with h = relu(z V), W = (HᵀH + γ I)⁻¹ HᵀY over all samples so far: whatever batches, orders and
    experiences they came in. It needs one pass, no gradient, no replay buffer and no boundary. It stores the random
    matrix V, an M x M matrix and M weights per class. All arithmetic is in float64.

    Args:
        features: z, the features of the benchmark's initial ``model``, with weights if it has any; it is not trained.
            Or ``pixels``.
        expansion: M, the number of random features. The authors have 8192, which costs 16 times the time; 2048 is our
            choice for two cores.
        gamma: γ, above 0, the strength of the ridge. It is not divided by the number of samples.

    V is uniform in ± 1 / √(width of z), without biases, as in the authors' code. A class without samples has weights of
    0, as if its column were appended later, and ranks behind all others. More than one pass counts every sample again,
    which makes γ as much smaller. The authors first train a network on half of the classes; here the model is the
    benchmark's.

    Source: Zhuang et al. 2022, "ACIL: analytic class-incremental learning with absolute memorization and privacy
    protection", NeurIPS 35, eqs. 9 and 10, in the form for batches of Zhuang et al. 2024, arXiv 2403.15706 (G-ACIL).

    Expected:
        class: the same as from all data at once, without a gap; above slda and ncm on the same features.
        task: high, since only the task's classes compete; tasks do not affect each other.
        domain: one regression over all domains; good if they are similar, limited by the random features otherwise.
        recurring: hardly changed by repetition, except for the weight of frequent samples.
    """
    return [AnalyticHead(features=features, expansion=expansion, gamma=gamma)]
