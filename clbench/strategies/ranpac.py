"""RanPAC: ridge regression on random projections of features of a pretrained network, with a ridge chosen by task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from clbench.core.parameters import Count
from clbench.strategies.ncm import Features, Means
from clbench.strategies.part import Part

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import ExperienceView, Learner, Output

Ridge = Annotated[float, Field(gt=0)]
RIDGES = tuple(10.0**power for power in range(-8, 9))
"""The ridges that are tried; those of the authors' code."""
TRAINED = 0.8
"""The share of an experience's samples, the first ones, that a ridge is tried with; the rest measures the error."""


@dataclass(kw_only=True)
class RandomProjection(Means):
    """Keep the Gram matrix G = Σ h hᵀ of h = relu(z W), and Q = Σ h yᵀ with one-hot labels y.

    The scores are h (G + λ I)⁻¹ Q. The state holds ``gram`` (M, M) and ``cross`` (M, C) of all samples, ``projection``
    W (F, M), and while a ridge is searched ``earlier``, both of the samples before the experience, and ``held``,
    vectors and labels of the samples that measure the error.

    Args:
        features: As in :class:`clbench.strategies.ncm.Means`.
        size: M, the number of random features.
        ridge: λ, above 0; or ``search``, which chooses it at the end of each experience.
        projection: Whether features are projected; otherwise h = z.
    """

    random_stream: ClassVar[str] = "RandomProjection"

    size: Count = 10000
    ridge: Ridge | Literal["search"] = "search"
    projection: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ridge == "search":
            self.__dict__["needs"] = frozenset({"boundaries"})  # of this instance, not of the class

    def meet(self, learner: Learner, z: Tensor) -> None:
        """Draw the projection of features (B, F), and begin without a sample, at the first batch."""
        if "count" in self.state:
            return
        import torch

        width = m = z.shape[1]
        if self.projection:
            m = self.size
            seed = int(self.generator.words(1)[0] >> 1)
            drawn = torch.randn(width, m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            self.state["projection"] = drawn.to(z)
        self.state["gram"] = z.new_zeros(m, m)
        self.state["cross"] = z.new_zeros(m, learner.n_outputs)
        self.state["count"] = z.new_zeros(learner.n_outputs)  # (C,) samples of each class

    def project(self, z: Tensor) -> Tensor:
        """Return h (B, M) of features (B, F)."""
        h: Tensor = (z @ self.state["projection"]).relu_() if self.projection else z
        return h

    def begin_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if self.ridge != "search":
            return
        self.state["earlier"] = (
            [self.state[name].clone() for name in ("gram", "cross")] if "count" in self.state else []
        )
        self.state["held"], self.state["met"] = [], 0
        self.state["split"] = int(TRAINED * len(experience))

    def observe(self, learner: Learner, batch: Batch) -> None:
        if not batch.first_pass:
            return  # each sample counts once
        z, y = self.see(learner, batch.x), batch.y
        self.meet(learner, z)
        h = self.project(z)
        self.state["count"].index_add_(0, y, z.new_ones(len(y)))
        self.state["gram"].addmm_(h.T, h)
        self.state["cross"].index_add_(1, y, h.T)
        if self.ridge == "search":
            first = max(0, self.state["split"] - self.state["met"])
            self.state["met"] += len(y)
            if first < len(y):
                self.state["held"].append([z[first:].clone(), y[first:].clone()])

    def end_experience(self, learner: Learner, experience: ExperienceView) -> None:
        if self.ridge == "search" and self.state["held"]:
            self.state["chosen"] = self._searched()
        for name in ("earlier", "held", "met", "split"):
            self.state.pop(name, None)

    def _searched(self) -> float:
        """Return the ridge with the smallest squared error on the held samples, of those of :data:`RIDGES`."""
        import torch

        z, y = (torch.cat(parts) for parts in zip(*self.state["held"], strict=True))
        h = self.project(z)
        target = torch.nn.functional.one_hot(y, self.state["cross"].shape[1]).to(h)
        gram, cross = self.state["gram"] - h.T @ h, self.state["cross"] - h.T @ target
        if self.state["earlier"]:
            gram, cross = gram - self.state["earlier"][0], cross - self.state["earlier"][1]
        values, vectors = torch.linalg.eigh(gram)
        seen, wanted = h @ vectors, vectors.T @ cross
        errors = []
        for ridge in RIDGES:
            missed = seen @ (wanted / (values.clamp(min=0) + ridge)[:, None]) - target
            errors.append(float(missed.square().sum()))
        return RIDGES[min(range(len(RIDGES)), key=errors.__getitem__)]

    def weights(self) -> Tensor:
        """Return the weights (M, C) of ridge regression on all samples so far."""
        import torch

        ridge = self.state.get("chosen", 1.0) if self.ridge == "search" else float(self.ridge)
        regular = self.state["gram"].clone()
        regular.diagonal().add_(ridge)
        root, failed = torch.linalg.cholesky_ex(regular)
        if int(failed):  # the ridge is lost in rounding
            solution: Tensor = torch.linalg.lstsq(regular, self.state["cross"], driver="gelsd").solution
            return solution
        return torch.cholesky_solve(self.state["cross"], root)

    def read(self, learner: Learner, z: Tensor) -> Output:
        if "ranpac" not in learner.scratch:  # once per evaluation, and anew only after further samples
            mark = float(self.state["count"].sum()), self.state.get("chosen")
            if self.__dict__.get("_solved", (None, None))[0] != mark:
                self.__dict__["_solved"] = mark, self.weights()
            learner.scratch["ranpac"] = self.__dict__["_solved"][1]
        return self.told(learner, z, self.project(z) @ learner.scratch["ranpac"])


def ranpac(
    *,
    features: Features = "model",
    # published: 10000 (McDonnell et al. 2023)
    size: Count = 10000,
    # published: searched over 10^-8 to 10^8 for each task (McDonnell et al. 2023)
    ridge: Ridge | Literal["search"] = "search",
    projection: bool = True,
) -> list[Part]:
    """Classify by ridge regression on relu(z W), with random W and the features z of a pretrained network.

    The scores are h (G + λ I)⁻¹ Q with h = relu(z W), G = Σ h hᵀ and Q = Σ h yᵀ over all samples so far, whatever
    batches, orders and experiences they came in. It needs one pass and no gradient; further passes change nothing. It
    stores two matrices M x M while an experience runs, and one between them. All arithmetic is in float64.

    Args:
        features: z, the features of the benchmark's initial ``model``, with weights if it has any; it is not trained.
            Or ``pixels``.
        size: M, the number of random features, which the authors have at 10,000: 800 MB for each matrix, and a minute
            for a solution on two cores. 2000 is enough for ten classes.
        ridge: λ, above 0, added to the sum over samples; or ``search``: at the end of each experience the power of ten
            from 10^-8 to 10^8 with the smallest squared error on the last fifth of its samples, of weights for the
            samples before them in the experience alone. Until the first end it is 1. A search needs boundaries.
        projection: Whether features are projected at random; otherwise h = z (the authors' M = 0).

    W is drawn from N(0, 1) when the first batch comes. The authors first adapt the network on the first task (phase 1),
    except for convolutional networks; here the network is that of the benchmark.

    Source: McDonnell et al. 2023, arXiv 2307.02251, algorithm 1, and the authors' code.

    Expected:
        class: the same as from all data at once, almost without a gap; above ncm, near a linear classifier on all data.
        task: high, since only the task's classes compete; tasks do not affect each other.
        domain: one regression over all domains; good if they are similar.
        recurring: hardly changed by repetition, except for the weight of frequent samples.
    """
    return [RandomProjection(features=features, size=size, ridge=ridge, projection=projection)]
