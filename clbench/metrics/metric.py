"""The type of a metric: a pure function of a trace, with its formula, range, direction and source."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

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
        low: Smallest possible value.
        high: Largest possible value, ``math.inf`` for none.
        higher_is_better: The direction; ``None`` if no value is better than another, as for a count of cases.
        source: Publication of the definition, and our deviation if any.
        needs: The evaluations that it needs, for people.
        unit: ``"fraction"`` (printed as percent), ``"iterations"``, ``"correlation"``, ``"rate"`` or ``"count"``.
        reference: Whether ``function`` compares with a second trace, that of joint training on the same stream, and
            takes it as its second argument.
        comparable: Whether a better value alone means a better strategy. It does not if a strategy gets a good value by
            having nothing to lose or by forgetting everything; leaderboards then mark no best value.
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
    unit: Literal["fraction", "iterations", "correlation", "rate", "count"] = "fraction"
    reference: bool = False
    comparable: bool = True

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
            if not self.reference:
                return Value(float(self.function(trace)))
            if reference is None:
                raise Undefined("no joint reference run in these records; run cumulative (or joint) on the benchmark")
            return Value(float(self.function(trace, reference)))
        except Undefined as why:
            return Value(math.nan, str(why))
