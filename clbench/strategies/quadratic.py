"""What quadratic penalties share: strength · Σ importance · (w - anchor)², added to the gradient in closed form.

Adding the gradient instead of a loss term costs two passes over the weights, and leaves the task's own gradient
readable before it (``gradient_order``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.learner import Learner, Shown
    from clbench.rng import Generator


def add_penalty_gradient(learner: Learner, importance: Tensor | None, anchor: Tensor, factor: float) -> None:
    """g += factor · importance · (w - anchor).

    Args:
        learner: Whose gradient ``g`` (P,) is changed in place.
        importance: (P,); ``None`` for all ones.
        anchor: (P,) weights to stay near.
        factor: strength for a penalty with ½ in front, twice the strength without.
    """
    difference = learner.w.detach() - anchor
    if importance is not None:
        difference.mul_(importance)
    learner.g.add_(difference, alpha=factor)


def drawn_rows(experience: Shown, rows: int | None, *, generator: Generator, mixed: bool = False) -> Tensor:
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
