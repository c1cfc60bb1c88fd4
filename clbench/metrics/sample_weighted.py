"""Accuracy on all tasks seen so far with equal weight for every evaluation sample: A_AUC and seen-class accuracy.

ACC, AIA and AAA give every task the same weight. These metrics weight a task by its number of evaluation samples. They
agree if all tasks have equally many.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clbench.core.record import Trace
from clbench.core.types import Mask
from clbench.metrics.accuracy_matrix import Scores, end_looks, end_scores
from clbench.metrics.anytime import step_looks
from clbench.metrics.metric import Metric


def _over_rows(trace: Trace, scores: Scores, seen: Mask) -> Scores:
    """Return the share of correct samples over the tasks seen, (n,), NaN before the first; scores and seen are (n,
    T)."""
    rows = seen * trace.rows  # (n, T)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = (np.where(seen, scores, 0.0) * rows).sum(axis=1) / rows.sum(axis=1)
        return mean


def seen_accuracy(trace: Trace) -> Scores:
    """Return the accuracy over all samples of the tasks seen so far at each end, (E,); NaN before the first task."""
    return _over_rows(trace, end_scores(trace), trace.seen[end_looks(trace)])


def acc_seen(trace: Trace) -> float:
    """Return the accuracy at the end of the stream over all evaluation samples of the visited tasks."""
    return float(seen_accuracy(trace)[-1])


def aia_seen(trace: Trace) -> float:
    """Return the mean over ends of the accuracy over the evaluation samples of the tasks seen so far."""
    return float(np.nanmean(seen_accuracy(trace)))


def a_auc(trace: Trace) -> float:
    """Return A_AUC: the area under the curve of accuracy on exposed tasks over the samples of the stream.

    A query is an evaluation after a step. It represents the iterations since the one before it, and thus their samples,
    as batches are equally large. Iterations after the last such evaluation belong to no query. With an uneven schedule
    the evaluation at an experience's end closes it, as in AAA. If boundaries are hidden, a task is exposed from its
    first sample on. With one task per class these are the authors' exposed classes, whatever the number of experiences;
    a task of several classes is exposed as a whole.
    """
    looks = step_looks(trace, with_ends=trace.every < 1)
    accuracy = _over_rows(trace, looks.score, looks.seen)
    begun = ~np.isnan(accuracy)
    return float(np.average(accuracy[begun], weights=np.diff(looks.step, prepend=0)[begun]))


A_AUC = Metric(
    name="a_auc",
    title="A_AUC",
    function=a_auc,
    formula="mean over iterations of correct samples over all samples of the tasks seen so far, at the next evaluation",
    low=0,
    high=1,
    higher_is_better=True,
    source="Koh et al. 2022 (i-Blurry); exposed classes are those of the tasks seen, with hidden boundaries from their "
    "first sample on; AAA weights tasks, this samples",
    needs="evaluations after steps",
    unit="score",
)
ACC_SEEN = Metric(
    name="acc_seen",
    title="ACC (rows)",
    function=acc_seen,
    formula="correct evaluation samples over all evaluation samples of the tasks visited, at the very end",
    low=0,
    high=1,
    higher_is_better=True,
    source="Hemati et al. 2023 (seen-class accuracy); ACC weighted by evaluation samples",
    needs="evaluations at ends",
    unit="score",
)
AIA_SEEN = Metric(
    name="aia_seen",
    title="AIA (rows)",
    function=aia_seen,
    formula="mean over experiences e of the correct samples over all samples of the tasks seen by e",
    low=0,
    high=1,
    higher_is_better=True,
    source="Hemati et al. 2023 (seen-class accuracy) at every end; AIA weighted by evaluation samples",
    needs="evaluations at ends",
    unit="score",
)
