"""How readings of the network stand at the end of a run, and how they change over experiences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from clbench.core.record import Reading, Trace
from clbench.metrics.accuracy_matrix import Scores, end_looks
from clbench.metrics.metric import Metric, Undefined


def reading_of(trace: Trace, name: str) -> Reading:
    """Return a reading of a trace: with its default settings if it was taken so, else the first one of this name.

    Raises:
        Undefined: There is none.
    """
    taken = [label for label in trace.readings if label == name or label.startswith(f"{name}(")]
    if not taken:
        raise Undefined(
            f"the run has no reading {name!r}; set evaluation.readings=[{name}] and run it again (a strategy without a "
            "network has none)"
        )
    return trace.readings[name if name in taken else taken[0]]


def reading_at_ends(trace: Trace, name: str) -> Scores:
    """Return the first number of a reading at the end of each experience, (E,).

    The last reading at a step counts, since the end of the stream may still change the learner.

    Raises:
        Undefined: There is no such reading, or an experience did not end.
    """
    ends = trace.step[end_looks(trace)]  # (E,)
    reading = reading_of(trace, name)
    place = np.searchsorted(reading.steps, ends, side="right") - 1
    if (place < 0).any() or (reading.steps[place] != ends).any():
        raise Undefined(f"the reading {name!r} was not taken at the end of each experience")
    values: Scores = reading.values.reshape(len(reading.steps), -1)[place, 0].astype(np.float64)
    return values


def _last(name: str) -> Callable[[Trace], float]:
    def last(trace: Trace) -> float:
        return _known(reading_at_ends(trace, name)[-1], name)

    return last


def _slope(name: str) -> Callable[[Trace], float]:
    def slope(trace: Trace) -> float:
        values = reading_at_ends(trace, name)
        if len(values) < 3:
            raise Undefined(f"the stream has {len(values)} experiences; a slope needs 3")
        e = np.arange(len(values)) - (len(values) - 1) / 2
        return _known(float((e * (values - values.mean())).sum() / np.square(e).sum()), name)

    return slope


def _known(value: float, name: str) -> float:
    if math.isnan(value):
        raise Undefined(f"the reading {name!r} has no value for this network, such as one without activation functions")
    return float(value)


def _metrics(
    name: str,
    title: str,
    reading: str,
    what: str,
    *,
    low: float,
    high: float,
    unit: Literal["fraction", "number"],
    source: str,
) -> tuple[Metric, Metric]:
    """Return the last value of a reading, and its slope over experiences."""
    shown = "share" if unit == "fraction" else "directions"
    needs = f"evaluation.readings with {reading}"
    last = Metric(
        name=name,
        title=title,
        function=_last(reading),
        formula=f"{what} at the end of the stream ({shown})",
        low=low,
        high=high,
        higher_is_better=None,
        source=source,
        needs=needs,
        unit=unit,
        comparable=False,
    )
    wide = high - low
    slope = Metric(
        name=f"{name}_slope",
        title=f"{title} slope",
        function=_slope(reading),
        formula=f"least-squares slope of {what} at the ends of experiences ({shown} per experience)",
        low=-wide,
        high=wide,
        higher_is_better=None,
        source=f"{source}; the slope is ours",
        needs=f"{needs}, and 3 experiences",
        unit=unit,
        comparable=False,
    )
    return last, slope


FAU, FAU_SLOPE = _metrics(
    "fau",
    "FAU",
    "fau",
    "fraction of active units",
    low=0,
    high=1,
    unit="fraction",
    source="Ma et al. 2024, arXiv 2310.07418",
)
DORMANT, DORMANT_SLOPE = _metrics(
    "dormant",
    "Dormant units",
    "dormant",
    "share of dormant units",
    low=0,
    high=1,
    unit="fraction",
    source="Sokar et al. 2023, arXiv 2302.12902",
)
RANK, RANK_SLOPE = _metrics(
    "rank",
    "Effective rank",
    "effective_rank",
    "effective rank of the features",
    low=0,
    high=np.inf,
    unit="number",
    source="Roy and Vetterli 2007",
)
