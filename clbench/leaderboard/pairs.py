"""The pairs of rows of a table, and the groups that they form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from clbench.leaderboard.best_values import is_bound
from clbench.leaderboard.board_rows import Row
from clbench.leaderboard.standings import RANKED
from clbench.leaderboard.statistics import (
    LEVEL,
    Pair,
    groups,
    holm,
    holm_matrix,
    p_matrix,
    paired,
    seeds_to_separate,
)


@dataclass(frozen=True)
class BoardPair:
    """Compare two rows of a table.

    Args:
        one: Label of the first row. Of two ranked rows it is the better one, unless all rows are compared with one.
        other: Label of the other row.
        statistics: The comparison over the seeds that both have. It depends on these two rows alone.
        holm_p: The p value of the paired t test after Holm's correction over the pairs of the table; NaN for a pair
            that is not among the corrected ones. It depends on the other rows.
        more_seeds: About how many more seeds would separate the two, after this correction; ``None`` if they are
            separated, or if it is not known.
    """

    one: str
    other: str
    statistics: Pair
    holm_p: float
    more_seeds: int | None = None

    @property
    def separated(self) -> bool:
        """Return whether the two rows are separated after the correction."""
        return self.holm_p < LEVEL


def competing(rows: Iterable[Row]) -> list[Row]:
    """Return the ranked rows that are no upper bounds, from the best to the worst."""
    found = [row for row in rows if row.standing == RANKED and not is_bound(row)]
    return sorted(found, key=lambda row: (row.rank or 0, row.strategy))


def grouped(rows: Sequence[Row]) -> list[Row]:
    """Return rows with their groups. Without three reference seeds, or two rows that compete, there are none."""
    best = competing(rows)
    if len(best) < 2:
        return list(rows)
    p = holm_matrix(p_matrix([row.scores for row in best]))
    if np.isnan(p[np.triu_indices(len(best), 1)]).all():
        return list(rows)
    found = {row.label: group for row, group in zip(best, groups(p < LEVEL), strict=True)}
    return [replace(row, group=found.get(row.label)) for row in rows]


def board_pairs(rows: Sequence[Row], versus: str | None = None) -> tuple[BoardPair, ...]:
    """Return the pairs of a table.

    Args:
        rows: The rows of the table.
        versus: Label of the row that all others are compared with. By default these are all pairs of rows that
            compete, and the best row with each row that is incomplete or over the budget.

    Returns:
        Pairs with at least one common seed.
    """
    if versus is not None:
        return _versus(rows, versus)
    best = competing(rows)
    among = [(one, other) for place, one in enumerate(best) for other in best[place + 1 :]]
    below = [row for row in rows if row.scores and row.standing != RANKED]
    return _corrected(among, [(best[0], row) for row in below] if best else [])


def _versus(rows: Sequence[Row], label: str) -> tuple[BoardPair, ...]:
    anchor = next((row for row in rows if row.label == label), None)
    if anchor is None:
        return ()
    others = [row for row in rows if row is not anchor]
    complete = [row for row in others if row.covered[0] == row.covered[1]]
    rest = [row for row in others if row not in complete]
    return _corrected([(row, anchor) for row in complete], [(row, anchor) for row in rest])


def _corrected(tested: Sequence[tuple[Row, Row]], further: Sequence[tuple[Row, Row]]) -> tuple[BoardPair, ...]:
    """Return pairs, with Holm's correction over those that are tested."""
    found = [(one, other, paired(one.scores, other.scores)) for one, other in (*tested, *further)]
    p = np.array([pair.t_p for _, _, pair in found[: len(tested)]])
    adjusted = np.append(holm(p), [math.nan] * len(further))
    factors = np.append([np.sum(p >= own) for own in p], [math.nan] * len(further))
    return tuple(
        BoardPair(one.label, other.label, pair, float(corrected), _more_seeds(pair, float(corrected), float(factor)))
        for (one, other, pair), corrected, factor in zip(found, adjusted, factors, strict=True)
        if pair.n
    )


def _more_seeds(pair: Pair, holm_p: float, factor: float) -> int | None:
    """Return about how many more seeds separate a pair, at the level that Holm's correction gives it."""
    if math.isnan(holm_p) or holm_p < LEVEL:
        return None
    needed = seeds_to_separate(pair.difference, pair.sd, level=LEVEL / factor)
    return None if needed is None else max(needed - pair.n, 1)
