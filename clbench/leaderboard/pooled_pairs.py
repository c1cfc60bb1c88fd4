"""The rows of several tables, compared over their benchmarks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from clbench.leaderboard.best_values import is_bound
from clbench.leaderboard.board import Board, Table
from clbench.leaderboard.pooled_statistics import (
    Pooled,
    PooledPair,
    pooled_mean,
    pooled_pair,
)
from clbench.leaderboard.standings import RANKED
from clbench.leaderboard.statistics import holm


@dataclass(frozen=True)
class AcrossBenchmarks:
    """Hold the scores of rows on the benchmarks on which they are complete, if these are two or more.

    Args:
        scores: Name of a row -> title of a benchmark -> one score per run.
        left_out: Titles of the benchmarks whose scores have no common scale.
        versus: Name of the row that all others are compared with; ``None`` for all pairs.
        sign: 1 if higher scores are better, else -1.
    """

    scores: Mapping[str, Mapping[str, np.ndarray[Any, Any]]]
    left_out: tuple[str, ...] = ()
    versus: str | None = None
    sign: int = 1

    @classmethod
    def of(cls, board: Board) -> AcrossBenchmarks:
        """Collect the rows of a board that compete, on benchmarks whose scores are in [0, 1]."""
        kept = [table for table in board.tables if table.measure.bounded]
        scores: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
        for name in board.names:
            own = {table.benchmark: _scores(table, name) for table in kept}
            found = {title: values for title, values in own.items() if len(values)}
            if len(found) > 1:
                scores[name] = found
        versus = {row.strategy for table in board.tables for row in table.rows if row.label == board.ranking.versus}
        return cls(
            scores=scores,
            left_out=tuple(table.benchmark for table in board.tables if not table.measure.bounded),
            versus=next(iter(versus), None),
            sign=board.ranking.sign,
        )

    @cached_property
    def means(self) -> dict[str, Pooled]:
        """Return the interquartile mean of each row over its benchmarks."""
        return {name: pooled_mean(list(own.values())) for name, own in self.scores.items()}

    @cached_property
    def pairs(self) -> tuple[tuple[str, str, PooledPair, float], ...]:
        """Return for each pair of rows with two common benchmarks their names, the comparison, and Holm's p.

        Differences and improvements are of scores times ``sign``, so that positive ones are in favour of the first.
        """
        found = []
        for one, other in self._compared():
            common = [title for title in self.scores[one] if title in self.scores[other]]
            if len(common) > 1:
                first, second = ([self.sign * self.scores[name][title] for title in common] for name in (one, other))
                found.append((one, other, pooled_pair(first, second)))
        adjusted = holm([pair.wilcoxon_p for _, _, pair in found])
        return tuple((one, other, pair, float(p)) for (one, other, pair), p in zip(found, adjusted, strict=True))

    def _compared(self) -> list[tuple[str, str]]:
        names = list(self.scores)
        if self.versus is not None:
            return [(name, self.versus) for name in names if name != self.versus and self.versus in self.scores]
        names.sort(key=lambda name: -self.sign * self.means[name].value)
        return [(one, other) for place, one in enumerate(names) for other in names[place + 1 :]]


def _scores(table: Table, name: str) -> np.ndarray[Any, Any]:
    """Return one score per run of a row that is ranked and no upper bound; none for others."""
    row = table.row(name)
    if row is None or row.standing != RANKED or is_bound(row):
        return np.array([])
    return np.array(list(row.scores.values()), dtype=float)


def plain_pool(board: Board) -> dict[str, Any]:
    """Return what is pooled over benchmarks as plain data; numbers that do not exist are ``None``."""
    pool = AcrossBenchmarks.of(board)
    return {
        "left_out": pool.left_out,
        "rows": [
            {"strategy": name, "benchmarks": list(own), "interquartile_mean": _plain(asdict(pool.means[name]))}
            for name, own in pool.scores.items()
        ],
        "pairs": [
            {"one": one, "other": other, **_plain({**asdict(pair), "holm_p": p})} for one, other, pair, p in pool.pairs
        ],
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _plain(value)
        if isinstance(value, Mapping)
        else None
        if isinstance(value, float) and math.isnan(value)
        else value
        for name, value in values.items()
    }
