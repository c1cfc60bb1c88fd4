"""Sheets of all benchmarks: what is pooled over them, for rows and for pairs of rows."""

from __future__ import annotations

import math

from clbench.core.shown_text import shown
from clbench.leaderboard.best_values import LEVEL as NOT_SEPARATED
from clbench.leaderboard.best_values import SIGN
from clbench.leaderboard.board import Board
from clbench.leaderboard.numbers import NOTHING, Number, p_text
from clbench.leaderboard.pooled_pairs import AcrossBenchmarks
from clbench.leaderboard.pooled_statistics import Pooled, performance_profile
from clbench.leaderboard.sheets import Heading, Sheet
from clbench.leaderboard.statistics import LEVEL
from clbench.metrics import get as get_metric

THRESHOLDS = (0.25, 0.5, 0.75)
"""The scores of performance profiles in tables."""


def pooled_sheets(board: Board, *, decimals: int) -> list[Sheet]:
    """Return a sheet of rows and one of pairs over all benchmarks; none if there are fewer than two benchmarks.

    Args:
        board: The leaderboard.
        decimals: Decimals of percentages unless the user chose others.
    """
    pool = AcrossBenchmarks.of(board)
    if not pool.scores:
        return []
    metric = get_metric(board.ranked_by)
    thresholds = THRESHOLDS if metric.high == 1 and board.ranking.sign > 0 else ()
    places = decimals if board.decimals is None else board.decimals

    def text(value: float, sign: str = "") -> str:
        return NOTHING if math.isnan(value) else f"{metric.shown(value):{sign}.{places}f}"

    def interval(pooled: Pooled, factor: float = 100.0) -> Number:
        if math.isnan(pooled.value):
            return Number(NOTHING)
        value, low, high = (f"{factor * each:.{places}f}" for each in (pooled.value, pooled.low, pooled.high))
        return Number(f"{value} ({low} to {high})")

    scale = metric.shown(1.0)
    lines = [
        (
            Number(shown(name)),
            Number(str(len(own))),
            interval(pool.means[name], scale),
            *(Number(f"{100 * share:.0f}") for share in performance_profile(list(own.values()), thresholds)),
        )
        for name, own in pool.scores.items()
    ]
    rows = Sheet(
        title="All benchmarks: rows",
        columns=(
            Heading("Strategy", is_text=True),
            Heading("Benchmarks", is_text=False),
            Heading(f"IQM of {metric.title} {metric.arrow}".rstrip(), is_text=False),
            *(Heading(f"Runs > {metric.shown(each):g}", is_text=False) for each in thresholds),
        ),
        lines=tuple(lines),
        ranks=(0,) * len(lines),
        legend="IQM: mean of the middle half of all runs, with its 95 % bootstrap interval over runs",
        seeds="",
        marks="",
        notes=(
            "rows that are complete on two benchmarks or more; compare means of rows with the same benchmarks",
            *(["runs >: percentage of its runs above this value"] if thresholds else []),
            *([f"left out, as their scores have another scale: {', '.join(pool.left_out)}"] if pool.left_out else []),
        ),
    )
    pairs = Sheet(
        title="All benchmarks: pairs",
        columns=(
            Heading("Strategy", is_text=True),
            Heading("minus", is_text=True),
            Heading("Benchmarks", is_text=False),
            Heading(f"Mean difference ({metric.title})", is_text=False),
            Heading("Wins/ties/losses", is_text=False),
            Heading("p (Wilcoxon)", is_text=False),
            Heading("Holm's p (pool)", is_text=False),
            Heading("Improvement", is_text=False),
        ),
        lines=tuple(
            (
                Number(shown(one)),
                Number(shown(other)),
                Number(str(pair.benchmarks)),
                Number(
                    text(pool.sign * pair.difference, "+"), mark="" if p < LEVEL or math.isnan(p) else NOT_SEPARATED
                ),
                Number(f"{pair.wins}/{pair.ties}/{pair.losses}"),
                Number(p_text(pair.wilcoxon_p)),
                Number(p_text(p)),
                interval(pair.improvement),
            )
            for one, other, pair, p in pool.pairs
        ),
        ranks=(0,) * len(pool.pairs),
        legend="each pair is compared over the benchmarks on which both rows are complete, from two on",
        seeds="",
        marks=f"{SIGN}: not separated (Holm's p is 0.05 or more)" if pool.pairs else "",
        notes=(
            "p (Wilcoxon): signed rank test over benchmarks; it can be below 0.05 from 6 benchmarks on",
            "Holm's p is corrected for all pairs shown, so it depends on the other rows",
            "improvement: percentage of pairs of runs in which the first is better, with its 95 % bootstrap interval",
        ),
    )
    return [rows, pairs] if pool.pairs else [rows]
