"""Summaries of a number over seeds: its mean, its interval, and the values themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from clbench.metrics import Value
from clbench.metrics.interval import SEEDS_FOR_INTERVAL, half_width


@dataclass(frozen=True)
class Summary:
    """Summarise a number over seeds.

    Args:
        mean: Mean; NaN if no seed has a value.
        half: Half-width of the 95 % Student-t interval; NaN with fewer than three seeds, whose values are shown
            instead.
        n: Number of seeds with a value.
        reason: The reason if there is no value, or if some seeds have none.
        values: Seed -> value, ascending, of the seeds with a value.
    """

    mean: float
    half: float
    n: int
    reason: str = ""
    values: Mapping[int, float] = field(default_factory=dict)


def summarise(values: Mapping[int, Value]) -> Summary:
    """Summarise the values of some seeds; the mean and the interval are over the seeds that have one."""
    found = {seed: values[seed].value for seed in sorted(values) if values[seed].defined}
    reason = "" if values else "no finished cell"
    if len(found) < len(values):
        reason = next(value.reason for value in values.values() if not value.defined)
    if not found:
        return Summary(math.nan, math.nan, 0, reason)
    numbers = list(found.values())
    half = float(half_width(numbers, fewest=SEEDS_FOR_INTERVAL))
    return Summary(float(np.mean(numbers)), half, len(numbers), reason, found)
