"""Ranked tables of means and intervals, computed from records. They are plain data; exports format them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clbench.comparison import comparable
from clbench.comparison.record_groups import by_strategy, is_finished, joint_runs, measure_of, reference
from clbench.core.measure import ACCURACY, Measure
from clbench.core.record import Record
from clbench.leaderboard.columns import on_versions, usual
from clbench.leaderboard.notes import different_versions, labels, other_streams, recipe, versions
from clbench.leaderboard.summaries import Summary, summarise
from clbench.metrics import Value, compute
from clbench.metrics import get as get_metric
from clbench.strategies.protocol import with_breaches

RANKED_BY = "acc"
# Smaller differences of means count as ties: this tolerates rounding, and is far below one sample of any test set.
TIE = 1e-9


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
        strategy: Label of the strategy, with overrides.
        rank: Rank, 1 is best and ties share a rank; ``None`` if unranked.
        ranking: Mean ACC over the table's common seeds, which determines the rank; NaN if unranked.
        metrics: name -> summary over this strategy's finished seeds.
        cost: name -> summary over the same seeds.
        problems: Cells without a result.
        records: All records of the strategy, by seed.
    """

    strategy: str
    rank: int | None
    ranking: float
    metrics: dict[str, Summary]
    cost: dict[str, Summary]
    problems: tuple[Problem, ...]
    records: tuple[Record, ...]

    @property
    def engine(self) -> str:
        """Return whose training loop ran it."""
        return self.records[0].engine

    @property
    def recipe(self) -> str:
        """Return the strategy that its label stands for, with all parameters that differ from their defaults."""
        return recipe(self.records[0])

    @property
    def versions(self) -> str:
        """Return the versions of clbench and torch that ran its cells; several are joined by ``or``."""
        return " or ".join(dict.fromkeys(filter(None, map(versions, self.records))))

    @property
    def finished(self) -> tuple[int, ...]:
        """Return the seeds with a result, ascending."""
        return tuple(record.seed for record in self.records if is_finished(record))

    @property
    def looks(self) -> str:
        """Return the evaluation settings of its cells, ``every 1; samples per task: 1000``; several are joined by
        ``or``."""
        return " or ".join(dict.fromkeys(_looks(record.cell.get("evaluation") or {}) for record in self.records))

    @property
    def alarms(self) -> list[str]:
        """Return the distinct alarms of its cells, each with the seeds that raised it."""
        seeds: dict[str, list[int]] = {}
        for record in self.records:
            for alarm in with_breaches(record.cell, record.alarms):
                seeds.setdefault(alarm, []).append(record.seed)
        return [f"{alarm} ({_seeds(found)})" for alarm, found in seeds.items()]


@dataclass(frozen=True, eq=False)
class Table:
    """Hold the table of one benchmark with one setting: rows from best to worst, unranked rows last.

    Args:
        benchmark: Name and version, the differences from the shipped file of that version, and the evaluated split.
        seeds: Seeds of all records.
        common: Seeds that every ranked strategy has finished. Only these determine the ranking.
        rows: One per strategy.
        notes: Sentences that a reader needs to compare rows.
        measure: What its scores are.
    """

    benchmark: str
    seeds: tuple[int, ...]
    common: tuple[int, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    measure: Measure = ACCURACY


@dataclass(frozen=True, eq=False)
class Board:
    """Hold the tables of all benchmarks in the records.

    Args:
        tables: Tables in the order of their benchmarks' names.
        metrics: All metrics computed, in order.
        shown: The metrics for narrow formats.
    """

    tables: tuple[Table, ...]
    metrics: tuple[str, ...]
    shown: tuple[str, ...]

    @property
    def has_other_engines(self) -> bool:
        """Return whether the loop of another library ran any row."""
        return any(row.engine != "clbench" for table in self.tables for row in table.rows)


def board(records: Iterable[Record], metrics: Sequence[str] | None = None) -> Board:
    """Rank strategies by ACC over their common seeds, for each benchmark. No value is ever imputed.

    Args:
        records: Any records; of two with the same key the finished one counts, or else the later one.
        metrics: The metrics to show, in this order; by default the usual ones, of which narrow formats show fewer.

    Raises:
        Refused: A metric does not exist.
    """
    records = list(records)
    names, shown = usual(records) if metrics is None else (tuple(dict.fromkeys(metrics)),) * 2
    for name in names:
        get_metric(name)
    tables = tuple(_table(name, found, names) for name, found in comparable.tables(records).items())
    return Board(tables=tables, metrics=names, shown=shown)


def _table(benchmark: str, records: list[Record], names: tuple[str, ...]) -> Table:
    strategies = by_strategy(records)
    seeds = tuple(sorted({record.seed for record in records}))
    wanted = tuple(dict.fromkeys((*names, RANKED_BY)))
    joint = joint_runs(records)
    values = {
        label: {r.seed: _computed(r, wanted, joint) for r in found if is_finished(r)}
        for label, found in strategies.items()
    }
    by_seed = {label: _scores(found) for label, found in values.items()}
    candidates = {label: scores for label, scores in by_seed.items() if scores}
    common = tuple(s for s in seeds if candidates and all(s in scores for scores in candidates.values()))
    ranking = {label: float(np.mean([scores[s] for s in common])) for label, scores in candidates.items() if common}
    ranks = _ranks(ranking)
    rows = [
        Row(
            strategy=label,
            rank=ranks.get(label),
            ranking=ranking.get(label, math.nan),
            metrics={name: summarise({s: cell[name] for s, cell in values[label].items()}) for name in names},
            cost=_costs({r.seed: r.cost for r in found if is_finished(r)}),
            problems=_problems(found, seeds),
            records=tuple(found),
        )
        for label, found in strategies.items()
    ]
    rows.sort(key=lambda row: (row.rank is None, row.rank or 0, row.strategy))
    measure = measure_of(records)
    return Table(benchmark, seeds, common, tuple(rows), _notes(rows, seeds, common, measure), measure)


def _computed(record: Record, names: Sequence[str], joint: Sequence[Record]) -> dict[str, Value]:
    assert record.trace is not None
    upper = reference(record, joint)
    return compute(record.trace, names, reference=upper.trace if upper else None)


def _scores(cells: Mapping[int, Mapping[str, Value]]) -> dict[int, float]:
    return {seed: cell[RANKED_BY].value for seed, cell in cells.items() if cell[RANKED_BY].defined}


def _ranks(ranking: Mapping[str, float]) -> dict[str, int]:
    """Return 1 + the number of better strategies for each, so that ties share a rank and the next rank is skipped."""
    return {label: 1 + sum(other > own + TIE for other in ranking.values()) for label, own in ranking.items()}


def _costs(costs: Mapping[int, Mapping[str, float]]) -> dict[str, Summary]:
    names = dict.fromkeys(name for cost in costs.values() for name in cost)
    return {
        name: summarise({seed: Value(float(cost[name])) for seed, cost in costs.items() if name in cost})
        for name in names
    }


def _problems(records: Iterable[Record], seeds: Iterable[int]) -> tuple[Problem, ...]:
    found = {record.seed: record for record in records}
    problems = []
    for seed in seeds:
        if seed not in found:
            problems.append(Problem(seed, "missing", "not run"))
        elif not is_finished(found[seed]):
            status = found[seed].status
            problems.append(Problem(seed, "failed" if status == "done" else status, found[seed].reason or "no trace"))
    return tuple(problems)


def _notes(rows: Sequence[Row], seeds: tuple[int, ...], common: tuple[int, ...], measure: Measure) -> tuple[str, ...]:
    looks = " or ".join(dict.fromkeys(row.looks for row in rows))
    notes = [f"evaluations: {looks}"] if looks else []
    finished = [row for row in rows if row.finished]
    notes += on_versions({row.strategy: row.records for row in finished}, rows[0].metrics if rows else ())
    if finished and not common:
        notes.append("no seed is finished for every strategy, so none is ranked")
    elif common and common != seeds:
        notes.append(
            f"ranked by {measure.short} over the seeds that every ranked strategy has finished: {_seeds(common)}"
        )
    if any(set(row.finished) != set(common) for row in finished) and common:
        notes.append("means and intervals are over each strategy's own finished seeds")
    notes += [*other_streams(finished), *labels(rows), *different_versions(rows)]
    differing = _differing_settings([record.cell for row in rows for record in row.records])
    if differing:
        notes.append(f"rows differ in settings of the benchmark: {', '.join(differing)}")
    if any(row.strategy != record.label for row in rows for record in row.records):
        notes.append("rows with equal names and different settings show these in brackets, or a # if there are many")
    return tuple(notes)


def _looks(evaluation: Mapping[str, Any]) -> str:
    """Return the evaluation settings on which minima and windows depend; empty if a record has none."""
    if not evaluation:
        return ""
    schedule, every = evaluation.get("schedule", "every"), evaluation.get("every", 1)
    when = f"every {every}" if schedule == "every" and every else "ends only" if schedule in ("every", "ends") else ""
    if not when:  # dense, or {dense: {..}}, {at: [..]}
        named = schedule if isinstance(schedule, Mapping) else {schedule: {}}
        when = ", ".join(f"{name} {text}".strip() for name, of in named.items() for text in [_short(of)])
    tasks = evaluation.get("tasks", "seen")
    which = "" if tasks == "seen" else f"; tasks: {tasks}"
    return f"{when}{which}; samples per task: {evaluation.get('rows_per_task', 'all')}"


def _short(settings: Any) -> str:
    """Return ``steps 20, growth 1.1``, or the start of a long list of iterations and their number."""
    if isinstance(settings, Mapping):
        return ", ".join(f"{name} {value}" for name, value in settings.items())
    listed = [str(value) for value in settings]
    return ", ".join(listed) if len(listed) <= 6 else f"{', '.join(listed[:5])}, … ({len(listed)} iterations)"


def _differing_settings(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return settings such as ``training.lr`` that differ between cells of one table; a strategy may set its own
    policy."""
    found = []
    for section in ("stream", "model", "training", "evaluation", "memory"):
        settings = [cell.get(section) or {} for cell in cells]
        keys = ["size"] if section == "memory" else sorted({key for each in settings for key in each})
        found += [f"{section}.{key}" for key in keys if len({str(each.get(key)) for each in settings}) > 1]
    return found


def _seeds(seeds: Iterable[int]) -> str:
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
    return [f"{status} ({_seeds(seeds)}): {reason}" for (status, reason), seeds in groups.items()]
