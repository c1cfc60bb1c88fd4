"""The format of summaries of scores for people."""

from __future__ import annotations

import math

from clbench.leaderboard.board import Summary
from clbench.metrics import get as get_metric

NOTHING = "—"


def number(summary: Summary, name: str, *, expected: int, decimals: int = 2) -> str:
    """Return ``97.12 ± 0.34`` in percent (or in iterations), with the number of seeds if it is not ``expected``."""
    if not summary.n:
        return NOTHING
    factor = 100 if get_metric(name).unit == "fraction" else 1
    half = NOTHING if math.isnan(summary.half) else f"{factor * summary.half:.{decimals}f}"
    text = f"{factor * summary.mean:.{decimals}f} ± {half}"
    return text if summary.n == expected else f"{text} (n={summary.n})"
