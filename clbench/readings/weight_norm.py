"""The norm of the weights."""

from __future__ import annotations

from clbench.readings.reading import Inspected, Samples


def weight_norm(learner: Inspected, _panel: Samples, /) -> float:
    """Return the Euclidean norm of all trainable weights.

    Weights that grow make later changes of the same size smaller in proportion.

    Source: Dohare et al. 2024, *Loss of plasticity in deep continual learning*, who report the mean magnitude.
    """
    return float(learner.weights.double().norm())
