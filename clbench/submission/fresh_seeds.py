"""Run fresh seeds, which no leaderboard has, and compare them with the submitted ones: the status *honest seeds*.

Whoever runs many seeds and submits the best ones submits values that fresh seeds do not reach. The test is Student's
two-sample t test with pooled variance, one-sided. Its hypothesis is that all values are draws of one distribution, so
that the variances are equal by hypothesis. Welch's test estimates the variance of few fresh values by themselves: of 10
of 20 seeds that were picked, 5 fresh ones notice 54 % with pooled variance and 40 % with Welch's test.

Source: Student 1908, "The probable error of a mean"; several rows by S. Holm 1979, "A simple sequentially rejective
multiple test procedure".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from clbench.core.record import Record
from clbench.submission.cell_runs import RunSettings, cell_of, run_whole
from clbench.submission.drawn_cells import drawn_seeds
from clbench.submission.rerun_results import HONEST_SEEDS, RerunResult
from clbench.submission.submitted_rows import SubmittedRow, rows_of, values
from clbench.submission.trusted_code import NotRunnable

CHECK = "fresh seeds"
LEVEL = 0.05
"""The probability that the seeds of an honest submission, all rows together, are called picked."""
ROUNDING = 1e-12
"""Means that differ by less are equal, and a smaller spread is none: the rest is rounding."""
METRIC = "acc"
"""The metric that is compared: final average accuracy, or its counterpart in other families. Higher is better."""


def try_fresh(
    records: Sequence[Record],
    digest: str,
    count: int,
    *,
    settings: RunSettings | None = None,
    metric: str = METRIC,
) -> list[RerunResult]:
    """Run fresh seeds of every row of a submission, and test whether they are below the submitted ones.

    Args:
        records: All records of the submission, as they were read from it.
        digest: The sha256 of the submission, from which the seeds are drawn; they are equal for all rows.
        count: Number of fresh seeds, at least 1.
        settings: How cells are run.
        metric: The metric that is compared; higher is better.

    Returns:
        One result for each row. Among several rows, p values are adjusted by Holm's method.
    """
    how, rows = settings or RunSettings(), rows_of(records)
    seeds = drawn_seeds(count, digest, (record.seed for record in records), salt=how.salt)
    refused: dict[str, str] = {}
    cells = []
    for row in rows:
        try:
            cells += [cell_of(row.records[0], trust=how.trust, seed=seed) for seed in seeds]
        except NotRunnable as error:
            refused[row.key] = str(error)
    made = run_whole(cells, how)
    of_row = {
        row.key: made[place * count : (place + 1) * count]
        for place, row in enumerate(row for row in rows if row.key not in refused)
    }
    p = {
        row.key: not_below(row.values(metric), values(of_row[row.key], metric))
        for row in rows
        if row.key in of_row and all(record.status == "done" for record in of_row[row.key])
    }
    adjusted = dict(zip(p, _holm(list(p.values())), strict=True))
    results = []
    for row in rows:
        told, holds = _judged(row, of_row.get(row.key), refused.get(row.key, ""), adjusted.get(row.key), metric)
        results.append(
            RerunResult(CHECK, HONEST_SEEDS, row.key, row.label, tuple(seeds), holds, f"{row.label}: {told}")
        )
    return results


def _judged(
    row: SubmittedRow, fresh: list[Record] | None, refused: str, p: float | None, metric: str
) -> tuple[str, bool]:
    """Return what fresh seeds show about a row, and whether it stands."""
    if fresh is None:
        return f"fresh seeds cannot be run: {refused}", False
    for record in fresh:
        if record.status != "done":
            why = f": {record.reason}" if record.reason else ""
            return f"fresh seed {record.seed} is {record.status}{why}, and the submitted seeds are done", False
    ours, theirs = values(fresh, metric), row.values(metric)
    if not ours or not theirs or p is None or math.isnan(p):
        return (
            f"{len(ours)} fresh and {len(theirs)} submitted values of {metric} cannot be compared: both are needed, "
            "and three together",
            False,
        )
    told = (
        f"{metric} is {np.mean(ours):.4g} with {len(ours)} fresh seeds and {np.mean(theirs):.4g} with {len(theirs)} "
        f"submitted ones (one-sided t, Holm's p = {p:.3g})"
    )
    below = p < LEVEL
    return (f"the submitted seeds look picked: {told}" if below else f"fresh seeds are not below: {told}"), not below


def not_below(submitted: Sequence[float], fresh: Sequence[float]) -> float:
    """Return the one-sided p value of fresh values that are below submitted ones: Student's test, pooled variance.

    Args:
        submitted: Values of the submitted seeds.
        fresh: Values of the fresh seeds; a small p says that they are lower.

    Returns:
        A number in [0, 1]; NaN if there are fewer than three values together, or none on a side. If all values of each
        side are equal, it is 0 for lower fresh values and 1 for others.
    """
    n, m = len(submitted), len(fresh)
    if not n or not m or n + m < 3:
        return math.nan
    return float(_p_values(np.asarray(submitted)[None], np.asarray(fresh)[None])[0])


def _p_values(submitted: NDArray[np.float64], fresh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the p values (R,) of R pairs of samples (R, n) and (R, m)."""
    n, m = submitted.shape[1], fresh.shape[1]
    difference = fresh.mean(1) - submitted.mean(1)
    difference = np.where(np.abs(difference) < ROUNDING, 0.0, difference)
    squares = ((fresh - fresh.mean(1, keepdims=True)) ** 2).sum(1)
    squares = squares + ((submitted - submitted.mean(1, keepdims=True)) ** 2).sum(1)
    error = np.sqrt(squares / (n + m - 2) * (1 / n + 1 / m))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(error > ROUNDING, difference / error, np.where(difference < 0, -np.inf, np.inf))
    return np.asarray(stdtr(n + m - 2, t))


def _holm(p: Sequence[float]) -> list[float]:
    """Return p values that are adjusted for several rows; undefined ones stay so and do not count."""
    order = sorted((place for place, each in enumerate(p) if not math.isnan(each)), key=lambda place: p[place])
    adjusted, highest = list(p), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p[place]))
        adjusted[place] = highest
    return adjusted


@cache
def chance_to_notice(kept: int, tried: int, fresh: int, *, rounds: int = 20_000) -> float:
    """Return the probability with which fresh seeds notice that the best of many seeds were submitted, simulated.

    Args:
        kept: Number of submitted seeds, at least 1.
        tried: Number of seeds of which they are the best; equal to ``kept`` for an honest submission.
        fresh: Number of fresh seeds, at least 1.
        rounds: Number of simulated submissions of one row, with normal values.

    Returns:
        A fraction. Its standard error is at most 0.004 with 20,000 rounds, which always give the same number.
    """
    generator = np.random.Generator(np.random.PCG64(0))
    submitted = np.sort(generator.standard_normal((rounds, tried)), axis=1)[:, tried - kept :]
    return float((_p_values(submitted, generator.standard_normal((rounds, fresh))) < LEVEL).mean())


def stated_power(kept: int, fresh: int) -> str:
    """Return in one sentence how often fresh seeds would notice seeds that were picked, for the report."""
    told = " and ".join(
        f"the best {kept} of {of} in {chance_to_notice(kept, of, fresh):.0%}" for of in (2 * kept, 4 * kept)
    )
    return f"{fresh} fresh seeds notice {told} of simulated submissions of one row"
