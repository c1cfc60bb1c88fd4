"""Accuracy on what has been seen so far, every evaluation row counting the same: A_AUC and seen-class accuracy.

ACC, AIA and AAA give every task the same weight, these give it its number of evaluation rows. Where all tasks have
equally many they agree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clbench.core.record import Trace
from clbench.core.types import Mask
from clbench.metrics.ends import Scores, end_looks, end_scores
from clbench.metrics.looks import step_looks
from clbench.metrics.metric import Metric


def _over_rows(trace: Trace, scores: Scores, seen: Mask) -> Scores:
    """Correct rows over all rows of the tasks seen, (n,), NaN before the first; scores and seen are (n, T)."""
    rows = seen * trace.rows  # (n, T)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = (np.where(seen, scores, 0.0) * rows).sum(axis=1) / rows.sum(axis=1)
        return mean


def seen_accuracy(trace: Trace) -> Scores:
    """Row-weighted accuracy over the tasks seen so far at the end of each experience, (E,); NaN before the first."""
    return _over_rows(trace, end_scores(trace), trace.seen[end_looks(trace)])


def acc_seen(trace: Trace) -> float:
    """Accuracy at the very end over all evaluation rows of the tasks visited."""
    return float(seen_accuracy(trace)[-1])


def aia_seen(trace: Trace) -> float:
    """The mean over ends of experiences of the accuracy over the evaluation rows of the tasks seen by then."""
    return float(np.nanmean(seen_accuracy(trace)))


def a_auc(trace: Trace) -> float:
    """A_AUC: area under the curve of the accuracy on what was exposed so far, over the samples of the stream.

    A query is a step look. It stands for the iterations since the one before it, hence for their samples, as batches
    are equally large; what follows the last step look is in no query. Under an uneven schedule the look at an
    experience's end closes it, as in AAA. Where boundaries are hidden a task is exposed from its first row on: with a
    task per class these are the authors' exposed classes, whatever the number of pieces; a task of several classes
    is exposed as a whole.
    """
    looks = step_looks(trace, with_ends=trace.every < 1)
    accuracy = _over_rows(trace, looks.score, looks.seen)
    begun = ~np.isnan(accuracy)
    return float(np.average(accuracy[begun], weights=np.diff(looks.step, prepend=0)[begun]))


A_AUC = Metric(
    name="a_auc",
    title="A_AUC",
    function=a_auc,
    formula="mean over iterations of correct rows over all rows of the tasks seen so far, at the next step look",
    low=0,
    high=1,
    higher_is_better=True,
    source="Koh et al. 2022 (i-Blurry); exposed classes are those of the tasks seen, with hidden boundaries from their "
    "first row on; AAA weighs tasks, this rows",
    needs="step looks",
)
ACC_SEEN = Metric(
    name="acc_seen",
    title="ACC (rows)",
    function=acc_seen,
    formula="correct evaluation rows over all evaluation rows of the tasks visited, at the very end",
    low=0,
    high=1,
    higher_is_better=True,
    source="Hemati et al. 2023 (seen-class accuracy); ACC weighted by evaluation rows",
    needs="end looks",
)
AIA_SEEN = Metric(
    name="aia_seen",
    title="AIA (rows)",
    function=aia_seen,
    formula="mean over experiences e of the correct rows over all rows of the tasks seen by e",
    low=0,
    high=1,
    higher_is_better=True,
    source="Hemati et al. 2023 (seen-class accuracy) at every end; AIA weighted by evaluation rows",
    needs="end looks",
)
