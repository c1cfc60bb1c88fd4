"""The distance from the initial weights."""

from __future__ import annotations

import math

from clbench.readings.reading import Inspected, Samples


def distance(learner: Inspected, _panel: Samples, /, *, relative: bool = False) -> float:
    """Return the Euclidean distance of the weights from the initial ones.

    Args:
        relative: Whether it is divided by the norm of the initial weights.

    Returns:
        The distance; NaN if the model has another number of weights than at the start.

    Source: Nagarajan and Kolter 2019, *Generalization in deep networks: the role of distance from initialization*.
    """
    now = learner.weights.double()
    first = learner.memory.setdefault("initial", learner.weights).to(now.device)
    if first.shape != now.shape:
        return math.nan
    far = float((now - first.double()).norm())
    return far / float(first.double().norm()) if relative else far
