"""Metrics of the predictions that ``clbench run --save-predictions`` keeps in addition to a trace."""

from __future__ import annotations

import numpy as np

from clbench.core.errors import Refused
from clbench.core.record import TOP, Trace
from clbench.metrics.accuracy_matrix import end_looks, visited
from clbench.metrics.metric import Metric, Undefined


def top(k: int) -> Metric:
    """Return top-k accuracy at the end of the stream: a sample counts if its class is among the k highest scores.

    Args:
        k: From 1 to 5, the number that is kept; with 1 it is ACC.

    Raises:
        Refused: ``k`` is outside 1 to 5.
    """
    if not 1 <= k <= TOP:
        raise Refused(f"top{k} is not known: the {TOP} best classes of each sample are kept; use top1 to top{TOP}")

    def value(trace: Trace) -> float:
        end_looks(trace)
        if trace.predictions is None:
            raise Undefined("predictions were not kept; run it with --save-predictions")
        held = trace.predictions.last()
        right = (held["top"][:, :k] == held["label"][:, None]).any(axis=1)
        means = [right[held["task"] == task].mean() for task in visited(trace) if (held["task"] == task).any()]
        if not means:
            raise Undefined("no task was visited")
        return float(np.mean(means))

    return Metric(
        name=f"top{k}",
        title=f"Top-{k}",
        function=value,
        formula=f"mean over tasks of the share of samples whose class is among the {k} predicted first, at the end",
        low=0,
        high=1,
        higher_is_better=True,
        source="Krizhevsky et al. 2012, for top-5; the mean over tasks as in ACC",
        needs="kept predictions",
    )


TOP5 = top(TOP)
