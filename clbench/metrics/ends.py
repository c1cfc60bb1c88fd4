"""Metrics of the end-of-experience matrix R: ACC, average incremental accuracy, LA, BWT and two kinds of forgetting.

All of them average over tasks, not over rows. A task is counted from its first visit, so that they are defined on
streams where tasks return; where each task is visited once they are the published ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clbench.core.record import Kind, Trace
from clbench.core.types import Index
from clbench.metrics.metric import Metric, Undefined

Scores = NDArray[np.float64]


def end_looks(trace: Trace) -> Index:
    """Position of the last end look of each experience, (E,).

    The last one counts because the end of the stream may still change the learner.

    Raises:
        Undefined: An experience has none: the run stopped before it.
    """
    at = np.full(trace.n_experiences, -1)
    ends = np.flatnonzero(trace.kind == Kind.END)
    np.maximum.at(at, trace.experience[ends], ends)
    if (at < 0).any():
        first = int(np.argmax(at < 0))
        raise Undefined(f"experience {first} has no end look: the run stopped before it was over")
    return at


def end_scores(trace: Trace) -> Scores:
    """R: the score of each task at the last end look of each experience, (E, T), in [0, 1]; NaN where not looked at.

    Raises:
        Undefined: An experience has no end look, or the end look left out a task seen by then.
    """
    return at_ends(trace, trace.score)


def at_ends(trace: Trace, values: Scores) -> Scores:
    """The (E, T) of some (K, T) ``values`` at the looks of :func:`end_scores`, with its checks."""
    scores = values[end_looks(trace)]  # (E, T)
    seen = trace.first_visit <= np.arange(trace.n_experiences)[:, None]
    if not seen.any():
        raise Undefined("no task was visited")
    left_out = np.argwhere(np.isnan(scores) & seen)
    if len(left_out):
        experience, task = left_out[0]
        raise Undefined(f"task {task} was not looked at when experience {experience} ended")
    return scores


def visited(trace: Trace) -> Index:
    """The tasks that had rows in some experience, ascending."""
    return np.flatnonzero(trace.first_visit < trace.n_experiences)


def _old(trace: Trace) -> Index:
    """Tasks first visited before the last experience."""
    old = np.flatnonzero(trace.first_visit < trace.n_experiences - 1)
    if not len(old):
        raise Undefined("every task was first visited in the last experience")
    return old


def acc(trace: Trace) -> float:
    """Final average accuracy: the mean of the last end look over the tasks visited."""
    return float(end_scores(trace)[-1, visited(trace)].mean())


def aia(trace: Trace) -> float:
    """Average incremental accuracy: the mean over experiences of the mean accuracy on the tasks seen by then."""
    seen = trace.first_visit <= np.arange(trace.n_experiences)[:, None]  # (E, T)
    scores = np.where(seen, end_scores(trace), 0.0)
    begun = seen.any(axis=1)
    return float((scores[begun].sum(axis=1) / seen[begun].sum(axis=1)).mean())


def la(trace: Trace) -> float:
    """Learning accuracy: the mean over tasks of the accuracy when the first visit ended."""
    tasks = visited(trace)
    return float(end_scores(trace)[trace.first_visit[tasks], tasks].mean())


def bwt(trace: Trace) -> float:
    """Backward transfer: what happened to the old tasks between the end of their first visit and the end."""
    tasks = _old(trace)
    scores = end_scores(trace)
    return float((scores[-1, tasks] - scores[trace.first_visit[tasks], tasks]).mean())


def forgetting(trace: Trace) -> float:
    """How far the old tasks ended below the best they had at the end of an earlier experience."""
    tasks = _old(trace)
    scores = end_scores(trace)
    learned = trace.first_visit[tasks] <= np.arange(trace.n_experiences - 1)[:, None]  # (E-1, n)
    best = np.where(learned, scores[:-1, tasks], -np.inf).max(axis=0)
    return float((best - scores[-1, tasks]).mean())


def forgetting_last(trace: Trace) -> float:
    """How far the tasks that did not come back ended below what they were when their last visit ended.

    Tasks with rows in the last experience do not count. Where each task is visited once it is minus BWT.
    """
    scores = end_scores(trace)
    last = trace.n_experiences - 1 - trace.present[::-1].argmax(axis=0)  # (T,) experience of the last visit
    tasks = visited(trace)
    tasks = tasks[last[tasks] < trace.n_experiences - 1]
    if not len(tasks):
        raise Undefined("every task has rows in the last experience")
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
    needs="end looks",
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
    needs="end looks",
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
    needs="end looks",
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
    needs="end looks",
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
    needs="end looks",
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
    needs="end looks",
)
