"""The format of summaries of scores for people."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clbench.core.measure import ACCURACY, Measure
from clbench.leaderboard.best_values import BEST, LEVEL, SIGN
from clbench.leaderboard.summaries import Summary
from clbench.metrics import get as get_metric

NOTHING = "—"


@dataclass(frozen=True)
class Number:
    """Hold the printed parts of a cell of a table.

    Args:
        main: The mean, the values of the seeds, or a text.
        half: Half-width of its interval; empty if there is none.
        count: Number of seeds, ``(n=3)``, if it is not the expected one.
        mark: ``"best"``, ``"level"``, or empty.
        raised: A letter that LaTeX sets beside it, above the line.
    """

    main: str
    half: str = ""
    count: str = ""
    mark: str = ""
    raised: str = ""

    @property
    def is_best(self) -> bool:
        return self.mark == BEST

    @property
    def sign(self) -> str:
        """Return the sign of a value that is not separated from the best; empty for others."""
        return SIGN if self.mark == LEVEL else ""

    def __str__(self) -> str:
        """Return ``97.12 ± 0.34``, with the number of seeds and the sign if it has them."""
        value = f"{self.main} ± {self.half}" if self.half else self.main
        return " ".join(filter(None, (value, self.count, self.sign)))


def number(
    summary: Summary,
    name: str,
    *,
    expected: int,
    decimals: int = 2,
    exact: bool = False,
    measure: Measure = ACCURACY,
    mark: str = "",
) -> Number:
    """Return a summary as people read it: mean and half-width, or each seed's value if there are fewer than three.

    Args:
        summary: Mean, half-width and values.
        name: Name of the metric. Accuracies and fractions are printed in percent, other scores as their measure says.
        expected: The number of seeds that is not printed; another one is.
        decimals: Decimals of percentages.
        exact: Whether other scores have as many decimals too, rather than those of their measure.
        measure: What scores are.
        mark: The mark of the value.
    """
    if not summary.n:
        return Number(NOTHING)
    metric = get_metric(name)
    places = decimals if exact else metric.decimals(measure, percent=decimals)
    count = "" if summary.n == expected else f"(n={summary.n})"
    if math.isnan(summary.half):
        shown = [f"{metric.shown(value, measure):.{places}f}" for value in summary.values.values()]
        return Number(", ".join(shown), "", count, mark)
    half = f"{abs(metric.shown(summary.half, measure)):.{places}f}"
    return Number(f"{metric.shown(summary.mean, measure):.{places}f}", half, count, mark)


def amount(value: float) -> str:
    """Return a cost as text: ``1,234``, or three digits of a small one."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def p_text(p: float) -> str:
    """Return a p value with three decimals, or its order if it is smaller: ``< 0.001``."""
    return NOTHING if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
