"""Notes on what ranks the rows of a table, and on the rows that stand below the ranked ones."""

from __future__ import annotations

from collections.abc import Sequence

from clbench.core.measure import Measure
from clbench.leaderboard.board_rows import Row, seed_words
from clbench.leaderboard.numbers import amount
from clbench.leaderboard.pairs import competing
from clbench.leaderboard.standings import INCOMPLETE, OVER_BUDGET, RANKED_BY, RankingChoice, exceeded
from clbench.leaderboard.statistics import Pair, paired
from clbench.metrics import get as get_metric


def standing_notes(
    rows: Sequence[Row],
    seeds: tuple[int, ...],
    reference: tuple[int, ...],
    measure: Measure,
    ranking: RankingChoice,
) -> list[str]:
    """Return sentences on the reference seeds and on the rows that are not ranked.

    Args:
        rows: The rows of the table.
        seeds: The seeds of all records.
        reference: The seeds that a ranked row has.
        measure: What its scores are.
        ranking: What ranks the rows.
    """
    metric = get_metric(ranking.by).under(measure)
    title = measure.short if ranking.by == RANKED_BY else metric.title
    notes = []
    if any(set(row.finished) != set(reference) for row in rows if row.finished) or set(reference) - set(seeds):
        notes.append(f"ranked by {title} over {seed_words(reference)}; a row without one of them is not ranked")
        notes.append("means and intervals are over each strategy's own finished seeds")
    elif ranking.by != RANKED_BY:
        notes.append(f"ranked by {title}")
    best = next(iter(competing(rows)), None)
    for row in rows:
        if row.standing == INCOMPLETE:
            told = f"{row.name} is incomplete: {row.covered[0]} of {row.covered[1]} seeds"
            pair = None if best is None else paired(row.scores, best.scores)
            notes.append(told + (_difference(pair, best, ranking, measure) if pair and best and pair.n else ""))
    if any(row.group is not None for row in rows):
        notes.append(
            "group: not separated from the best row of the group (paired t test, Holm's correction for all pairs "
            "of ranked strategies, which ≈ lacks); rank and group depend on the other rows"
        )
    if ranking.within:
        limits = ", ".join(f"{name} up to {amount(limit)}" for name, limit in ranking.within.items())
        over = [f"{row.name} ({_costs(row, ranking)})" for row in rows if row.standing == OVER_BUDGET]
        notes.append(f"ranked within {limits}" + (f"; not within: {', '.join(over)}" if over else ""))
    pairwise = [name for name in (rows[0].metrics if rows else ()) if get_metric(name).reference]
    if any(row.metrics[name].n for row in rows for name in pairwise):
        titles = ", ".join(get_metric(name).under(measure).title for name in pairwise)
        notes.append(f"{titles}: a number of a pair, namely of a run and the joint run of its seed")
    return notes


def _difference(pair: Pair, best: Row, ranking: RankingChoice, measure: Measure) -> str:
    metric = get_metric(ranking.by)
    places = metric.decimals(measure, percent=2)
    half = f" ± {metric.shown(pair.half, measure):.{places}f}" if pair.n > 2 else ""
    shared = "1 shared seed" if pair.n == 1 else f"{pair.n} shared seeds"
    return f"; minus {best.name} over {shared}: {metric.shown(pair.difference, measure):+.{places}f}{half}"


def _costs(row: Row, ranking: RankingChoice) -> str:
    found = exceeded(row.cost, ranking.within)
    return ", ".join(
        f"{name} {amount(max(row.cost[name].values.values()))}" if name in row.cost else f"{name} not recorded"
        for name in found
    )
