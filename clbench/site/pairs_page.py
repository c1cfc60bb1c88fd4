"""The page of the pairs of a benchmark: a matrix of differences, and a table with their statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from clbench.leaderboard.numbers import p_text
from clbench.leaderboard.pair_sheets import pair_sheet
from clbench.leaderboard.pairs import BoardPair, competing
from clbench.metrics import get as get_metric
from clbench.site.site_content import Site, SiteBenchmark, SiteRow
from clbench.site.site_templates import render

MOST = 30
"""Largest number of rows of a matrix, the best first; the table shows their pairs."""


@dataclass(frozen=True)
class PairCell:
    """Hold a cell of the matrix.

    Args:
        text: The difference of the row of the table minus that of the column; empty on the diagonal.
        side: ``up`` or ``down`` if the two are separated, ``level`` if not, and empty if it is not known.
        words: All of it in words.
    """

    text: str
    side: str
    words: str


def pairs_pages(site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield the page of each benchmark in which rows can be compared."""
    for benchmark in site.benchmarks:
        if benchmark.table.pairs:
            yield benchmark.pairs_path, _page(site, benchmark)


def _page(site: Site, benchmark: SiteBenchmark) -> bytes:
    rows, cells = pair_matrix(benchmark)
    labels = {each.row.label for each in rows}
    among = [pair for pair in benchmark.table.pairs if {pair.one, pair.other} <= labels or math.isnan(pair.holm_p)]
    sheet = pair_sheet(benchmark.table, 2, among)
    metric = get_metric(benchmark.table.ranking.by).under(benchmark.table.measure)
    return render(
        "pairs.html", site, benchmark.pairs_path, benchmark=benchmark, rows=rows, cells=cells, sheet=sheet,
        metric=metric, left_out=len(competing(benchmark.table.rows)) - len(rows),
    )  # fmt: skip


def pair_matrix(benchmark: SiteBenchmark) -> tuple[list[SiteRow], list[list[PairCell]]]:
    """Return the best rows of a benchmark, and a cell for each pair of them in both orders."""
    table = benchmark.table
    order = [row.label for row in competing(table.rows)][:MOST]
    rows = sorted((each for each in benchmark.rows if each.row.label in order), key=lambda r: order.index(r.row.label))
    found = {(pair.one, pair.other): pair for pair in table.pairs}
    cells = []
    for one in rows:
        line = []
        for other in rows:
            names = one.row.strategy, other.row.strategy
            pair = found.get((one.row.label, other.row.label))
            if pair is not None:
                line.append(_cell(benchmark, pair, 1, names))
            elif (pair := found.get((other.row.label, one.row.label))) is not None:
                line.append(_cell(benchmark, pair, -1, names))
            else:
                line.append(PairCell("", "", ""))
        cells.append(line)
    return rows, cells


def _cell(benchmark: SiteBenchmark, pair: BoardPair, sign: int, names: tuple[str, str]) -> PairCell:
    table = benchmark.table
    metric = get_metric(table.ranking.by)
    places = metric.decimals(table.measure, percent=1)
    value = sign * metric.shown(pair.statistics.difference, table.measure)
    text = f"{value:+.{places}f}"
    half = pair.statistics.half
    interval = "" if math.isnan(half) else f" ± {abs(metric.shown(half, table.measure)):.{places}f}"
    better = value > 0 if metric.higher_is_better else value < 0
    known = not math.isnan(pair.holm_p)
    side = "" if not known else "level" if not pair.separated else "up" if better else "down"
    verdict = f", Holm's p {p_text(pair.holm_p)}" if known else ""
    return PairCell(
        text, side, f"{names[0]} minus {names[1]}: {text}{interval} over {pair.statistics.n} seeds{verdict}"
    )
