"""What a metric is: a pure function of a trace, with its formula, range, direction and source beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from clbench.core.record import Trace


class Undefined(Exception):
    """A metric has no value on this trace; the message says why, in words for a leaderboard."""


@dataclass(frozen=True)
class Value:
    """What a metric gave: a number, or NaN with the reason why there is none."""

    value: float
    reason: str = ""

    @property
    def defined(self) -> bool:
        return not math.isnan(self.value)


@dataclass(frozen=True)
class Metric:
    """A number computed from a trace.

    Args:
        name: Canonical name, as in files: ``"wc_acc"``.
        title: Name for people: ``"WC-ACC"``.
        function: From a trace (and a reference, see there) to the value; raises :class:`Undefined` where there is none.
        formula: The definition in one line; R[e,i] is the accuracy on task i at the end of experience e.
        low: Smallest possible value.
        high: Largest possible value, ``math.inf`` for none.
        higher_is_better: The direction; ``None`` where no value is better than another, as of a count of cases.
        source: Who defined it, with our deviation if any.
        needs: The looks it is computed from, for people.
        unit: ``"fraction"`` (printed as percent), ``"iterations"``, ``"correlation"``, ``"rate"`` or ``"count"``.
        reference: Whether ``function`` compares with a second trace, that of joint training on the same stream, and
            takes it as its second argument.
        comparable: Whether the better of two values says by itself that a strategy is better. It does not where having
            nothing to lose, or forgetting everything, gives a good one; boards mark no best value then.
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
        """The direction in which better lies, ``↑`` or ``↓``; empty where there is none."""
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]

    @property
    def better(self) -> str:
        """The same in words."""
        return {True: "higher is better", False: "lower is better", None: "none is better"}[self.higher_is_better]

    def __call__(self, trace: Trace, reference: Trace | None = None) -> Value:
        """The value on ``trace``, or NaN with the reason.

        Args:
            trace: What was observed.
            reference: The trace of joint training on the same stream; ignored by metrics that need none.
        """
        try:
            if not self.reference:
                return Value(float(self.function(trace)))
            if reference is None:
                raise Undefined("no joint reference run in these records; run cumulative (or joint) on the benchmark")
            return Value(float(self.function(trace, reference)))
        except Undefined as why:
            return Value(math.nan, str(why))
