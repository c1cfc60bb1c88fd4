"""Quadratic penalties: strength · Σ importance · (w - anchor)², added to the gradient in closed form.

Adding the gradient instead of a loss term costs two passes over the weights. The task's own gradient remains readable
before it (``gradient_order``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from clbench.core.rng import Generator
    from clbench.training.learner import ExperienceView, Learner

PIECE = 65536
"""Number of weights per chunk on a CPU, so that the result of one operation is in the cache for the next."""


def pieces(*vectors: Tensor, size: int = PIECE) -> Iterator[tuple[Tensor, ...]]:
    """Yield views of ``size`` elements of vectors (P,), one after the other; whole vectors if they are not on a CPU."""
    size = size if vectors[0].device.type == "cpu" else len(vectors[0])
    return zip(*(vector.split(size) for vector in vectors), strict=True)


def add_penalty_gradient(learner: Learner, importance: Tensor | None, anchor: Tensor, factor: float) -> None:
    """Add factor · importance · (w - anchor) to the gradient.

    Args:
        learner: The learner, whose gradient ``g`` (P,) is changed in place.
        importance: (P,) importances; ``None`` for all ones.
        anchor: (P,) weights to stay near.
        factor: The strength for a penalty with ½ in front, otherwise twice the strength.
    """
    weighed = () if importance is None else (importance,)
    for g, w, old, *weight in pieces(learner.g, learner.w.detach(), anchor, *weighed):
        difference = w - old
        g.add_(difference.mul_(weight[0]) if weight else difference, alpha=factor)


def drawn_rows(experience: ExperienceView, rows: int | None, *, generator: Generator, mixed: bool = False) -> Tensor:
    """Return samples of an experience for the estimate of importances, an index matrix (5, n).

    Args:
        experience: The experience.
        rows: n, drawn without replacement if it is less than the experience has; ``None`` takes all.
        generator: Generator of the draw.
        mixed: Whether to shuffle even if all samples are taken.
    """
    index, n = experience.index, len(experience)
    rows = min(rows or n, n)
    return index[:, generator.sample(n, rows)] if rows < n or mixed else index
