"""The norm of the gradient."""

from __future__ import annotations

from clbench.readings.reading import Inspected, Samples, Which


def gradient_norm(learner: Inspected, _panel: Samples, /, *, tasks: Which = "current") -> float:
    """Return the Euclidean norm of the gradient of the mean loss, in evaluation mode and with its class mask.

    The loss is that of the family of tasks, such as the cross-entropy; terms of strategies are left out.

    Args:
        tasks: The tasks whose evaluation samples are used.

    Source: Abbas et al. 2023, *Loss of plasticity in continual deep RL*, arXiv 2303.07507.
    """
    return float(learner.gradient(tasks).double().norm())
