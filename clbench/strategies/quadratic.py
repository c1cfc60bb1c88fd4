"""What quadratic penalties share: strength · Σ importance · (w - anchor)², added to the gradient in closed form.

Adding the gradient instead of a loss term costs two passes over the weights, and leaves the task's own gradient
readable before it (``gradient_order``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from clbench.core.rng import Generator
    from clbench.training.learner import ExperienceView, Learner

PIECE = 65536
"""Weights that are worked on at a time on a CPU: what comes of one operation is still in the cache for the next."""


def pieces(*vectors: Tensor, size: int = PIECE) -> Iterator[tuple[Tensor, ...]]:
    """Views of ``size`` elements of vectors (P,), one after the other; of whole ones where they do not lie on a CPU."""
    size = size if vectors[0].device.type == "cpu" else len(vectors[0])
    return zip(*(vector.split(size) for vector in vectors), strict=True)


def add_penalty_gradient(learner: Learner, importance: Tensor | None, anchor: Tensor, factor: float) -> None:
    """g += factor · importance · (w - anchor).

    Args:
        learner: Whose gradient ``g`` (P,) is changed in place.
        importance: (P,); ``None`` for all ones.
        anchor: (P,) weights to stay near.
        factor: strength for a penalty with ½ in front, twice the strength without.
    """
    weighed = () if importance is None else (importance,)
    for g, w, old, *weight in pieces(learner.g, learner.w.detach(), anchor, *weighed):
        difference = w - old
        g.add_(difference.mul_(weight[0]) if weight else difference, alpha=factor)


def drawn_rows(experience: ExperienceView, rows: int | None, *, generator: Generator, mixed: bool = False) -> Tensor:
    """Rows of an experience, an index matrix (5, n), that an importance is estimated on.

    Args:
        experience: Where they come from.
        rows: n, drawn without replacement where it is less than the experience has; ``None`` takes all.
        generator: Whose randomness.
        mixed: Whether to shuffle even where all are taken.
    """
    index, n = experience.index, len(experience)
    rows = min(rows or n, n)
    return index[:, generator.sample(n, rows)] if rows < n or mixed else index
