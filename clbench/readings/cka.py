"""The similarity of features to earlier ones."""

from __future__ import annotations

import math
from typing import Any

from clbench.core.parameters import Count
from clbench.readings.reading import Inspected, Samples


def cka(learner: Inspected, panel: Samples, /, *, rows: Count = 1000) -> list[float]:
    """Return the linear CKA of the features of each task with those at the end of its first visit.

    It is 1 if the features are equal up to a rotation and a common factor. The reference features stay in memory and in
    checkpoints.

    Args:
        rows: The most evaluation samples of a task, evenly chosen.

    Returns:
        (T,) from 0 to 1; NaN for tasks whose first visit has not ended, and for features that do not vary.

    Source: Kornblith et al. 2019, *Similarity of neural network representations revisited*, arXiv 1905.00414.
    """
    known, found = learner.memory, [math.nan] * len(panel.tasks)
    seen = learner.tasks("seen") if learner.experience >= 0 else []
    for task in seen:
        first = known.get(str(task))
        if first is None and not learner.at_end:
            continue
        features = learner.features([task], most=rows)  # (n, H)
        if first is None:
            first = known[str(task)] = features.float()
        found[panel.tasks.index(task)] = linear_cka(features, first)
    return found


def linear_cka(ours: Any, theirs: Any) -> float:
    """Return the linear CKA of two matrices with one row for each sample, (n, H) and (n, K); NaN if one does not
    vary."""
    a, b = (each.double().to(ours.device) for each in (ours, theirs))
    a, b = a - a.mean(0), b - b.mean(0)
    own = float((a.T @ a).norm() * (b.T @ b).norm())
    return float((a.T @ b).square().sum()) / own if own > 0 else math.nan
