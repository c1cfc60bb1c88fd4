"""The rows of a leaderboard: one strategy on one benchmark, with its results, problems and alarms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from clbench.comparison.record_groups import is_finished
from clbench.core.public_names import public
from clbench.core.record import Record
from clbench.core.shown_text import shown
from clbench.leaderboard.settings_origin import settings_origin
from clbench.leaderboard.settings_text import evaluation_text, recipe, versions
from clbench.leaderboard.summaries import Summary
from clbench.strategies.protocol import with_breaches


@dataclass(frozen=True)
class Problem:
    """Describe a cell without a result: ``missing``, ``skipped``, ``diverged`` or ``failed``, and the reason."""

    seed: int
    status: str
    reason: str


@dataclass(frozen=True, eq=False)
class Row:
    """Hold the results of one strategy on one benchmark.

    Args:
        strategy: Name that tables show: the label, or the name that the user gave it.
        rank: Rank, 1 is best and ties share a rank; ``None`` if unranked.
        ranking: Mean of the metric that ranks, over the table's reference seeds; NaN if unranked.
        metrics: name -> summary over this strategy's finished seeds.
        cost: name -> summary over the same seeds.
        problems: Cells without a result.
        records: All records of the strategy, by seed.
        label: Label of the strategy, with overrides.
        marks: Metric -> ``"best"`` or ``"level"`` (not separated from the best); see
            :mod:`clbench.leaderboard.best_values`.
        scores: Seed -> value of the metric that ranks, over this strategy's finished seeds.
        standing: ``ranked``, ``incomplete``, ``over budget`` or ``no result``.
        covered: How many of the table's reference seeds it has, and how many there are.
        group: Its group, 1 is best: rows of one group are not separated from its best row. ``None`` if it has none.
    """

    strategy: str
    rank: int | None
    ranking: float
    metrics: dict[str, Summary]
    cost: dict[str, Summary]
    problems: tuple[Problem, ...]
    records: tuple[Record, ...]
    label: str
    marks: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[int, float] = field(default_factory=dict)
    standing: str = "ranked"
    covered: tuple[int, int] = (0, 0)
    group: int | None = None

    @property
    def name(self) -> str:
        """Return its name as sentences and tables show it."""
        return shown(self.strategy)

    @property
    def engine(self) -> str:
        """Return whose training loop ran it."""
        return self.records[0].engine

    @property
    def settings_origin(self) -> str:
        """Return how its settings were found: ``default``, ``given``, or a protocol such as ``first:1 (24 trials)``."""
        return settings_origin(self.records)

    @property
    def recipe(self) -> str:
        """Return the strategy that its label stands for, with all parameters that differ from their defaults."""
        return recipe(self.records[0])

    @property
    def versions(self) -> str:
        """Return the versions of clbench and torch that ran its cells; several are joined by ``or``."""
        return " or ".join(dict.fromkeys(filter(None, map(versions, self.records))))

    @cached_property
    def finished(self) -> tuple[int, ...]:
        """Return the seeds with a result, ascending."""
        return tuple(record.seed for record in self.records if is_finished(record))

    @property
    def looks(self) -> str:
        """Return the evaluation settings of its cells, ``every 1; samples per task: 1000``; several are joined by
        ``or``."""
        return " or ".join(
            dict.fromkeys(evaluation_text(record.cell.get("evaluation") or {}) for record in self.records)
        )

    @cached_property
    def alarms(self) -> list[str]:
        """Return the distinct alarms of its cells, each with the seeds that raised it."""
        seeds: dict[str, list[int]] = {}
        told: dict[tuple[str, tuple[str, ...]], list[str]] = {}  # a protocol does not depend on the seed
        for record in self.records:
            place = record.settings, tuple(record.alarms)
            if place not in told:
                told[place] = [public(alarm) for alarm in with_breaches(record.cell, record.alarms)]
            for alarm in told[place]:
                seeds.setdefault(alarm, []).append(record.seed)
        return [f"{alarm} ({seed_words(found)})" for alarm, found in seeds.items()]


def coverage(row: Row) -> str:
    """Return how many reference seeds a row has: ``10/10``, or ``10/10 + 2`` if it has others too."""
    have, wanted = row.covered
    others = len(row.finished) - have
    return f"{have}/{wanted} + {others}" if others > 0 else f"{have}/{wanted}"


def seed_words(seeds: Iterable[int]) -> str:
    """Return ``seeds 0, 2``, or ``seed 0``."""
    seeds = sorted(seeds)
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(str(seed) for seed in seeds)


def count_problems(problems: Iterable[Problem]) -> str:
    """Count problems by status, such as ``1 diverged, 2 missing``."""
    counts = Counter(problem.status for problem in problems)
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))


def group_problems(problems: Iterable[Problem]) -> list[str]:
    """Return lines such as ``diverged (seeds 0, 3): the model's outputs ...``, one per distinct status and reason."""
    groups: dict[tuple[str, str], list[int]] = {}
    for problem in problems:
        groups.setdefault((problem.status, problem.reason), []).append(problem.seed)
    return [f"{status} ({seed_words(seeds)}): {reason}" for (status, reason), seeds in groups.items()]
