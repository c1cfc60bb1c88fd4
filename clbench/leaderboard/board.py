"""Ranked tables of means and intervals, computed from records. They are plain data; exports format them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from clbench.comparison import comparable
from clbench.comparison.code_versions import newest
from clbench.comparison.record_groups import JointRuns, by_strategy, is_finished
from clbench.comparison.trace_values import TraceValues
from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY, Measure
from clbench.core.public_names import public
from clbench.core.record import Record
from clbench.leaderboard.best_values import TIE, marked
from clbench.leaderboard.board_rows import Problem, Row
from clbench.leaderboard.columns import chosen_columns, is_metric, usual
from clbench.leaderboard.notes import left_out, table_notes
from clbench.leaderboard.row_choice import BY_RANK, RowChoice, choose
from clbench.leaderboard.settings_origin import is_tuned
from clbench.leaderboard.summaries import Summary, summarise
from clbench.metrics import Value, metric_names
from clbench.metrics import get as get_metric

RANKED_BY = "acc"
MOST_DECIMALS = 9
ACROSS = ("acc", "wc_acc", "forgetting")
"""The metrics of a table across benchmarks unless others are requested."""


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

    def row(self, strategy: str) -> Row | None:
        """Return the row of a strategy by the name that tables show; ``None`` if it has none."""
        return next((row for row in self.rows if row.strategy == strategy), None)


@dataclass(frozen=True, eq=False, repr=False)
class Board:
    """Hold the tables of all benchmarks in the records.

    Args:
        tables: Tables in the order of their benchmarks' names.
        metrics: All metrics computed, in order.
        shown: The metrics for narrow formats.
        columns: The columns that the user chose, in order; ``None`` for the usual ones of each format.
        decimals: Decimals that the user chose; ``None`` for those of each format.
        across: Whether all tables stand in one, with a group of columns for each benchmark.
        names: The names of all rows, in the order of that one table.
    """

    tables: tuple[Table, ...]
    metrics: tuple[str, ...]
    shown: tuple[str, ...]
    columns: tuple[str, ...] | None = None
    decimals: int | None = None
    across: bool = False
    names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        told = "; ".join(f"{table.benchmark}: {', '.join(row.strategy for row in table.rows)}" for table in self.tables)
        return f"Board({told})"

    def _repr_html_(self) -> str:
        from clbench import html

        text: str = html(self)
        return text

    @property
    def has_tuned(self) -> bool:
        """Return whether a search found the settings of any row."""
        return any(is_tuned(row.records) for table in self.tables for row in table.rows)

    @property
    def has_other_engines(self) -> bool:
        """Return whether the loop of another library ran any row."""
        return any(row.engine != "clbench" for table in self.tables for row in table.rows)


def board(
    records: Iterable[Record],
    metrics: Sequence[str] | None = None,
    *,
    columns: Sequence[str] | None = None,
    rows: str | Sequence[str] | None = None,
    rename: Mapping[str, str] | Iterable[str] = (),
    order: str | Sequence[str] = BY_RANK,
    decimals: int | None = None,
    across: bool = False,
    latest: bool = False,
) -> Board:
    """Rank strategies by ACC over their common seeds, for each benchmark. No value is ever imputed.

    Args:
        records: Any records; of two with the same key the finished one counts, or else the later one.
        metrics: The metrics to show, in this order; by default the usual ones, of which narrow formats show fewer.
        columns: All columns to show, in this order, instead of ``metrics``: ``rank``, ``strategy``, ``engine``,
            ``settings``, ``seeds``, metrics, and entries of a record's cost such as ``cost_train_seconds``.
        rows: The strategies to show. Ranks, common seeds and marks are those among them.
        rename: New names of strategies or benchmarks: ``{"mine": "Ours"}`` or ``["mine=Ours"]``.
        order: ``rank``, ``name``, a metric (best first), or strategies that come first.
        decimals: Decimals of printed values; by default those of each format.
        across: Whether tables and text show all benchmarks in one table.
        latest: Whether to leave out the records of older versions of a user's code; a note counts them.

    Raises:
        Refused: A metric, column or strategy does not exist, or two rows would have one name.
    """
    if decimals is not None and not 0 <= decimals <= MOST_DECIMALS:
        raise Refused(f"--decimals {decimals} is not possible; choose 0 to {MOST_DECIMALS}")
    if metrics is not None and columns is not None:
        raise Refused("--metrics and --columns both choose columns; leave one of them out")
    for name in metrics or ():
        get_metric(name)  # an unknown one is refused before traces are read
    with TraceValues() as values:
        return _board(values, records, metrics, columns, rows, rename, order, decimals, across=across, latest=latest)


def _board(
    values: TraceValues,
    records: Iterable[Record],
    metrics: Sequence[str] | None,
    columns: Sequence[str] | None,
    rows: str | Sequence[str] | None,
    rename: Mapping[str, str] | Iterable[str],
    order: str | Sequence[str],
    decimals: int | None,
    *,
    across: bool,
    latest: bool,
) -> Board:
    """Return a board; arguments and errors are as in :func:`board`."""
    records = values.readable(records)
    records, older = newest(records) if latest else (records, [])
    if columns is not None:
        columns = chosen_columns(columns, {name for record in records for name in record.cost})
        metrics = [name for name in columns if is_metric(name)]
    names, shown = usual(records, values) if metrics is None else (tuple(dict.fromkeys(metrics)),) * 2
    if across and metrics is None:
        shown = tuple(name for name in shown if name in ACROSS)
    found = {title: by_strategy(own) for title, own in comparable.tables(records).items()}
    choice = choose((label for own in found.values() for label in own), found, rows=rows, rename=rename, order=order)
    hidden = _by_title(older, tuple(found))
    every = [_table(title, own, names, choice, values, hidden.get(title, ())) for title, own in found.items()]
    made = tuple(table for table in every if table.rows)
    return Board(
        tables=made,
        metrics=names,
        shown=shown,
        columns=None if columns is None else tuple(columns),
        decimals=decimals,
        across=across,
        names=choice.across(table.rows for table in made),
    )


def _by_title(older: Sequence[Record], titles: Sequence[str]) -> dict[str, list[Record]]:
    """Group the records of older code by the title of the table that would show them."""
    found: dict[str, list[Record]] = {}
    for record in older:
        title = comparable.title(record.cell, record.label)
        own = (each for each in titles if f"{each}, ".startswith(f"{title}, "))
        found.setdefault(next(own, titles[0]), []).append(record)
    return found


def _table(
    benchmark: str,
    strategies: Mapping[str, list[Record]],
    names: tuple[str, ...],
    choice: RowChoice,
    values: TraceValues,
    older: Sequence[Record] = (),
) -> Table:
    joint = JointRuns(record for found in strategies.values() for record in found)
    kept = {label: found for label, found in strategies.items() if choice.shows(label)}
    seeds = tuple(sorted({record.seed for found in kept.values() for record in found}))
    extra = (choice.order,) if isinstance(choice.order, str) and choice.order in metric_names() else ()
    wanted = tuple(dict.fromkeys((*names, *extra, RANKED_BY)))
    cells = {
        label: {r.seed: values.metrics(r, wanted, joint.reference(r)) for r in found if is_finished(r)}
        for label, found in kept.items()
    }
    by_seed = {label: _scores(found) for label, found in cells.items()}
    candidates = {label: scores for label, scores in by_seed.items() if scores}
    common = tuple(s for s in seeds if candidates and all(s in scores for scores in candidates.values()))
    ranking = {label: float(np.mean([scores[s] for s in common])) for label, scores in candidates.items() if common}
    ranks = _ranks(ranking)
    columns = tuple(dict.fromkeys((*names, *extra)))
    rows = [
        Row(
            strategy=choice.names.get(label, label),
            rank=ranks.get(label),
            ranking=ranking.get(label, math.nan),
            metrics={name: summarise({s: cell[name] for s, cell in cells[label].items()}) for name in columns},
            cost=_costs({r.seed: r.cost for r in found if is_finished(r)}),
            problems=_problems(found, seeds),
            records=tuple(found),
            label=label,
        )
        for label, found in kept.items()
    ]
    title = choice.names.get(benchmark, benchmark)
    _refuse_equal_names(rows, title)
    rows = choice.ordered(marked(rows))
    measure = values.measure(record for found in strategies.values() for record in found)
    notes = table_notes(rows, seeds, common, measure, values)
    if rows and len(kept) < len(strategies):
        notes += (f"{len(kept)} of {len(strategies)} strategies; ranks and marks are among them",)
    if older:
        notes += (left_out(older),)
    return Table(title, seeds, common, tuple(rows), notes, measure)


def _refuse_equal_names(rows: Sequence[Row], title: str) -> None:
    for row in rows:
        same = [other.label for other in rows if other.strategy == row.strategy]
        if len(same) > 1:
            raise Refused(
                f"{len(same)} rows of {title} would be called {row.strategy!r}: {', '.join(same)}; give each a name of "
                "its own"
            )


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
            reason = public(found[seed].reason) or "no trace"
            problems.append(Problem(seed, "failed" if status == "done" else status, reason))
    return tuple(problems)
