"""The best value of each column, and the values that are not separated from it.

Upper bounds are left out: they train on data that the others do not have. A value is not separated from the best if the
95 % Student-t interval of their difference, paired by seed, contains 0. This needs three seeds that both have. The
interval is of one comparison, not corrected for their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from clbench.comparison.comparable import sees
from clbench.leaderboard.board_rows import Row
from clbench.leaderboard.summaries import Summary
from clbench.metrics import get as get_metric
from clbench.metrics.interval import SEEDS_FOR_INTERVAL, half_width

BEST, LEVEL = "best", "level"
SIGN = "≈"
"""The sign of a value that is not separated from the best."""
TIE = 1e-9
"""Smaller differences of means count as ties: this tolerates rounding, and is far below one sample of any test set."""


def marked(rows: Sequence[Row]) -> list[Row]:
    """Return rows with the marks of their values. A column in which fewer than two rows compete has none."""
    candidates = [row for row in rows if row.rank is not None and not is_bound(row)]
    marks: dict[str, dict[str, str]] = {row.label: {} for row in rows}
    for name in rows[0].metrics if rows else ():
        found = {row.label: row.metrics[name] for row in candidates if row.metrics[name].n}
        for label, mark in _of_column(name, found).items():
            marks[label][name] = mark
    return [replace(row, marks=marks[row.label]) for row in rows]


def is_bound(row: Row) -> bool:
    """Return whether a strategy is an upper bound: it sees the stream merged or accumulated."""
    return any(sees(record) != "stream" for record in row.records)


def note(rows: Iterable[Row]) -> str:
    """Return what the marks of a table mean; empty if it has none."""
    rows = list(rows)
    used = {mark for row in rows for mark in row.marks.values()}
    if not used:
        return ""
    bounds = ", upper bounds left out" if any(row.rank is not None and is_bound(row) for row in rows) else ""
    level = (
        f"; {SIGN}: not separated from it (the 95 % interval of their difference, paired by seed and not corrected for "
        "several comparisons, contains 0)"
    )
    return f"bold: best of a column{bounds}" + level * (LEVEL in used)


def _of_column(name: str, found: dict[str, Summary]) -> dict[str, str]:
    metric = get_metric(name)
    if len(found) < 2 or not metric.comparable or metric.higher_is_better is None:
        return {}
    sign = 1 if metric.higher_is_better else -1
    best = max(found.values(), key=lambda summary: sign * summary.mean)
    marks = {}
    for label, summary in found.items():
        if abs(summary.mean - best.mean) <= TIE:
            marks[label] = BEST
        elif not separated(summary, best):
            marks[label] = LEVEL
    return marks


def separated(one: Summary, other: Summary) -> bool:
    """Return whether the interval of the difference, paired by seed, excludes 0; True with fewer than three pairs."""
    differences = [value - other.values[seed] for seed, value in one.values.items() if seed in other.values]
    if len(differences) < SEEDS_FOR_INTERVAL:
        return True
    return bool(abs(np.mean(differences)) > half_width(differences))
