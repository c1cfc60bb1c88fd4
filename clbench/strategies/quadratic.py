"""What quadratic penalties share: strength · Σ importance · (w - anchor)², added to the gradient in closed form.

Adding the gradient instead of a loss term costs two passes over the weights, and leaves the task's own gradient
readable before it (``gradient_order``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from clbench.learner import Learner


def add_penalty_gradient(learner: Learner, importance: Tensor | None, anchor: Tensor, factor: float) -> None:
    """g += factor · importance · (w - anchor).

    Args:
        learner: Whose gradient ``g`` (P,) is changed in place.
        importance: (P,) non-negative; ``None`` for all ones.
        anchor: (P,) weights to stay near.
        factor: strength for a penalty with ½ in front, twice the strength without.
    """
    difference = learner.w.detach() - anchor
    if importance is not None:
        difference.mul_(importance)
    learner.g.add_(difference, alpha=factor)
