"""Trust region gradient projection: orthogonal gradients, and scaled weights of related tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from clbench.strategies.scaled_projection import NEAR, ScaledProjection

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(kw_only=True)
class TRGP(ScaledProjection):
    """Project the gradient of each weight matrix, and compute with w~ = w + Σ_j w B_j (Q_j - 1) B_jᵀ for each task.

    The gradient becomes G - G D Dᵀ, as in gpm, where D (I, K) are orthonormal directions of the inputs of finished
    tasks, and B_j are those of task j. Before a new task, j is related in a layer if |G B_j| > related |G|, with the
    gradient G of some of its samples; of these, the ``top`` tasks with the largest |G B_j| are used. The new task
    trains a matrix Q_j (r, r) for each, from the identity, with the benchmark's optimiser. A finished task is evaluated
    with its own w~: its own Q and B, and the current w. So the cell needs task labels, also with a single head.

    After a task, its inputs R (n, I) under w~ are the energy of old directions, |R d|², and of new ones, the principal
    directions of R - R D Dᵀ. B are the fewest of both with threshold |R|² of it; the new ones are appended to D.

    Args:
        threshold: Share of the energy of a task's inputs that its directions hold, in [0, 1]: one number, or a list
            with one for each layer that is projected, in the order of the model.
        growth: What the threshold grows by with every task, to 1 at most.
        rows: Samples of a task whose inputs are read, and whose gradient is tested.
        related: Share of the gradient's length from which an earlier task is related, in [0, 1].
        top: The most related tasks of a layer.
        form: ``paper``, or the released ``code``: inputs are read without Q, the first task stops below the threshold,
            later ones leave the strongest new direction out of D, and of two earlier tasks only the newest is related.

    The last layer is not projected if a task uses only some of the output units. Biases and norm layers are trained
    without projection, and are not kept for a task. A task that returns goes on with its Q, and D stays fixed. Momentum
    and weight decay leave the projected space; an alarm reports it. Weight decay and ``clip_norm`` do not act on Q.

    Source: Lin et al. 2022, arXiv 2202.02931, and the authors' code, which has related = 0.2 for permuted MNIST.

    Expected:
        class: skipped, because task labels are hidden.
        task: like gpm, and above it if tasks are related; hardly any forgetting.
        domain: above gpm, since each task has its own scaling of old weights; hardly any forgetting.
        recurring: tasks that return hardly improve, since their inputs are protected.
    """

    random_stream: ClassVar[str] = "TRGP"

    def regime(self, layer: str, earlier: int, gradient: Tensor) -> int:
        return NEAR
