"""Knowledge accumulation over long streams: how accuracy on all data grows although each visit causes forgetting."""

from __future__ import annotations

import numpy as np

from clbench.core.errors import Refused
from clbench.core.record import Trace
from clbench.metrics.accuracy_matrix import Scores, end_scores, visited
from clbench.metrics.metric import Metric, Undefined


def all_accuracy(trace: Trace, *, last: int = 1) -> Scores:
    """Return the smoothed accuracy over the samples of all visited tasks at the ends of experiences.

    Right after an experience its own classes dominate. An average over the last few ends is therefore more informative
    than a single evaluation.

    Args:
        trace: The trace of a finished run whose evaluations at ends cover all tasks.
        last: Number of ends of experiences in each mean, at least 1.

    Returns:
        (E - last + 1,) means of ``last`` consecutive ends; the first one ends with experience number ``last``.

    Raises:
        Refused: ``last`` is below 1.
        Undefined: There are fewer experiences, an evaluation at an end left out a task, or the run stopped early.
    """
    if last < 1:
        raise Refused(f"a mean over {last} ends of experiences means nothing; use 1 or more")
    tasks = visited(trace)
    scores = end_scores(trace)[:, tasks]  # (E, n)
    if len(scores) < last:
        raise Undefined(f"the stream has {len(scores)} experiences, fewer than the {last} to average over")
    if np.isnan(scores).any():
        experience, place = np.argwhere(np.isnan(scores))[0]
        raise Undefined(f"task {tasks[place]} was not evaluated when experience {experience} ended")
    return np.convolve(np.average(scores, axis=1, weights=trace.rows[tasks]), np.full(last, 1 / last), "valid")


def accumulation(trace: Trace, *, last: int = 20, log: bool = False) -> float:
    """Return the knowledge accumulation: the least-squares slope of the smoothed accuracy on all data.

    Args:
        trace: As for :func:`all_accuracy`.
        last: Number of ends of experiences in each mean.
        log: Whether to use the natural logarithm of the number of experiences, for curves that saturate.

    Returns:
        Accuracy gained per experience, or per e-fold of experiences.

    Raises:
        Undefined: There are fewer than ``last + 2`` experiences; a slope needs three points.
    """
    accuracy = all_accuracy(trace, last=last)
    if len(accuracy) < 3:
        raise Undefined(
            f"the stream has {trace.n_experiences} experiences; the slope of means over {last} needs {last + 2}"
        )
    learned = np.arange(last, trace.n_experiences + 1, dtype=float)
    x = np.log(learned) if log else learned
    return float(((x - x.mean()) * (accuracy - accuracy.mean())).sum() / np.square(x - x.mean()).sum())


def acc_last(last: int) -> Metric:
    """Return the metric of the accuracy on all data, averaged over the ends of the last experiences.

    Args:
        last: Number of experiences, at least 1; with 1 it is ``acc_seen``.

    Raises:
        Refused: ``last`` is below 1.

    Source: Lesort et al. 2023 (SCoLe) evaluate on all classes at every end; the average is our addition.
    """
    if last < 1:
        raise Refused(f"a mean over {last} ends of experiences means nothing; use 1 or more")
    return Metric(
        name=f"acc_last{last}",
        title=f"ACC (last {last})",
        function=lambda trace: float(all_accuracy(trace, last=last)[-1]),
        formula=f"accuracy over the samples of all tasks visited, mean over the ends of the last {last} experiences",
        low=0,
        high=1,
        higher_is_better=True,
        source="Lesort et al. 2023 (SCoLe); the average is ours",
        needs="evaluations of all tasks at ends",
        unit="score",
    )


ACC_LAST20 = acc_last(20)
ACCUMULATION = Metric(
    name="accumulation",
    title="Accumulation",
    function=accumulation,
    formula="slope of the accuracy over the samples of all tasks, mean of 20 consecutive ends, per experience",
    low=-1,
    high=1,
    higher_is_better=True,
    source="our definition, after Lesort et al. 2023 (SCoLe)",
    needs="evaluations of all tasks at the ends of at least 22 experiences",
    unit="change",
)
ACCUMULATION_LOG = Metric(
    name="accumulation_log",
    title="Accumulation (log)",
    function=lambda trace: accumulation(trace, log=True),
    formula="slope of the accuracy over the samples of all tasks, mean of 20 consecutive ends, over log experiences",
    low=-np.inf,
    high=np.inf,
    higher_is_better=True,
    source="our definition, after Lesort et al. 2023 (SCoLe)",
    needs="evaluations of all tasks at the ends of at least 22 experiences",
    unit="change",
)
