"""Metrics of other read-outs: task-masked accuracy, accuracy per class, global and local forgetting.

They use two optional arrays of a trace: ``masked`` (K, T), the accuracy if only a task's own classes compete, and
``class_score`` (K, C), the accuracy of each output unit over the evaluated samples.
"""

from __future__ import annotations

import numpy as np

from clbench.core.record import Trace
from clbench.metrics.accuracy_matrix import Scores, at_ends, end_looks, end_scores, visited
from clbench.metrics.metric import Metric, Undefined


def masked_scores(trace: Trace) -> Scores:
    """Return the accuracy in each evaluation if only the task's own classes compete, (K, T), NaN if not evaluated.

    Raises:
        Undefined: The trace does not contain it, or the run stopped early.
    """
    end_looks(trace)
    if not trace.masked.size:
        raise Undefined("the trace holds no task-masked accuracy; set evaluation.masked to true")
    return trace.masked


def masked_acc(trace: Trace) -> float:
    """Return ACC if only a task's own classes compete: the information in the features, without the bias of the
    head."""
    return float(at_ends(trace, masked_scores(trace))[-1, visited(trace)].mean())


def class_end_scores(trace: Trace) -> Scores:
    """Return the accuracy of each output unit at the end of each experience, (E, C); NaN for units without samples.

    Raises:
        Undefined: The trace does not contain it, or the run stopped early.
    """
    ends = end_looks(trace)
    if not trace.class_score.size:
        raise Undefined("the trace holds no accuracy per class; set evaluation.classes to true")
    scores: Scores = trace.class_score[ends]
    return scores


def acc_class(trace: Trace) -> float:
    """Return the class-balanced accuracy: the mean over classes of their accuracy at the end of the stream."""
    final = class_end_scores(trace)[-1]
    if np.isnan(final).all():
        raise Undefined("no class was evaluated when the stream ended")
    return float(np.nanmean(final))


def _average_loss(trace: Trace, scores: Scores) -> float:
    """Return the mean loss on tasks since their first visit, over later experiences, weighted by samples."""
    if trace.n_experiences < 2:
        raise Undefined("a stream of one experience has no later one")
    experience = np.arange(1, trace.n_experiences)[:, None]
    old = trace.first_visit < experience  # (E-1, T)
    first = np.minimum(trace.first_visit, trace.n_experiences - 1)
    learned = scores[first, np.arange(trace.n_tasks)]  # (T,)
    lost = np.where(old, learned - scores[1:], 0.0)
    seen = ((trace.first_visit <= experience) * trace.rows).sum(axis=1)
    return float(((lost * trace.rows).sum(axis=1) / np.maximum(seen, 1)).mean())


def forgetting_global(trace: Trace) -> float:
    """Return the mean loss on old tasks since their first visit, over later experiences, if all classes compete."""
    return _average_loss(trace, end_scores(trace))


def forgetting_local(trace: Trace) -> float:
    """Return the same loss if only a task's own classes compete: loss of features, not confusion between tasks."""
    return _average_loss(trace, at_ends(trace, masked_scores(trace)))


MASKED_ACC = Metric(
    name="masked_acc",
    title="ACC (masked)",
    function=masked_acc,
    formula="mean over tasks i of R[last, i] with only the classes of i competing",
    low=0,
    high=1,
    higher_is_better=True,
    source="the task-incremental read-out of a class-incremental run, as in Buzzega et al. 2020",
    needs="evaluations at ends with task-masked accuracy",
    unit="score",
)
ACC_CLASS = Metric(
    name="acc_class",
    title="ACC (classes)",
    function=acc_class,
    formula="mean over output units with evaluation samples of their accuracy at the very end",
    low=0,
    high=1,
    higher_is_better=True,
    source="balanced accuracy (Brodersen et al. 2010), over all tasks of the benchmark",
    needs="evaluations at ends with accuracy per class",
    unit="score",
)
FORGETTING_GLOBAL = Metric(
    name="forgetting_global",
    title="Forgetting (global)",
    function=forgetting_global,
    formula="mean over e > 0 of the sum over old i of samples of i / samples seen · (R[first visit of i, i] − R[e, i])",
    low=-1,
    high=1,
    higher_is_better=False,
    source="Smith et al. 2023, with evaluation samples for sizes",
    needs="evaluations at ends",
    unit="change",
)
FORGETTING_LOCAL = Metric(
    name="forgetting_local",
    title="Forgetting (local)",
    function=forgetting_local,
    formula="forgetting_global of the accuracy when only a task's own classes compete",
    low=-1,
    high=1,
    higher_is_better=False,
    source="Smith et al. 2023, with evaluation samples for sizes",
    needs="evaluations at ends with task-masked accuracy",
    unit="change",
)
