"""Metrics of the end-of-experience matrix R: ACC, average incremental accuracy, LA, BWT and two kinds of forgetting.

All of them average over tasks, not over samples. A task counts from its first visit, so that the metrics are defined
for streams with recurring tasks. If each task is visited once, they are the published metrics.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from clbench.core.record import Kind, Trace
from clbench.core.types import Index
from clbench.metrics.metric import Metric, Undefined
from clbench.metrics.once_per_trace import once_per_trace

Scores = NDArray[np.float64]


@once_per_trace
def end_looks(trace: Trace) -> Index:
    """Return the position of the last evaluation at the end of each experience, (E,).

    The last one counts, since the end of the stream may still change the learner.

    Raises:
        Undefined: An experience has none, since the run stopped early.
    """
    at = np.full(trace.n_experiences, -1)
    ends = np.flatnonzero(trace.kind == Kind.END)
    np.maximum.at(at, trace.experience[ends], ends)
    if (at < 0).any():
        first = int(np.argmax(at < 0))
        raise Undefined(f"experience {first} has no evaluation at its end: the run stopped before")
    return at


@once_per_trace
def end_scores(trace: Trace) -> Scores:
    """Return R: the score of each task at the end of each experience, (E, T), in [0, 1]; NaN if not evaluated.

    Raises:
        Undefined: An experience has no evaluation at its end, or that evaluation left out a task seen before.
    """
    return at_ends(trace, trace.score)


def at_ends(trace: Trace, values: Scores) -> Scores:
    """Select from ``values`` (K, T) those at the evaluations of :func:`end_scores`, (E, T), with the same checks."""
    scores: Scores = values[end_looks(trace)]  # (E, T)
    seen = trace.first_visit <= np.arange(trace.n_experiences)[:, None]
    if not seen.any():
        raise Undefined("no task was visited")
    left_out = np.argwhere(np.isnan(scores) & seen)
    if len(left_out):
        experience, task = left_out[0]
        raise Undefined(f"task {task} was not evaluated when experience {experience} ended")
    return scores


@once_per_trace
def visited(trace: Trace) -> Index:
    """Return the tasks that have samples in some experience, ascending."""
    return np.flatnonzero(trace.first_visit < trace.n_experiences)


def _old(trace: Trace) -> Index:
    """Return the tasks first visited before the last experience."""
    old = np.flatnonzero(trace.first_visit < trace.n_experiences - 1)
    if not len(old):
        raise Undefined("every task was first visited in the last experience")
    return old


def acc(trace: Trace) -> float:
    """Return the final average accuracy: the mean over visited tasks at the last end."""
    return float(end_scores(trace)[-1, visited(trace)].mean())


def mse(trace: Trace) -> float:
    """Return the final mean squared error: the mean of the last evaluation at an end over the tasks visited, in the
    units of the targets.

    Raises:
        Undefined: The family of tasks records no squared error.
    """
    end_looks(trace)
    if "mse" not in (trace.further.dtype.names or ()):
        raise Undefined(
            f"squared errors are recorded where numbers are predicted; the score here is {trace.measure.name}"
        )
    return float(at_ends(trace, trace.further["mse"])[-1, visited(trace)].mean())


def aia(trace: Trace) -> float:
    """Return the average incremental accuracy: the mean over experiences of the mean accuracy on the tasks seen so
    far."""
    seen = trace.first_visit <= np.arange(trace.n_experiences)[:, None]  # (E, T)
    scores = np.where(seen, end_scores(trace), 0.0)
    begun = seen.any(axis=1)
    return float((scores[begun].sum(axis=1) / seen[begun].sum(axis=1)).mean())


def la(trace: Trace) -> float:
    """Return the learning accuracy: the mean over tasks of the accuracy at the end of the first visit."""
    tasks = visited(trace)
    return float(end_scores(trace)[trace.first_visit[tasks], tasks].mean())


def bwt(trace: Trace) -> float:
    """Return the backward transfer: the change on old tasks from the end of their first visit to the end of the
    stream."""
    tasks = _old(trace)
    scores = end_scores(trace)
    return float((scores[-1, tasks] - scores[trace.first_visit[tasks], tasks]).mean())


def forgetting(trace: Trace) -> float:
    """Return the forgetting: best accuracy on old tasks at the end of an earlier experience, minus the final
    accuracy."""
    tasks = _old(trace)
    scores = end_scores(trace)
    learned = trace.first_visit[tasks] <= np.arange(trace.n_experiences - 1)[:, None]  # (E-1, n)
    best = np.where(learned, scores[:-1, tasks], -np.inf).max(axis=0)
    return float((best - scores[-1, tasks]).mean())


def forgetting_last(trace: Trace) -> float:
    """Return the forgetting since last visits: accuracy at the end of a task's last visit, minus the final accuracy.

    Tasks with samples in the last experience do not count. If each task is visited once, the value is minus BWT.
    """
    scores = end_scores(trace)
    last = trace.n_experiences - 1 - trace.present[::-1].argmax(axis=0)  # (T,) experience of the last visit
    tasks = visited(trace)
    tasks = tasks[last[tasks] < trace.n_experiences - 1]
    if not len(tasks):
        raise Undefined("every task has samples in the last experience")
    return float((scores[last[tasks], tasks] - scores[-1, tasks]).mean())


ACC = Metric(
    name="acc",
    title="ACC",
    function=acc,
    formula="mean over tasks i of R[last, i]",
    low=0,
    high=1,
    higher_is_better=True,
    source="Lopez-Paz and Ranzato 2017; weighted by task",
    needs="evaluations at ends",
    unit="score",
)
MSE = Metric(
    name="mse",
    title="MSE",
    function=mse,
    formula="mean over tasks of the mean over samples and target columns of (prediction − target)², at the last end",
    low=0,
    high=math.inf,
    higher_is_better=False,
    source="textbooks; in squared units of the targets, mean over columns",
    needs="evaluations at ends, of regression",
    unit="number",
)
AIA = Metric(
    name="aia",
    title="AIA",
    function=aia,
    formula="mean over experiences e of the mean over tasks i seen by e of R[e, i]",
    low=0,
    high=1,
    higher_is_better=True,
    source="Rebuffi et al. 2017 (average incremental accuracy)",
    needs="evaluations at ends",
    unit="score",
)
LA = Metric(
    name="la",
    title="LA",
    function=la,
    formula="mean over tasks i of R[first visit of i, i]",
    low=0,
    high=1,
    higher_is_better=True,
    source="Riemer et al. 2019; under recurrence the end of the first visit",
    needs="evaluations at ends",
    unit="score",
    comparable=False,
)
BWT = Metric(
    name="bwt",
    title="BWT",
    function=bwt,
    formula="mean over old tasks i of R[last, i] − R[first visit of i, i]",
    low=-1,
    high=1,
    higher_is_better=True,
    source="Lopez-Paz and Ranzato 2017, over the tasks first visited before the last experience; holds gap_expansion",
    needs="evaluations at ends",
    unit="change",
)
FORGETTING = Metric(
    name="forgetting",
    title="Forgetting",
    function=forgetting,
    formula="mean over old tasks i of max over e < last of R[e, i] − R[last, i]",
    low=-1,
    high=1,
    higher_is_better=False,
    source="Chaudhry et al. 2018; e from the first visit of i on, so it can be negative; holds gap_expansion",
    needs="evaluations at ends",
    unit="change",
)
FORGETTING_LAST = Metric(
    name="forgetting_last",
    title="Forgetting (last visit)",
    function=forgetting_last,
    formula="mean over tasks i absent from the last experience of R[last visit of i, i] − R[last, i]",
    low=-1,
    high=1,
    higher_is_better=False,
    source="De Lange et al. 2023 (FORG): from the end of a task's own training, no maximum; here of its last visit",
    needs="evaluations at ends",
    unit="change",
)
