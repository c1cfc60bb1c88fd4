"""Comparisons with a baseline: forward transfer over random initialisation, and intransigence below joint training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clbench.core.record import Kind, Trace
from clbench.metrics.accuracy_matrix import Scores, end_scores, visited
from clbench.metrics.metric import Metric, Undefined

OWN = 2
"""The value of ``trace.units`` for a task's own classes."""


def start_scores(trace: Trace) -> Scores:
    """Return the score of each task before training, (T,).

    Raises:
        Undefined: There is no evaluation at the start.
    """
    at = np.flatnonzero(trace.kind == Kind.START)
    if not len(at):
        raise Undefined("there is no evaluation before the first iteration")
    scores: NDArray[np.float64] = trace.score[at[0]]
    return scores


def solvable_before(trace: Trace) -> bool:
    """Return whether tasks can be solved before their visit: they share their classes, or only their own ever compete.

    Raises:
        Undefined: The trace does not contain the output units of its tasks.
    """
    if not trace.units.size:
        raise Undefined("the record is older than the entry that shows whether tasks share their classes; run it again")
    units = trace.units[visited(trace)]  # (n, C)
    own = units == OWN
    return bool((own == own[0]).all() or (own == (units > 0)).all())


def fwt(trace: Trace, *, shared_classes: bool | None = None) -> float:
    """Return the forward transfer: accuracy on a task just before its first visit, minus that of random initialisation.

    Tasks of the first experience do not count, since nothing came before them. The baseline is this run's own
    initialisation, a single draw; the mean over seeds averages over draws.

    Args:
        trace: The trace of a finished run with an evaluation at the start.
        shared_classes: Whether all tasks have the same classes (or heads of their own), so that a task can be solved
            before its visit. ``None`` takes it from the trace, which contains it except in old records.

    Raises:
        Undefined: Tasks have different classes under one head, or the trace does not contain it; or no task came later.

    Source: Lopez-Paz and Ranzato 2017, over the tasks first visited after the first experience.
    """
    scores = end_scores(trace)
    tasks = visited(trace)
    later = tasks[trace.first_visit[tasks] > 0]
    if not len(later):
        raise Undefined("every task was first visited in the first experience")
    if shared_classes is None:
        shared_classes = solvable_before(trace)
    if not shared_classes:
        raise Undefined(
            "class-incremental with a shared head: a task's classes are never predicted before its first visit"
        )
    gain = scores[trace.first_visit[later] - 1, later] - start_scores(trace)[later]
    if np.isnan(gain).any():
        raise Undefined(f"task {later[np.isnan(gain)][0]} was not evaluated before its first visit")
    return float(gain.mean())


def intransigence(trace: Trace, reference: Trace) -> float:
    """Return the intransigence: accuracy of joint training on a task, minus that of this run at the end of its first
    visit.

    Args:
        trace: The trace of a finished run.
        reference: The trace of ``cumulative`` on the same stream, which has seen all tasks up to that visit; or of
            ``joint``, with one experience, which has also seen later tasks and counts with its final accuracy.

    Raises:
        Undefined: Both traces are of one run, or of different streams.

    Source: Chaudhry et al. 2018, averaged over tasks.
    """
    if reference is trace:
        raise Undefined("this run is the reference")
    tasks = visited(trace)
    own, joint = end_scores(trace), end_scores(reference)
    if len(joint) == 1 and len(own) > 1:
        best = joint[0]
    elif np.array_equal(trace.present, reference.present):
        best = joint[np.minimum(trace.first_visit, len(joint) - 1), np.arange(trace.n_tasks)]
    else:
        raise Undefined("the reference visits its tasks in other experiences than this run")
    if best.shape != (trace.n_tasks,) or np.isnan(best[tasks]).any():
        raise Undefined("the reference run was not evaluated on all tasks of this run")
    return float((best[tasks] - own[trace.first_visit[tasks], tasks]).mean())


FWT = Metric(
    name="fwt",
    title="FWT",
    function=fwt,
    formula="mean over tasks i first visited in e > 0 of R[e−1, i] − accuracy on i at initialisation",
    low=-1,
    high=1,
    higher_is_better=True,
    source="Lopez-Paz and Ranzato 2017, over later tasks only; the baseline is the run's own initialisation",
    needs="evaluations at the start and at ends; streams whose tasks share their classes, or have heads of their own",
    unit="change",
)
INTRANSIGENCE = Metric(
    name="intransigence",
    title="Intransigence",
    function=intransigence,
    formula="mean over tasks i of R'[e, i] − R[e, i], e the first visit of i, R' of cumulative (else of joint's end)",
    low=-1,
    high=1,
    higher_is_better=False,
    source="Chaudhry et al. 2018, averaged over tasks",
    needs="evaluations at ends, and a finished run of cumulative or joint with the same benchmark and seed",
    unit="change",
    reference=True,
)
