"""The stability gap: how far training makes accuracy on old tasks fall at a switch, for how long, and how much is not
regained; and, apart from it, the effect of new outputs alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from clbench.core.record import Trace
from clbench.core.types import Mask
from clbench.metrics.accuracy_matrix import Scores, end_scores
from clbench.metrics.metric import Metric, Undefined
from clbench.metrics.switches import Since, Switches, before_switches, old_pairs, switches

__all__ = ["Switches", "switches"]


def gap_depth(trace: Trace, *, since: Since = "switch") -> float:
    """Return the mean depth of the stability gap over pairs of an old task and an experience without it."""
    return float(switches(trace, since=since).depth.mean())


def gap_expansion(trace: Trace) -> float:
    """Return the mean loss over the same pairs before any step, when the outputs of the experience begin to compete.

    If the data drifts at the switch, the effect of the drift is included.

    Raises:
        Undefined: No task was ever absent, or the value cannot be determined; see
            :func:`clbench.metrics.switches.before_switches`.
    """
    old = old_pairs(trace)
    ended = end_scores(trace)[np.maximum(np.arange(trace.n_experiences) - 1, 0)]
    return float((ended - trace.score[before_switches(trace)])[old].mean())


def _something_to_lose(trace: Trace) -> tuple[Switches, Mask]:
    found = switches(trace)
    return found, found.above_chance


def gap_depth_relative(trace: Trace) -> float:
    """Return the mean depth as a share of the accuracy that can be lost, over pairs with accuracy above chance.

    Raises:
        Undefined: No old task was above chance at a switch, or scores have no chance level, or the trace does not
            contain it.
    """
    found, counts = _something_to_lose(trace)
    if not counts.any():
        raise Undefined("no old task was above chance by two standard errors when an experience began")
    return float((found.depth[counts] / found.before[counts]).mean())


def gap_pairs(trace: Trace) -> float:
    """Return the number of pairs with accuracy above chance, which :func:`gap_depth_relative` averages."""
    return float(_something_to_lose(trace)[1].sum())


def gap_residual(trace: Trace, *, since: Since = "switch") -> float:
    """Return the mean loss over the same pairs that remains at the end of the experience; negative after gains."""
    return float(switches(trace, since=since).residual.mean())


def gap_transient(trace: Trace, *, since: Since = "switch") -> float:
    """Return the mean part of the depth over the same pairs that is regained by the end of the experience."""
    return float(switches(trace, since=since).transient.mean())


def gap_area(trace: Trace, *, since: Since = "switch") -> float:
    """Return the mean accuracy missing below that before the first step, over the same pairs and the experience."""
    return float(switches(trace, since=since).area.mean())


def _fallen(trace: Trace, level: float, since: Since) -> tuple[Scores, Mask]:
    found = switches(trace, level=level, since=since)
    fell = found.fell if since == "switch" else found.depth > 0
    if not fell.any():
        more = " by more than two standard errors" if since == "switch" else ""
        raise Undefined(f"accuracy on old tasks never fell{more} after a switch")
    return found.recovery[fell], found.censored[fell]


def recovery(trace: Trace, *, level: float = 0.9, since: Since = "switch") -> float:
    """Return the mean number of iterations to regain ``level`` of the depth, over pairs that fell by two standard
    errors.

    The value is a lower bound: a pair that did not recover counts with the length of its experience; see
    ``recovery_censored``. With ``since="end"`` every fall counts, however small.
    """
    return float(_fallen(trace, level, since)[0].mean())


def recovery_censored(trace: Trace, *, level: float = 0.9, since: Since = "switch") -> float:
    """Return the fraction of the same pairs that had not regained ``level`` of the depth at the end of the
    experience."""
    return float(_fallen(trace, level, since)[1].mean())


_OURS = "our definition, after De Lange et al. 2023 and Hess et al. 2023"
_NEEDS = "evaluations at switches, after steps and at ends"


def _gap(name: str, title: str, function: Callable[[Trace], float], formula: str, *, low: float = 0) -> Metric:
    return Metric(
        name=name,
        title=title,
        function=function,
        formula=f"mean over old tasks i absent in experience k of {formula}",
        low=low,
        high=1,
        higher_is_better=False,
        source=_OURS,
        needs=_NEEDS,
        unit="change",
        comparable=False,
    )


def _recovery(name: str, titles: tuple[str, str], level: float) -> tuple[Metric, Metric]:
    """Return two metrics: iterations until ``level`` of the depth is regained, and the fraction of pairs without
    recovery."""
    back = f"{100 * level:g} % of the depth"
    iterations = Metric(
        name=name,
        title=titles[0],
        function=partial(recovery, level=level),
        formula=f"mean iterations until {back} is regained, over falls of more than two standard errors; unrecovered "
        "ones count as the experience's length",
        low=0,
        high=math.inf,
        higher_is_better=False,
        source=_OURS + "; a lower bound where some did not recover",
        needs=_NEEDS,
        unit="iterations",
        comparable=False,
    )
    censored = Metric(
        name=f"{name}_censored",
        title=titles[1],
        function=partial(recovery_censored, level=level),
        formula=f"fraction of the same falls of which {back} was not regained when the experience ended",
        low=0,
        high=1,
        higher_is_better=False,
        source=_OURS,
        needs=_NEEDS,
        comparable=False,
    )
    return iterations, censored


GAP_DEPTH = _gap("gap_depth", "Gap depth", gap_depth, "max(0, S[k, i] − min of A[i] during k), S at the switch into k")
GAP_EXPANSION = _gap("gap_expansion", "Gap expansion", gap_expansion, "R[k−1, i] − S[k, i], S at the switch", low=-1)
GAP_RESIDUAL = _gap("gap_residual", "Gap residual", gap_residual, "S[k, i] − R[k, i], S at the switch into k", low=-1)
GAP_TRANSIENT = _gap("gap_transient", "Gap transient", gap_transient, "depth − max(0, residual)")
GAP_AREA = _gap("gap_area", "Gap area", gap_area, "the mean over k's iterations of max(0, S[k, i] − A[i])")
GAP_DEPTH_RELATIVE = replace(
    _gap("gap_depth_relative", "Gap depth (relative)", gap_depth_relative, "depth / S[k, i]"),
    formula="mean over the pairs whose S[k, i] is above chance by two standard errors of depth / S[k, i]",
    unit="fraction",
    comparable=True,
)
GAP_PAIRS = replace(
    _gap("gap_pairs", "Gap pairs", gap_pairs, ""),
    formula="number of pairs of an old task i and an experience k with S[k, i] above chance by two standard errors",
    high=math.inf,
    higher_is_better=None,
    unit="count",
)
RECOVERY, RECOVERY_CENSORED = _recovery("recovery", ("Recovery", "Unrecovered"), 0.9)
RECOVERY50, RECOVERY50_CENSORED = _recovery("recovery50", ("Recovery (half)", "Unrecovered (half)"), 0.5)

SINCE_SWITCH = ("gap_expansion", "gap_depth_relative", "gap_pairs")
"""Metrics that need evaluations at switches."""


def _first_version(metric: Metric, function: Callable[[Trace], float], formula: str) -> Metric:
    """Return a metric under its first definition, from before evaluations at switches existed."""
    return replace(
        metric,
        name=f"{metric.name}@1",
        title=f"{metric.title}@1",
        function=function,
        formula=formula,
        source=_OURS + "; as published before evaluations at switches existed: it includes the effect of new outputs",
        needs="evaluations after steps and at ends",
    )


def _end(function: Callable[..., float], **settings: float) -> Callable[[Trace], float]:
    return partial(function, since="end", **settings)


_OVER = "mean over old tasks i absent in experience k of "
_UNRECOVERED = "fraction of the pairs that fell which had not regained {} % of the depth when the experience ended"
GAP_DEPTH_1 = _first_version(GAP_DEPTH, _end(gap_depth), _OVER + "max(0, R[k−1, i] − min of A[i] during k)")
GAP_RESIDUAL_1 = _first_version(GAP_RESIDUAL, _end(gap_residual), _OVER + "R[k−1, i] − R[k, i]")
GAP_TRANSIENT_1 = _first_version(GAP_TRANSIENT, _end(gap_transient), _OVER + "depth@1 − max(0, residual@1)")
GAP_AREA_1 = _first_version(
    GAP_AREA, _end(gap_area), _OVER + "the mean over k's iterations of max(0, R[k−1, i] − A[i])"
)
_BACK = "mean iterations from the switch until {} % of the depth@1 is regained; unrecovered ones count as k's length"
RECOVERY_1 = _first_version(RECOVERY, _end(recovery), _BACK.format(90))
RECOVERY_CENSORED_1 = _first_version(RECOVERY_CENSORED, _end(recovery_censored), _UNRECOVERED.format(90))
RECOVERY50_1 = _first_version(RECOVERY50, _end(recovery, level=0.5), _BACK.format(50))
RECOVERY50_CENSORED_1 = _first_version(RECOVERY50_CENSORED, _end(recovery_censored, level=0.5), _UNRECOVERED.format(50))
