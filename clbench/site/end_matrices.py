"""The matrix of each row of a benchmark: the mean score on each task at the end of each experience."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from clbench.core.measure import Measure
from clbench.metrics import Undefined
from clbench.metrics.accuracy_matrix import end_scores
from clbench.site.curve_data import BenchmarkCurves, DrawnRow

LARGEST = 12
"""Largest number of tasks and of experiences of a matrix on a page."""
SHADES = 10
"""Number of shades; the style sheet has a class for each, since pages may not set styles of single cells."""


@dataclass(frozen=True)
class MatrixCell:
    """Hold a cell: its text, its shade from 0 to ``SHADES``, and whether the experience has samples of the task."""

    text: str
    shade: int
    present: bool


@dataclass(frozen=True, eq=False)
class EndMatrix:
    """Hold the matrix of a row: for each task, a cell per experience."""

    row: DrawnRow
    tasks: tuple[tuple[MatrixCell, ...], ...]


def end_matrices(drawn: BenchmarkCurves) -> list[EndMatrix]:
    """Return the matrix of each row whose seeds have streams of one shape; none if they are too large for a page."""
    found = []
    measure = drawn.benchmark.table.measure
    for row in drawn.rows:
        shapes = {trace.present.shape for trace in row.traces}
        if len(shapes) == 1 and max(next(iter(shapes))) <= LARGEST:
            with suppress(Undefined):  # a task was not evaluated when an experience ended
                found.append(_matrix(row, measure))
    return found


def _matrix(row: DrawnRow, measure: Measure) -> EndMatrix:
    scores = np.array([end_scores(trace).T for trace in row.traces])  # (seeds, T, E)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a task that no seed has evaluated has no mean
        mean = np.nanmean(scores, axis=0)
        low = measure.low if np.isfinite(measure.low) else float(np.nanmin(mean))
        high = measure.high if np.isfinite(measure.high) else float(np.nanmax(mean))
    present = np.logical_and.reduce([trace.present.T for trace in row.traces])
    shares = np.clip((mean - low) / ((high - low) or 1.0), 0, 1)
    return EndMatrix(
        row,
        tuple(
            tuple(
                MatrixCell("", 0, bool(here))
                if np.isnan(value)
                else MatrixCell(measure.number(value, fewer=1), round(float(share) * SHADES), bool(here))
                for value, share, here in zip(*line, strict=True)
            )
            for line in zip(mean, shares, present, strict=True)
        ),
    )
