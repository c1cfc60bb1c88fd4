"""GEM: if the step would raise the loss on any past experience's samples, the gradient becomes the nearest that does
not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from clbench.core.parameters import NonNegative
from clbench.core.search_space import Search
from clbench.strategies.part import BENDS, EVERY_FAMILY, Part
from clbench.strategies.quadratic import pieces

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.training.batch import Batch
    from clbench.training.learner import Learner

PIECE = 8192
"""Number of columns of the gradients that are multiplied at a time."""


@dataclass(kw_only=True)
class GEM(Part):
    """Solve min ½ |g̃ - g|² subject to g̃·g_j >= 0 for every past experience j, with the gradient g_j on its stored
    samples.

    It is solved in the dual: g̃ = g + Gᵀv with the g_j as rows of G and v = argmin ½ vᵀ(GGᵀ + damping · 1)v + (Gg)ᵀv
    over v >= margin. A gradient that agrees with every g_j stays unchanged. Frozen weights (by another part, or heads
    that no sample of the batch may use) are left out of all these vectors.

    Args:
        margin: γ, the smallest value of every v_j, at least 0. With γ > 0 a projected gradient moves further into the
            feasible region, so that old losses decrease; 0 is the exact projection.
        damping: Added to the diagonal of GGᵀ, at least 0; with 0 the constraints hold exactly. It is not relative to
            the gradients: if their squared norms are not much larger, it weakens the projection.

    The paper steps with plain SGD; with momentum or Adam after the projection it is another method. The experiences so
    far share the replay buffer equally; in the paper the known number of tasks fixes the quota.

    Expected:
        class: with the published margin like replay of the whole buffer, at or above er on small benchmarks and far
            below it on natural images; with margin 0 slightly above naive.
        task: above naive; this is the setting of the paper.
        domain: well above naive and above agem, near er.
        recurring: with the published margin at or above er on small benchmarks; each experience counts as a separate
            past one, so that cost grows with every experience and shares of the replay buffer shrink.

    Source: Lopez-Paz and Ranzato 2017, arXiv 1706.08840, section 3; ``margin`` and ``damping``: authors' code.
    """

    random_stream: ClassVar[str] = "GEM"
    families: ClassVar[frozenset[str]] = EVERY_FAMILY

    # published: 0.5 (Lopez-Paz and Ranzato 2017), 0.5 to 1 (Buzzega et al. 2020)
    margin: Annotated[NonNegative, Search(0, 1)] = 0.5
    damping: NonNegative = 1e-3

    needs: ClassVar[frozenset[str]] = frozenset({"memory", "boundaries"})
    owns: ClassVar[frozenset[str]] = frozenset({"projection"})
    gradient_order: ClassVar[int] = BENDS
    protocol: ClassVar[Mapping[str, Any]] = {"training.optimizer": "sgd", "training.momentum": 0}
    memory_policy: ClassVar[str | None] = "per_experience"

    def gradient(self, learner: Learner, batch: Batch) -> None:
        import torch

        kept = [learner.memory.of_experience(number) for number in range(learner.experience or 0)]
        if not any(len(draw.slots) for draw in kept):
            return
        # one forward and backward pass per experience; fused into one, each gradient would pass through all samples
        past = torch.stack(
            [learner.side_work.gradient(learner.batch(draw.index)) for draw in kept if len(draw.slots)]
        )  # (T, P)
        g, held = learner.g, learner.frozen
        if held is not None:  # the step moves only along the other weights, so agreement counts there
            past, g = past.masked_fill_(held, 0.0), g.masked_fill(held, 0.0)
        agreement = past @ g  # (T,)
        if bool((agreement < 0).any()) and bool(agreement.isfinite().all()):  # otherwise the run is about to diverge
            learner.g.add_(dual(g, past, margin=self.margin, damping=self.damping) @ past)


def dual(g: Tensor, past: Tensor, *, margin: float, damping: float) -> Tensor:
    """Return the weights v (T,) of the past gradients in the projected one, g + Gᵀv.

    With v = margin + u, u >= 0, the dual is the non-negative least squares problem min |Gᵀu + (g + Gᵀ margin)|²;
    damping is √damping · 1 as further rows. A factor of the Gram matrix of all gradients replaces their P rows.

    Args:
        g: (P,) gradient of the step.
        past: (T, P) gradients on past experiences.
        margin: Smallest value of v.
        damping: Added to the diagonal of GGᵀ.
    """
    import numpy as np
    import torch
    from scipy.optimize import nnls

    values, vectors = torch.linalg.eigh(_gram(past, g))
    reduced = (vectors * values.clamp(min=0.0).sqrt()).T.cpu().numpy()  # (T + 1, T + 1), reducedᵀ · reduced = gram
    n = len(past)
    rows = np.concatenate([reduced[:, :n], np.sqrt(damping) * np.eye(n)])
    target = -(np.concatenate([reduced[:, n], np.zeros(n)]) + margin * rows.sum(axis=1))
    return torch.from_numpy(margin + nnls(rows, target)[0]).to(g)


def _gram(past: Tensor, g: Tensor) -> Tensor:
    """Return the inner products (T + 1, T + 1) of past (T, P) and g (P,) in double precision, in chunks of P that fit a
    cache."""
    import torch

    total = torch.zeros(len(past) + 1, len(past) + 1, dtype=torch.float64, device=g.device)
    for each in pieces(*past, g, size=PIECE):
        piece = torch.stack(each).double()
        total.addmm_(piece, piece.T)
    return total
