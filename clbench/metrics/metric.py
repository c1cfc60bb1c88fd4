"""The type of a metric: a pure function of a trace, with its formula, range, direction and source."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from clbench.core.measure import ACCURACY, Measure
from clbench.core.record import Trace


class Undefined(Exception):
    """Report that a metric has no value for this trace. The message gives the reason in words for a leaderboard."""


@dataclass(frozen=True)
class Value:
    """Hold the value of a metric: a number, or NaN with the reason."""

    value: float
    reason: str = ""

    @property
    def defined(self) -> bool:
        return not math.isnan(self.value)


@dataclass(frozen=True)
class Metric:
    """Describe a number that is computed from a trace.

    Args:
        name: Canonical name, as in files: ``"wc_acc"``.
        title: Name for people: ``"WC-ACC"``.
        function: A function from a trace (and a reference, see there) to the value; it raises :class:`Undefined` if
            there is none.
        formula: The definition in one line; R[e,i] is the accuracy on task i at the end of experience e.
        low: Smallest possible value; of accuracies, if the unit is ``score`` or ``change``.
        high: Largest possible value, likewise; ``math.inf`` for none.
        higher_is_better: The direction; ``None`` if no value is better than another, as for a count of cases.
        source: Publication of the definition, and our deviation if any.
        needs: The evaluations that it needs, for people.
        unit: ``"score"`` or ``"change"`` of a score (printed as the measure of the trace), ``"fraction"`` (printed as
            percent), ``"iterations"``, ``"correlation"``, ``"rate"``, ``"count"`` or ``"number"``.
        reference: Whether ``function`` compares with a second trace, that of joint training on the same stream, and
            takes it as its second argument.
        comparable: Whether a better value alone means a better strategy. It does not if a strategy gets a good value by
            having nothing to lose or by forgetting everything; leaderboards then mark no best value.
        bounded: Whether it is defined only for scores in [0, 1].
    """

    name: str
    title: str
    function: Callable[..., float]
    formula: str
    low: float
    high: float
    higher_is_better: bool | None
    source: str
    needs: str
    unit: Literal["score", "change", "fraction", "iterations", "correlation", "rate", "count", "number"] = "fraction"
    reference: bool = False
    comparable: bool = True
    bounded: bool = False

    def under(self, measure: Measure) -> Metric:
        """Return the metric as people read it where scores have a measure: title, direction and range are its own."""
        if measure == ACCURACY or self.unit not in ("score", "change"):
            return self
        title = self.title.replace("AAA", f"Anytime {measure.short}").replace("ACC", measure.short)
        if self.unit == "change":
            wide = measure.factor * (measure.high - measure.low)
            low, high = (0.0 if self.low == 0 else -wide), wide
        else:
            low, high = sorted((measure.shown(measure.low), measure.shown(measure.high)))
        turned = self.unit == "score" and measure.lower_is_better and self.higher_is_better is not None
        direction = not self.higher_is_better if turned else self.higher_is_better
        return replace(self, title=title, low=low, high=high, higher_is_better=direction)

    def shown(self, value: float, measure: Measure = ACCURACY) -> float:
        """Return the number that people read for a value, without its unit: percent for accuracies and fractions."""
        if self.unit == "score":
            return measure.shown(value)
        return {"change": measure.factor, "fraction": 100.0}.get(self.unit, 1.0) * value

    def decimals(self, measure: Measure, *, percent: int) -> int:
        """Return the decimals of a printed value; ``percent`` are those of percentages, and of units of their own."""
        if self.unit in ("score", "change") and measure.unit != "%":
            return max(1, measure.decimals + percent - 2)
        return percent

    def in_percent(self, measure: Measure = ACCURACY) -> bool:
        """Return whether people read its values in percent."""
        return self.unit == "fraction" or (self.unit in ("score", "change") and measure.unit == "%")

    @property
    def range(self) -> str:
        """Return the range with the unit, if values have one of their own: ``1 to inf iterations``."""
        unit = "" if self.unit in ("fraction", "score", "change", "number") else f" {self.unit}"
        return f"{self.low:g} to {self.high:g}{unit}"

    @property
    def arrow(self) -> str:
        """Return the better direction, ``↑`` or ``↓``; empty if there is none."""
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]

    @property
    def better(self) -> str:
        """Return the better direction in words."""
        return {True: "higher is better", False: "lower is better", None: "none is better"}[self.higher_is_better]

    def __call__(self, trace: Trace, reference: Trace | None = None) -> Value:
        """Return the value for ``trace``, or NaN with the reason.

        Args:
            trace: The trace of a run.
            reference: The trace of joint training on the same stream; ignored by metrics that do not need it.
        """
        try:
            if self.bounded and not trace.measure.bounded:
                raise Undefined(f"it is defined for scores from 0 to 1, and {trace.measure.name} has other bounds")
            if not self.reference:
                return Value(float(self.function(trace)))
            if reference is None:
                raise Undefined("no joint reference run in these records; run cumulative (or joint) on the benchmark")
            return Value(float(self.function(trace, reference)))
        except Undefined as why:
            return Value(math.nan, str(why))
