"""The format of summaries of scores for people."""

from __future__ import annotations

import math

from clbench.core.measure import ACCURACY, Measure
from clbench.leaderboard.board import Summary
from clbench.metrics import get as get_metric

NOTHING = "—"


def number(summary: Summary, name: str, *, expected: int, decimals: int = 2, measure: Measure = ACCURACY) -> str:
    """Return ``97.12 ± 0.34``, with the number of seeds if it is not ``expected``.

    Args:
        summary: Mean and half-width.
        name: Name of the metric. Accuracies and fractions are printed in percent, other scores as their measure says.
        expected: The number of seeds that is not printed.
        decimals: Decimals of percentages.
        measure: What scores are.
    """
    if not summary.n:
        return NOTHING
    metric = get_metric(name)
    places = metric.decimals(measure, percent=decimals)
    half = NOTHING if math.isnan(summary.half) else f"{abs(metric.shown(summary.half, measure)):.{places}f}"
    text = f"{metric.shown(summary.mean, measure):.{places}f} ± {half}"
    return text if summary.n == expected else f"{text} (n={summary.n})"
