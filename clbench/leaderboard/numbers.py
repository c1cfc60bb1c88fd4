"""The format of summaries of scores for people."""

from __future__ import annotations

import math

from clbench.core.measure import ACCURACY, Measure
from clbench.leaderboard.summaries import Summary
from clbench.metrics import get as get_metric

NOTHING = "—"


def number(summary: Summary, name: str, *, expected: int, decimals: int = 2, measure: Measure = ACCURACY) -> str:
    """Return ``97.12 ± 0.34``, or each seed's value (``97.12, 96.80``) if there are fewer than three.

    Args:
        summary: Mean, half-width and values.
        name: Name of the metric. Accuracies and fractions are printed in percent, other scores as their measure says.
        expected: The number of seeds that is not printed; another one is, as ``(n=3)``.
        decimals: Decimals of percentages.
        measure: What scores are.
    """
    if not summary.n:
        return NOTHING
    metric = get_metric(name)
    places = metric.decimals(measure, percent=decimals)
    if math.isnan(summary.half):
        text = ", ".join(f"{metric.shown(value, measure):.{places}f}" for value in summary.values.values())
    else:
        half = abs(metric.shown(summary.half, measure))
        text = f"{metric.shown(summary.mean, measure):.{places}f} ± {half:.{places}f}"
    return text if summary.n == expected else f"{text} (n={summary.n})"
