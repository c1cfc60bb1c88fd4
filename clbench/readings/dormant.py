"""The share of dormant units."""

from __future__ import annotations

from clbench.core.parameters import NonNegative
from clbench.readings.reading import Inspected, Samples, Which


def dormant(learner: Inspected, _panel: Samples, /, *, tau: NonNegative = 0.025, tasks: Which = "current") -> float:
    """Return the share of dormant units: those whose mean activation is small compared with their layer.

    The score of a unit is its mean absolute activation over samples (and positions), divided by the mean of this over
    the units of its layer. A unit is dormant if its score is at most ``tau``. In a layer of zeros every unit is.

    Args:
        tau: The highest score of a dormant unit.
        tasks: The tasks whose evaluation samples are used.

    Source: Sokar et al. 2023, *The Dormant Neuron Phenomenon in Deep RL*, arXiv 2302.12902.
    """
    # published: tau = 0.025 in the analyses of Sokar et al. 2023, section 3
    from clbench.models.activations import dormant_share

    return dormant_share(learner.activations(tasks), tau)
