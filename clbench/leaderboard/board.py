"""Ranked tables of means and intervals, computed from records. They are plain data; exports format them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from clbench.comparison import comparable
from clbench.comparison.code_versions import newest
from clbench.comparison.record_groups import JointRuns, by_strategy, is_finished
from clbench.comparison.trace_values import TraceValues
from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY, Measure
from clbench.core.public_names import public
from clbench.core.record import Record
from clbench.leaderboard.best_values import marked
from clbench.leaderboard.board_columns import metric_of
from clbench.leaderboard.board_rows import Problem, Row
from clbench.leaderboard.columns import chosen_columns, usual
from clbench.leaderboard.notes import left_out, table_notes
from clbench.leaderboard.pairs import BoardPair, board_pairs, grouped
from clbench.leaderboard.published_rows import PublishedRow, Written, published_rows
from clbench.leaderboard.row_choice import BY_NAME, BY_RANK, RowChoice, choose, one_label
from clbench.leaderboard.settings_origin import is_tuned
from clbench.leaderboard.standings import RANKED_BY, RankingChoice, check_budget, check_metric, check_seeds, ranked
from clbench.leaderboard.summaries import Summary, summarise
from clbench.metrics import Value
from clbench.metrics import get as get_metric

MOST_DECIMALS = 9
ACROSS = ("acc", "wc_acc", "forgetting")
"""The metrics of a table across benchmarks unless others are requested."""


@dataclass(frozen=True, eq=False)
class Table:
    """Hold the table of one benchmark with one setting: rows from best to worst, unranked rows last.

    Args:
        benchmark: Name and version, the differences from the shipped file of that version, and the evaluated split.
        seeds: Seeds of all records.
        reference: The seeds that a row needs in order to be ranked. Only these determine ranks.
        rows: One per strategy.
        notes: Sentences that a reader needs to compare rows.
        measure: What its scores are.
        ranking: What ranks its rows.
        published: Numbers that others report on this benchmark; they have no rank.
    """

    benchmark: str
    seeds: tuple[int, ...]
    reference: tuple[int, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    measure: Measure = ACCURACY
    ranking: RankingChoice = field(default_factory=RankingChoice)
    published: tuple[PublishedRow, ...] = ()

    @property
    def wanted(self) -> tuple[int, ...]:
        """Return the reference seeds; the seeds of all records if no row has a result."""
        return self.reference or self.seeds

    @cached_property
    def pairs(self) -> tuple[BoardPair, ...]:
        """Return the pairs of its rows, compared by the metric that ranks."""
        return board_pairs(self.rows, self.ranking.versus)

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
        ranking: What ranks the rows of its tables.
        with_pairs: Whether formats show the pairs of each table.
    """

    tables: tuple[Table, ...]
    metrics: tuple[str, ...]
    shown: tuple[str, ...]
    columns: tuple[str, ...] | None = None
    decimals: int | None = None
    across: bool = False
    names: tuple[str, ...] = ()
    ranking: RankingChoice = field(default_factory=RankingChoice)
    with_pairs: bool = False

    def __repr__(self) -> str:
        told = "; ".join(f"{table.benchmark}: {', '.join(row.strategy for row in table.rows)}" for table in self.tables)
        return f"Board({told})"

    def _repr_html_(self) -> str:
        from clbench import html

        text: str = html(self)
        return text

    @property
    def ranked_by(self) -> str:
        """Return the metric that ranks strategies."""
        return self.ranking.by

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
    seeds: int | str | Iterable[int] | None = None,
    rank_by: str = RANKED_BY,
    within: str | Mapping[str, float] | None = None,
    versus: str | None = None,
    pairs: bool = False,
    published: Written | None = None,
) -> Board:
    """Rank strategies by a metric over their reference seeds, for each benchmark. No value is ever imputed.

    Args:
        records: Any records; of two with the same key the finished one counts, or else the later one.
        metrics: The metrics to show, in this order; by default the usual ones, of which narrow formats show fewer.
        columns: All columns to show, in this order, instead of ``metrics``: ``rank``, ``strategy``, ``engine``,
            ``settings``, ``seeds``, metrics, and entries of a record's cost such as ``cost_train_seconds``.
        rows: The strategies to show. Ranks, groups and marks are those among them.
        rename: New names of strategies or benchmarks: ``{"mine": "Ours"}`` or ``["mine=Ours"]``.
        order: ``rank``, ``name``, a metric (best first), or strategies that come first.
        decimals: Decimals of printed values; by default those of each format.
        across: Whether tables and text show all benchmarks in one table.
        latest: Whether to leave out the records of older versions of a user's code; a note counts them.
        seeds: The only seeds that count, which are then the reference seeds: ``"0-9"``, ``"0,1,2"``, ``5`` (0 to 4) or
            a list. By default the reference seeds are those that most strategies have; see
            :func:`clbench.leaderboard.standings.reference_seeds`.
        rank_by: The metric that ranks.
        within: The largest costs, ``"memory_bytes=1e6,steps=500"`` or a mapping. Rows above them are not ranked.
        versus: The strategy that all others are compared with.
        pairs: Whether formats show the pairs of rows of each table; ``versus`` shows them too.
        published: Title of a table -> published numbers, of benchmark files that have no name;
            :func:`clbench.leaderboard.published_rows.published_in` reads them from result folders.

    Raises:
        Refused: A metric, column, strategy or cost does not exist, or two rows would have one name.
    """
    if decimals is not None and not 0 <= decimals <= MOST_DECIMALS:
        raise Refused(f"--decimals {decimals} is not possible; choose 0 to {MOST_DECIMALS}")
    if metrics is not None and columns is not None:
        raise Refused("--metrics and --columns both choose columns; leave one of them out")
    for name in metrics or ():
        get_metric(name)  # an unknown one is refused before traces are read
    ranking = RankingChoice(check_metric(rank_by))
    with TraceValues() as values:
        records = values.readable(records)
        records, older = newest(records) if latest else (records, [])
        ranking = replace(
            ranking,
            seeds=check_seeds(seeds, (record.seed for record in records)),
            within=check_budget(within, {name for record in records for name in record.cost}),
        )
        if columns is not None:
            columns = chosen_columns(columns, {name for record in records for name in record.cost})
            metrics = [own for name in columns if (own := metric_of(name))]
        names, shown = usual(records, values) if metrics is None else (tuple(dict.fromkeys(metrics)),) * 2
        found = {title: by_strategy(own) for title, own in comparable.tables(records).items()}
        others = {title: published_rows(title, published or {}) for title in found}
        if metrics is None:
            told = [name for held in others.values() for row in held for name in row.values]
            names, shown = (tuple(dict.fromkeys((each[0], *told, *each[1:]))) for each in (names, shown))
        if across and metrics is None:
            shown = tuple(name for name in shown if name in ACROSS)
        labels = list(dict.fromkeys(label for own in found.values() for label in own))
        choice = choose(labels, found, rows=rows, rename=rename, order=order)
        ranking = replace(ranking, versus=None if versus is None else one_label(versus, labels, choice))
        hidden = _by_title(older, tuple(found))
        every = [
            replace(_table(title, own, names, choice, ranking, values, hidden.get(title, ())), published=others[title])
            for title, own in found.items()
        ]
    made = tuple(table for table in every if table.rows)
    return Board(
        tables=made,
        metrics=names,
        shown=shown,
        columns=None if columns is None else tuple(columns),
        decimals=decimals,
        across=across,
        names=choice.across(table.rows for table in made),
        ranking=ranking,
        with_pairs=pairs or versus is not None,
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
    ranking: RankingChoice,
    values: TraceValues,
    older: Sequence[Record] = (),
) -> Table:
    joint = JointRuns(record for found in strategies.values() for record in found)
    kept = {
        label: [record for record in found if ranking.seeds is None or record.seed in ranking.seeds]
        for label, found in strategies.items()
        if choice.shows(label)
    }
    kept = {label: found for label, found in kept.items() if found}
    seeds = tuple(sorted({record.seed for found in kept.values() for record in found}))
    extra = (choice.order,) if isinstance(choice.order, str) and choice.order not in (BY_RANK, BY_NAME) else ()
    wanted = tuple(dict.fromkeys((*names, *extra, ranking.by)))
    cells = {
        label: {r.seed: values.metrics(r, wanted, joint.reference(r)) for r in found if is_finished(r)}
        for label, found in kept.items()
    }
    columns = tuple(dict.fromkeys((*names, *extra)))
    rows = [
        Row(
            strategy=choice.names.get(label, label),
            rank=None,
            ranking=math.nan,
            metrics={name: summarise({s: cell[name] for s, cell in cells[label].items()}) for name in columns},
            cost=_costs({r.seed: r.cost for r in found if is_finished(r)}),
            problems=(),
            records=tuple(found),
            label=label,
            scores=_scores(cells[label], ranking.by),
        )
        for label, found in kept.items()
    ]
    shipped = comparable.shipped_seeds(rows[0].records[0].cell) if rows else ()
    reference, rows = ranked(rows, ranking, shipped, seeds)
    rows = [replace(row, problems=_problems(row.records, reference or seeds)) for row in rows]
    title = choice.names.get(benchmark, benchmark)
    _refuse_equal_names(rows, title)
    rows = choice.ordered(marked(grouped(rows)))
    measure = values.measure(record for found in strategies.values() for record in found)
    notes = table_notes(rows, seeds, reference, measure, values, ranking)
    if rows and len(kept) < len(strategies):
        notes += (f"{len(kept)} of {len(strategies)} strategies; ranks, groups and marks are among them",)
    if older:
        notes += (left_out(older),)
    return Table(title, seeds, reference, tuple(rows), notes, measure, ranking)


def _refuse_equal_names(rows: Sequence[Row], title: str) -> None:
    for row in rows:
        same = [other.label for other in rows if other.strategy == row.strategy]
        if len(same) > 1:
            raise Refused(
                f"{len(same)} rows of {title} would be called {row.strategy!r}: {', '.join(same)}; give each a name of "
                "its own"
            )


def _scores(cells: Mapping[int, Mapping[str, Value]], name: str) -> dict[int, float]:
    return {seed: cells[seed][name].value for seed in sorted(cells) if cells[seed][name].defined}


def _costs(costs: Mapping[int, Mapping[str, float]]) -> dict[str, Summary]:
    names = dict.fromkeys(name for cost in costs.values() for name in cost)
    return {
        name: summarise({seed: Value(float(cost[name])) for seed, cost in costs.items() if name in cost})
        for name in names
    }


def _problems(records: Sequence[Record], reference: Iterable[int]) -> tuple[Problem, ...]:
    """Return the cells without a result: reference seeds that were not run, and own runs that did not finish."""
    found = {record.seed: record for record in records}
    problems = []
    for seed in sorted({*found, *reference}):
        if seed not in found:
            problems.append(Problem(seed, "missing", "not run"))
        elif not is_finished(found[seed]):
            status = found[seed].status
            reason = public(found[seed].reason) or "no trace"
            problems.append(Problem(seed, "failed" if status == "done" else status, reason))
    return tuple(problems)
