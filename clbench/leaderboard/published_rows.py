"""Published numbers beside the rows of a table: never ranked, marked or averaged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clbench.benchmark import documents, schema
from clbench.benchmark.shipped_files import official
from clbench.core.errors import Refused
from clbench.core.measure import Measure
from clbench.core.result_paths import PUBLISHED_FILE
from clbench.core.shown_text import shown
from clbench.leaderboard.board_columns import metric_of
from clbench.leaderboard.column_type import Column
from clbench.leaderboard.numbers import Number
from clbench.metrics import get as get_metric

Written = Mapping[str, Sequence[Mapping[str, Any]]]
"""Title of a table -> the published numbers of its benchmark file."""


@dataclass(frozen=True)
class PublishedRow:
    """Hold what one source reports of one method.

    Args:
        strategy: The method.
        source: Where the numbers stand.
        values: Metric -> number, in the unit of the metric.
    """

    strategy: str
    source: str
    values: Mapping[str, float]

    def text(self, column: Column, decimals: int, measure: Measure) -> Number:
        """Return the cell of a column as people read it; empty where the source says nothing."""
        if column.name == "strategy":
            return Number(shown(self.strategy))
        name = metric_of(column.name)
        return self.number(name, decimals, measure) if name in self.values else Number("")

    def number(self, name: str, decimals: int, measure: Measure) -> Number:
        """Return the value of a metric as people read it."""
        metric = get_metric(name)
        value = metric.shown(self.values[name], measure)
        return Number(f"{value:.{metric.decimals(measure, percent=decimals)}f}")


def published_in(directories: Iterable[str | Path]) -> Written:
    """Return the published numbers that runs left in result folders, by the title of their table."""
    found: dict[str, Sequence[Mapping[str, Any]]] = {}
    for folder in directories:
        file = Path(folder).expanduser() / PUBLISHED_FILE
        try:
            found |= json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError):  # there is none, or it is damaged: a table needs it not
            continue
    return found


def published_rows(title: str, written: Written) -> tuple[PublishedRow, ...]:
    """Return the published rows of a table, best first.

    Args:
        title: The title of the table: only a benchmark as its file describes it has published numbers.
        written: What result folders hold. The file of a benchmark that has a name comes before.
    """
    return rows_of(_of_file(title) or written.get(title, ()))


def rows_of(entries: Iterable[Mapping[str, Any]]) -> tuple[PublishedRow, ...]:
    """Return the rows of some published numbers, best first: one for each method and source."""
    values: dict[tuple[str, str], dict[str, float]] = {}
    for entry in entries:
        values.setdefault((str(entry["strategy"]), str(entry["source"])), {})[str(entry["metric"])] = entry["value"]
    rows = [PublishedRow(strategy, source, found) for (strategy, source), found in values.items()]
    return tuple(sorted(rows, key=_worse))


def _worse(row: PublishedRow) -> tuple[float, str]:
    """Return what orders published rows: the accuracy at the end if it is there, or else the first number."""
    name = next((name for name in ("acc_seen", "acc") if name in row.values), next(iter(row.values)))
    sign = -1 if get_metric(name).higher_is_better else 1
    return sign * row.values[name], row.strategy


@cache
def _of_file(title: str) -> tuple[Mapping[str, Any], ...]:
    """Return the published numbers in the file of a benchmark that has a name, for a title without differences."""
    name, _, version = title.partition("@")
    path = official(name, int(version)) if version.isdecimal() else None
    if path is None:
        return ()
    try:
        document, source = documents.read(path)
        return tuple(each.model_dump() for each in schema.check(document, source).published)
    except Refused:
        return ()


def published_note(rows: Sequence[PublishedRow], look: str) -> list[str]:
    """Return a sentence for each source.

    Args:
        rows: Published rows.
        look: How they are printed, such as ``in grey``.
    """
    sources: dict[str, list[str]] = {}
    for row in rows:
        sources.setdefault(row.source, []).append(row.strategy)
    return [
        f"{look}, published and not ranked: {', '.join(dict.fromkeys(names))} ({source})"
        for source, names in sources.items()
    ]
