"""The page of a benchmark: its table with all metrics, and what its rows have in common."""

from __future__ import annotations

from collections.abc import Iterator

from clbench.leaderboard.page_settings import row_settings, shared_settings, stream_words
from clbench.metrics import get as get_metric
from clbench.site.metric_cells import cells
from clbench.site.site_content import Site, SiteBenchmark
from clbench.site.site_templates import render


def benchmark_pages(site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield the page of each benchmark."""
    for benchmark in site.benchmarks:
        yield benchmark.path, _page(site, benchmark)


def _page(site: Site, benchmark: SiteBenchmark) -> bytes:
    table = benchmark.table
    board = site.board
    names = [*board.shown, *(name for name in board.metrics if name not in board.shown)]
    return render(
        "benchmark.html",
        site,
        benchmark.path,
        benchmark=benchmark,
        table=table,
        words=stream_words(table) if table.rows else "",
        settings=shared_settings(table),
        metrics=[get_metric(name).under(table.measure) for name in names],
        rows=[
            (row, own, cells(board, table, row.row, names))
            for row, own in zip(benchmark.rows, row_settings(table), strict=True)
        ],
    )
