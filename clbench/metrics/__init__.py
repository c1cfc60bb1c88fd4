"""Metrics: pure functions of a trace, each with formula, range, direction and source.

``compute(trace)`` computes all of them. Each can be used on its own, such as ``acc(trace)`` or ``wf(50)(trace)``. The
tables behind the numbers are functions too: ``switches``, ``by_lag``, ``first_visits``, ``class_end_scores``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial

from clbench.core.errors import Refused
from clbench.core.record import Trace
from clbench.core.registry import Registry
from clbench.metrics.accumulation import acc_last, accumulation, all_accuracy
from clbench.metrics.accuracy_matrix import acc, aia, bwt, end_scores, forgetting, forgetting_last, la, mse
from clbench.metrics.anytime import aaa, absent_minima, min_acc, wc_acc
from clbench.metrics.learning_speed import (
    FirstVisits,
    facilitation,
    facilitation_at,
    facilitation_censored,
    first_visits,
    lca,
    learning_curves,
)
from clbench.metrics.masked_and_per_class import (
    acc_class,
    class_end_scores,
    forgetting_global,
    forgetting_local,
    masked_acc,
)
from clbench.metrics.metric import Metric, Undefined, Value
from clbench.metrics.plasticity import reading_at_ends
from clbench.metrics.prediction_metrics import top
from clbench.metrics.retention import ByLag, Law, Retention, acc_absent, acc_present, by_lag, lags, retention
from clbench.metrics.sample_weighted import a_auc, acc_seen, aia_seen, seen_accuracy
from clbench.metrics.stability_gap import (
    gap_area,
    gap_depth,
    gap_depth_relative,
    gap_expansion,
    gap_pairs,
    gap_residual,
    gap_transient,
    recovery,
    recovery_censored,
)
from clbench.metrics.switches import Switches, measured_from_switches, switches
from clbench.metrics.transfer import fwt, intransigence
from clbench.metrics.windows import wf, wp

__all__ = [
    "CANONICAL",
    "COLUMNS",
    "FAMILIES",
    "METRICS",
    "ByLag",
    "FirstVisits",
    "Law",
    "Metric",
    "Retention",
    "Switches",
    "Undefined",
    "Value",
    "a_auc",
    "aaa",
    "absent_minima",
    "acc",
    "acc_absent",
    "acc_class",
    "acc_last",
    "acc_present",
    "acc_seen",
    "accumulation",
    "aia",
    "aia_seen",
    "all_accuracy",
    "board_names",
    "bwt",
    "by_lag",
    "class_end_scores",
    "compute",
    "end_scores",
    "facilitation",
    "facilitation_at",
    "facilitation_censored",
    "first_visits",
    "forgetting",
    "forgetting_global",
    "forgetting_last",
    "forgetting_local",
    "fwt",
    "gap_area",
    "gap_depth",
    "gap_depth_relative",
    "gap_expansion",
    "gap_pairs",
    "gap_residual",
    "gap_transient",
    "get",
    "intransigence",
    "la",
    "lags",
    "lca",
    "learning_curves",
    "masked_acc",
    "measured_from_switches",
    "metric_names",
    "min_acc",
    "mse",
    "reading_at_ends",
    "recovery",
    "recovery_censored",
    "retention",
    "seen_accuracy",
    "split_number",
    "switches",
    "top",
    "wc_acc",
    "wf",
    "wp",
]

_HERE = "clbench.metrics."

_BOARD = {
    "acc": (_HERE + "accuracy_matrix:ACC", "final average accuracy over tasks"),
    "aaa": (_HERE + "anytime:AAA", "average anytime accuracy on the tasks seen so far, over evaluations after steps"),
    "min_acc": (_HERE + "anytime:MIN_ACC", "lowest accuracy on a task while absent, mean over tasks"),
    "wc_acc": (_HERE + "anytime:WC_ACC", "worst-case accuracy: present tasks at the end, absent tasks at their lowest"),
    "wf10": (_HERE + "windows:WF10", "windowed forgetting: largest fall within 10 evaluations"),
    "wf100": (_HERE + "windows:WF100", "windowed forgetting: largest fall within 100 evaluations"),
    "wp10": (_HERE + "windows:WP10", "windowed plasticity: largest rise within 10 evaluations"),
    "wp100": (_HERE + "windows:WP100", "windowed plasticity: largest rise within 100 evaluations"),
    "gap_depth": (
        _HERE + "stability_gap:GAP_DEPTH",
        "largest fall of accuracy on old tasks during training after a switch, mean over tasks",
    ),
    "gap_depth_relative": (
        _HERE + "stability_gap:GAP_DEPTH_RELATIVE",
        "gap depth as a share of the accuracy before, over old tasks above chance",
    ),
    "gap_pairs": (
        _HERE + "stability_gap:GAP_PAIRS",
        "pairs of switch and old task above chance, over which the relative depth averages",
    ),
    "gap_expansion": (
        _HERE + "stability_gap:GAP_EXPANSION",
        "fall of accuracy on old tasks when new outputs are added, before any training",
    ),
    "recovery": (_HERE + "stability_gap:RECOVERY", "mean iterations to regain 90 % of the fall (a lower bound)"),
    "recovery_censored": (
        _HERE + "stability_gap:RECOVERY_CENSORED",
        "fraction of falls not regained within the experience",
    ),
    "forgetting": (_HERE + "accuracy_matrix:FORGETTING", "best earlier accuracy minus final accuracy, over old tasks"),
    "bwt": (_HERE + "accuracy_matrix:BWT", "backward transfer: final accuracy minus that after the first visit"),
    "la": (_HERE + "accuracy_matrix:LA", "learning accuracy: mean accuracy at the ends of first visits"),
    "aia": (_HERE + "accuracy_matrix:AIA", "average incremental accuracy over ends of experiences"),
}
_ON_DEMAND = {
    "acc_seen": (_HERE + "sample_weighted:ACC_SEEN", "final accuracy over all samples of the tasks seen"),
    "aia_seen": (
        _HERE + "sample_weighted:AIA_SEEN",
        "accuracy over all samples of the tasks seen, mean over ends of experiences",
    ),
    "a_auc": (
        _HERE + "sample_weighted:A_AUC",
        "area under the curve of accuracy on exposed classes over samples (i-Blurry)",
    ),
    "acc_class": (_HERE + "masked_and_per_class:ACC_CLASS", "class-balanced final accuracy"),
    "masked_acc": (_HERE + "masked_and_per_class:MASKED_ACC", "ACC when only a task's own classes compete"),
    "acc_present": (_HERE + "retention:ACC_PRESENT", "mean accuracy on present tasks at the ends of experiences"),
    "acc_absent": (
        _HERE + "retention:ACC_ABSENT",
        "mean accuracy on absent earlier tasks at the ends of experiences",
    ),
    "retention_power_first": (
        _HERE + "retention:RETENTION_POWER_FIRST",
        "exponent of the power law of accuracy by time since first introduction",
    ),
    "retention_power_last": (
        _HERE + "retention:RETENTION_POWER_LAST",
        "exponent of the power law of accuracy by time since the last visit",
    ),
    "retention_exponential_first": (
        _HERE + "retention:RETENTION_EXPONENTIAL_FIRST",
        "rate of the exponential of accuracy by time since first introduction",
    ),
    "retention_exponential_last": (
        _HERE + "retention:RETENTION_EXPONENTIAL_LAST",
        "rate of the exponential of accuracy by time since the last visit",
    ),
    "acc_last20": (_HERE + "accumulation:ACC_LAST20", "accuracy on all tasks, mean over the last 20 experiences"),
    "accumulation": (_HERE + "accumulation:ACCUMULATION", "gain of accuracy on all tasks per experience"),
    "accumulation_log": (
        _HERE + "accumulation:ACCUMULATION_LOG",
        "gain of accuracy on all tasks per e-fold of experiences",
    ),
    "lca10": (_HERE + "learning_speed:LCA10", "learning curve area over the first 10 batches of a task"),
    "facilitation": (_HERE + "learning_speed:FACILITATION", "whether later tasks reach 90 % accuracy sooner"),
    "facilitation_censored": (
        _HERE + "learning_speed:FACILITATION_CENSORED",
        "fraction of tasks that never reach 90 % accuracy",
    ),
    "fwt": (_HERE + "transfer:FWT", "forward transfer: accuracy before the first visit, above initialisation"),
    "intransigence": (_HERE + "transfer:INTRANSIGENCE", "accuracy of joint training on a task, minus LA"),
    "mse": (_HERE + "accuracy_matrix:MSE", "final mean squared error over tasks that predict numbers"),
    "forgetting_last": (
        _HERE + "accuracy_matrix:FORGETTING_LAST",
        "accuracy at the end of the last visit, minus final accuracy",
    ),
    "forgetting_global": (
        _HERE + "masked_and_per_class:FORGETTING_GLOBAL",
        "loss of accuracy since first visits, weighted by samples, over experiences",
    ),
    "forgetting_local": (
        _HERE + "masked_and_per_class:FORGETTING_LOCAL",
        "loss of accuracy since first visits when only a task's own classes compete",
    ),
    "fau": (_HERE + "plasticity:FAU", "fraction of active units at the end, from readings"),
    "fau_slope": (_HERE + "plasticity:FAU_SLOPE", "change of the fraction of active units per experience"),
    "dormant": (_HERE + "plasticity:DORMANT", "share of dormant units at the end, from readings"),
    "dormant_slope": (_HERE + "plasticity:DORMANT_SLOPE", "change of the share of dormant units per experience"),
    "rank": (_HERE + "plasticity:RANK", "effective rank of the features at the end, from readings"),
    "rank_slope": (_HERE + "plasticity:RANK_SLOPE", "change of the effective rank of the features per experience"),
    "generalisation_error": (
        _HERE + "binary_perceptron:GENERALISATION_ERROR",
        "share of random patterns on which student and teacher differ, at the end, from the reading overlap",
    ),
    "analytic_error": (
        _HERE + "binary_perceptron:ANALYTIC_ERROR",
        "that error of a typical binary perceptron which learned each task alone, by theory",
    ),
    "top5": (_HERE + "prediction_metrics:TOP5", "top-5 accuracy at the end, from kept predictions"),
    "gap_residual": (
        _HERE + "stability_gap:GAP_RESIDUAL",
        "mean loss of accuracy on old tasks from a switch to the next end",
    ),
    "gap_transient": (_HERE + "stability_gap:GAP_TRANSIENT", "the part of the gap depth that is regained by the end"),
    "gap_area": (_HERE + "stability_gap:GAP_AREA", "mean accuracy missing relative to the switch"),
    "recovery50": (_HERE + "stability_gap:RECOVERY50", "mean iterations to regain half of the fall (a lower bound)"),
    "recovery50_censored": (
        _HERE + "stability_gap:RECOVERY50_CENSORED",
        "fraction of falls of which half is not regained",
    ),
    "gap_depth@1": (_HERE + "stability_gap:GAP_DEPTH_1", "gap_depth from the end before a switch, as published"),
    "gap_residual@1": (_HERE + "stability_gap:GAP_RESIDUAL_1", "gap_residual from the end before a switch"),
    "gap_transient@1": (_HERE + "stability_gap:GAP_TRANSIENT_1", "gap_transient from the end before a switch"),
    "gap_area@1": (_HERE + "stability_gap:GAP_AREA_1", "gap_area from the end before a switch"),
    "recovery@1": (_HERE + "stability_gap:RECOVERY_1", "recovery from the end before a switch, over all falls"),
    "recovery_censored@1": (
        _HERE + "stability_gap:RECOVERY_CENSORED_1",
        "recovery_censored from the end before a switch",
    ),
    "recovery50@1": (_HERE + "stability_gap:RECOVERY50_1", "recovery50 from the end before a switch, over all falls"),
    "recovery50_censored@1": (
        _HERE + "stability_gap:RECOVERY50_CENSORED_1",
        "recovery50_censored from the end before a switch",
    ),
}

METRICS = Registry("metric", "clbench.metrics", {**_BOARD, **_ON_DEMAND})

FAMILIES: dict[str, Callable[[int], Metric]] = {
    "wf": wf,
    "wp": wp,
    "lca": lca,
    "wf_initial": partial(wf, initial=True),
    "wp_initial": partial(wp, initial=True),
    "lca_initial": partial(lca, initial=True),
    "acc_last": acc_last,
    "facilitation": facilitation_at,
    "top": top,
}
"""Names to which a number is appended, such as ``wf50``, ``lca3`` and ``facilitation80`` (percent)."""

COLUMNS = tuple(_BOARD)
"""The built-in metrics of a leaderboard in their order, unless others are requested."""

EARLIER = {name: f"{name}@1" for name in _BOARD if f"{name}@1" in _ON_DEMAND}
"""The metrics of :data:`COLUMNS` that older records have only under their first definition."""

CANONICAL = (*_BOARD, *_ON_DEMAND)
"""All built-in metrics, in the order of listings."""


def metric_names() -> list[str]:
    """Return the names of all metrics: the built-in ones in their order, then those of plugins by name."""
    return [*CANONICAL, *_plugins()]


def board_names() -> list[str]:
    """Return the metrics of a leaderboard without a request: the usual columns, then those of plugins by name."""
    return [*COLUMNS, *_plugins()]


def _plugins() -> list[str]:
    return [entry.name for entry in METRICS if entry.name not in CANONICAL]


def get(name: str) -> Metric:
    """Return the metric called ``name``: a registered one, or one of :data:`FAMILIES` with its number.

    Raises:
        Refused: The metric does not exist, its number is invalid, or a plugin registered something else.
    """
    family, number = split_number(name)
    if name not in METRICS and family in FAMILIES:
        return FAMILIES[family](number)
    metric = METRICS.get(name)
    if not isinstance(metric, Metric):
        raise Refused(
            f"metric {name!r} is registered as {type(metric).__name__}; it has to be a clbench.metrics.Metric"
        )
    return metric


def split_number(name: str) -> tuple[str, int]:
    """Split ``wf50`` into ``("wf", 50)``; return ``("", 0)`` for a name without an integer at its end."""
    found = re.fullmatch(r"([a-z_]+)(0|[1-9][0-9]{0,8})", name)
    return (found[1], int(found[2])) if found else ("", 0)


def compute(trace: Trace, names: Iterable[str] | None = None, *, reference: Trace | None = None) -> dict[str, Value]:
    """Compute metrics of a trace by name.

    Args:
        trace: The trace of a run.
        names: Names of the metrics; by default all registered ones.
        reference: The trace of joint training on the same stream, for metrics that compare with it.

    Returns:
        name -> value; NaN with the reason if a metric is undefined for this trace.

    Raises:
        Refused: A metric does not exist.
    """
    return {name: get(name)(trace, reference) for name in (metric_names() if names is None else names)}
