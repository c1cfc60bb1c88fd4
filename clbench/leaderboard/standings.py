"""The standing of each row of a table: ranked, incomplete, over the budget, or without a result."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from clbench.benchmark.assignments import seeds as read_seeds
from clbench.core.errors import Refused, did_you_mean
from clbench.leaderboard.best_values import TIE
from clbench.leaderboard.board_rows import Row, seed_words
from clbench.leaderboard.summaries import Summary
from clbench.metrics import get as get_metric

RANKED, INCOMPLETE, OVER_BUDGET, NO_RESULT = "ranked", "incomplete", "over budget", "no result"
STANDINGS = (RANKED, INCOMPLETE, OVER_BUDGET, NO_RESULT)
"""The standings in the order in which their rows stand in a table."""
RANKED_BY = "acc"
"""The metric that ranks unless the user chose another one."""


@dataclass(frozen=True)
class RankingChoice:
    """Choose what ranks the rows of tables.

    Args:
        by: The metric that ranks.
        seeds: The only seeds that count; ``None`` for all.
        within: Entry of a record's cost -> its largest value; rows above it are not ranked.
        versus: Label of the strategy that all others are compared with; ``None`` for all pairs.
    """

    by: str = RANKED_BY
    seeds: tuple[int, ...] | None = None
    within: Mapping[str, float] = field(default_factory=dict)
    versus: str | None = None

    @property
    def sign(self) -> int:
        """Return 1 if higher values of the metric are better, else -1."""
        return 1 if get_metric(self.by).higher_is_better else -1


def check_metric(name: str) -> str:
    """Return the name of a metric that can rank strategies.

    Raises:
        Refused: The metric does not exist, or means nothing alone.
    """
    metric = get_metric(name)
    if not metric.comparable or metric.higher_is_better is None:
        raise Refused(
            f"--rank-by {name} is not possible, because {metric.title} does not compare strategies when it stands "
            "alone; choose a metric that has a best value, like acc or wc_acc"
        )
    return name


def check_seeds(written: int | str | Iterable[int] | None, known: Iterable[int]) -> tuple[int, ...] | None:
    """Return the only seeds that count, ascending; ``None`` for all.

    Args:
        written: ``"0-9"``, ``"0,1,2"``, ``5`` (0 to 4), or a list.
        known: The seeds of the records.

    Raises:
        Refused: The text cannot be read, or no record has one of the seeds.
    """
    if written is None:
        return None
    chosen, there = sorted(read_seeds(written)), sorted(set(known))
    missing = [seed for seed in chosen if seed not in there]
    if missing:
        raise Refused(
            f"--seeds: no record has {_few(missing)}, and a row needs all seeds to be ranked; the records have "
            f"{_few(there)}"
        )
    return tuple(chosen)


def _few(seeds: Sequence[int]) -> str:
    told = seed_words(seeds[:10])
    return f"{told}, … ({len(seeds)} seeds)" if len(seeds) > 10 else told


def check_budget(within: str | Mapping[str, float] | None, costs: Iterable[str]) -> dict[str, float]:
    """Return the largest values of costs that a user wrote.

    Args:
        within: ``memory_bytes=1e6,steps=500``, or a mapping.
        costs: The entries of the records' costs.

    Raises:
        Refused: There is no such entry, or a value is no number from 0.
    """
    if within is None:
        return {}
    known, found = sorted(costs), {}
    given = within.items() if isinstance(within, Mapping) else [_halves(text) for text in within.split(",")]
    for written, limit in given:
        name = str(written).strip().removeprefix("cost_")
        if name not in known:
            raise Refused(f"--within {name}: the records have no such cost; {did_you_mean(name, known)}")
        try:
            found[name] = float(limit)
        except (TypeError, ValueError):
            found[name] = math.nan
        if not found[name] >= 0:
            raise Refused(f"--within {name}={limit} is no limit; write a number from 0, like {name}=1e6")
    if not found:
        raise Refused("--within names no limit; write it as --within memory_bytes=1e6,steps=500")
    return found


def _halves(text: str) -> tuple[str, str]:
    name, sign, limit = text.partition("=")
    if not sign:
        raise Refused(f"--within {text.strip()!r} has no limit; write it as --within memory_bytes=1e6,steps=500")
    return name, limit.strip()


def reference_seeds(scored: Collection[frozenset[int]], shipped: Collection[int]) -> tuple[int, ...]:
    """Return the seeds that a row needs in order to be ranked.

    These are the seeds that most rows have, among rows that have all seeds of the shipped benchmark, or among all
    rows if there are none of these. Of several such sets the largest counts, and then the one with the smallest
    numbers.

    Args:
        scored: The seeds with a score of each row; rows without any are left out.
        shipped: The seeds of the shipped benchmark; empty if it is not one.
    """
    found = [seeds for seeds in scored if seeds]
    wanted = frozenset(shipped)
    counts = Counter([seeds for seeds in found if wanted and wanted <= seeds] or found)
    best = min(counts, key=lambda seeds: (-counts[seeds], -len(seeds), sorted(seeds)), default=frozenset[int]())
    return tuple(sorted(best))


def exceeded(cost: Mapping[str, Summary], within: Mapping[str, float]) -> tuple[str, ...]:
    """Return the limits that some finished run of a row exceeds, or of which its records say nothing."""
    return tuple(
        name
        for name, limit in within.items()
        if name not in cost or any(value > limit for value in cost[name].values.values())
    )


def standing(scores: Mapping[int, float], reference: Collection[int], over: Collection[str]) -> str:
    """Return the standing of a row.

    Args:
        scores: Seed -> its value of the metric that ranks.
        reference: The seeds that a ranked row has.
        over: The limits that it exceeds.
    """
    if not scores:
        return NO_RESULT
    if over:
        return OVER_BUDGET
    return RANKED if all(seed in scores for seed in reference) else INCOMPLETE


def ranked(
    rows: Sequence[Row], choice: RankingChoice, shipped: Collection[int], seeds: Collection[int]
) -> tuple[tuple[int, ...], list[Row]]:
    """Return the reference seeds of a table, and its rows with their standings and ranks.

    Args:
        rows: The rows of the table.
        choice: What ranks them.
        shipped: The seeds of the shipped benchmark; empty if it is not one.
        seeds: The seeds of all records, which are wanted if no row has a result.
    """
    over = {row.label: exceeded(row.cost, choice.within) for row in rows}
    scored = [frozenset(row.scores) for row in rows if not over[row.label]] or [frozenset(row.scores) for row in rows]
    reference = choice.seeds or reference_seeds(scored, shipped)
    found = [
        replace(
            row,
            standing=standing(row.scores, reference, over[row.label]),
            covered=(sum(seed in row.scores for seed in reference), len(reference or seeds)),
        )
        for row in rows
    ]
    means = {row.label: float(np.mean([row.scores[s] for s in reference])) for row in found if row.standing == RANKED}
    places = places_of(means, choice.sign)
    return reference, [
        replace(row, rank=places.get(row.label), ranking=means.get(row.label, math.nan)) for row in found
    ]


def places_of(means: Mapping[str, float], sign: int = 1) -> dict[str, int]:
    """Return 1 + the number of better strategies for each, so that ties share a rank and the next rank is skipped."""
    values = {label: sign * value for label, value in means.items()}
    return {label: 1 + sum(other > own + TIE for other in values.values()) for label, own in values.items()}
