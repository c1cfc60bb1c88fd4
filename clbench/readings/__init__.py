"""Readings: named arrays that show what is inside a network while a strategy learns, taken from evaluation samples.

A reading is a function of (learner, panel) that changes nothing of the run. Its keyword-only parameters are settings.
This package imports no torch at module level.
"""

from __future__ import annotations

from clbench.core.registry import Registry
from clbench.readings.reading import Inspected, Reads, Samples, Which

__all__ = ["READINGS", "Inspected", "Reads", "Samples", "Which"]

_HERE = "clbench.readings."

READINGS = Registry(
    "reading",
    "clbench.readings",
    {
        "fau": (_HERE + "fau:fau", "fraction of active units: share of units and samples with a positive value"),
        "dormant": (_HERE + "dormant:dormant", "share of units that hardly react, relative to their layer"),
        "effective_rank": (_HERE + "effective_rank:effective_rank", "how many directions the features use"),
        "weight_norm": (_HERE + "weight_norm:weight_norm", "Euclidean norm of the weights"),
        "gradient_norm": (_HERE + "gradient_norm:gradient_norm", "Euclidean norm of the gradient of the loss"),
        "distance": (_HERE + "distance:distance", "Euclidean distance of the weights from the initial ones"),
        "overlap": (_HERE + "overlap:overlap", "overlap with the known teacher of each task, beside its theory"),
        "cka": (_HERE + "cka:cka", "similarity of each task's features to those at the end of its first visit"),
    },
)
"""Readings by name, each a :class:`clbench.readings.reading.Reads`."""
