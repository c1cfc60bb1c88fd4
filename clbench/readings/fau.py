"""The fraction of active units."""

from __future__ import annotations

from typing import Any

from clbench.readings.reading import Inspected, Samples, Which


def fau(learner: Inspected, _panel: Samples, /, *, tasks: Which = "current", by_layer: bool = False) -> Any:
    """Return the fraction of active units: the share of units and samples whose activation is positive.

    Every output of an activation function counts, each unit alike; a unit of a convolutional layer is a channel, whose
    share is a mean over its positions. If few units are active, few weights get a gradient. With activation functions
    other than ReLU it is the share of positive values.

    Args:
        tasks: The tasks whose evaluation samples are used.
        by_layer: Whether the shares of single layers follow the share of all units.

    Returns:
        The share, or (1 + layers,) with ``by_layer``; NaN for a model without activation functions.

    Source: Ma et al. 2024, *Revisiting Plasticity in Visual RL*, arXiv 2310.07418.
    """
    from clbench.models.activations import active_share

    found = learner.activations(tasks)
    whole = active_share(found)
    return [whole, *(float(each.mean()) for each in found.active)] if by_layer else whole
