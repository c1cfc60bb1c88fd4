"""Metrics: pure functions of a trace, each with formula, range, direction and source.

``compute(trace)`` gives all of them; each is usable on its own (``acc(trace)``, ``wf(50)(trace)``).
"""

from __future__ import annotations

from collections.abc import Iterable

from clbench.metrics.core import Metric, Undefined, Value
from clbench.metrics.ends import acc, aia, bwt, end_scores, forgetting, la
from clbench.metrics.gap import Switches, gap_depth, recovery, recovery_censored, switches
from clbench.metrics.looks import aaa, absent_minima, min_acc, wc_acc, wf, wp
from clbench.parameters import Refused
from clbench.registry import Registry
from clbench.types import Trace

__all__ = [
    "CANONICAL",
    "METRICS",
    "Metric",
    "Switches",
    "Undefined",
    "Value",
    "aaa",
    "absent_minima",
    "acc",
    "aia",
    "bwt",
    "compute",
    "end_scores",
    "forgetting",
    "gap_depth",
    "get",
    "la",
    "metric_names",
    "min_acc",
    "recovery",
    "recovery_censored",
    "switches",
    "wc_acc",
    "wf",
    "wp",
]

_HERE = "clbench.metrics."

METRICS = Registry(
    "metric",
    "clbench.metrics",
    {
        "acc": (_HERE + "ends:ACC", "final average accuracy over tasks"),
        "aaa": (_HERE + "looks:AAA", "anytime accuracy: mean over step looks of the accuracy on tasks seen so far"),
        "min_acc": (_HERE + "looks:MIN_ACC", "mean over tasks of the lowest accuracy while absent"),
        "wc_acc": (
            _HERE + "looks:WC_ACC",
            "worst-case accuracy: present tasks at the end, absent ones at their worst",
        ),
        "wf10": (_HERE + "looks:WF10", "windowed forgetting: largest fall within 10 looks"),
        "wf100": (_HERE + "looks:WF100", "windowed forgetting: largest fall within 100 looks"),
        "wp10": (_HERE + "looks:WP10", "windowed plasticity: largest rise within 10 looks"),
        "wp100": (_HERE + "looks:WP100", "windowed plasticity: largest rise within 100 looks"),
        "gap_depth": (_HERE + "gap:GAP_DEPTH", "mean fall of old tasks after a switch, at its deepest"),
        "recovery": (_HERE + "gap:RECOVERY", "mean iterations to regain 90 % of the fall (a lower bound)"),
        "recovery_censored": (_HERE + "gap:RECOVERY_CENSORED", "fraction of falls not regained within the experience"),
        "forgetting": (_HERE + "ends:FORGETTING", "best earlier accuracy minus final accuracy, over old tasks"),
        "bwt": (_HERE + "ends:BWT", "backward transfer: final accuracy minus that after the first visit"),
        "la": (_HERE + "ends:LA", "learning accuracy: mean accuracy when first visits end"),
        "aia": (_HERE + "ends:AIA", "average incremental accuracy over ends of experiences"),
    },
)

CANONICAL = (
    "acc",
    "aaa",
    "min_acc",
    "wc_acc",
    "wf10",
    "wf100",
    "wp10",
    "wp100",
    "gap_depth",
    "recovery",
    "recovery_censored",
    "forgetting",
    "bwt",
    "la",
    "aia",
)
"""The built-in metrics in the order in which files and boards list them."""


def metric_names() -> list[str]:
    """All registered metrics: the canonical ones in their order, then those of plugins by name."""
    return [*CANONICAL, *(entry.name for entry in METRICS if entry.name not in CANONICAL)]


def get(name: str) -> Metric:
    """The metric called ``name``.

    Raises:
        Refused: There is none, or what a plugin registered under the name is not a metric.
    """
    metric = METRICS.get(name)
    if not isinstance(metric, Metric):
        raise Refused(
            f"metric {name!r} is registered as {type(metric).__name__}; it has to be a clbench.metrics.Metric"
        )
    return metric


def compute(trace: Trace, names: Iterable[str] | None = None) -> dict[str, Value]:
    """Metrics of a trace by name.

    Args:
        trace: What was observed.
        names: Which; all registered ones by default.

    Returns:
        name -> value, NaN with the reason where a metric is undefined on this trace.

    Raises:
        Refused: A name that does not exist.
    """
    return {name: get(name)(trace) for name in (metric_names() if names is None else names)}
