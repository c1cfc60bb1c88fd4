"""The page of a benchmark: its table with all metrics, its curves and matrices, and what its rows have in common."""

from __future__ import annotations

from collections.abc import Iterator

from clbench.leaderboard.page_settings import row_settings, shared_settings, stream_words
from clbench.metrics import get as get_metric
from clbench.site.curve_data import BenchmarkCurves, curve_data, curves_of
from clbench.site.curve_picture import MOST, STILL_COLUMNS, curve_path, curve_pictures
from clbench.site.data_scripts import data_script
from clbench.site.end_matrices import end_matrices
from clbench.site.metric_cells import cells
from clbench.site.site_content import Site, SiteBenchmark
from clbench.site.site_templates import render
from clbench.site.stream_strip import strip_path, strip_pictures
from clbench.site.svg_themes import themed
from clbench.site.thinned_curves import COLUMNS


def benchmark_pages(site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield the page of each benchmark, with its data and pictures."""
    for benchmark in site.benchmarks:
        drawn = curves_of(site, benchmark)
        yield benchmark.path, _page(site, benchmark, drawn)
        if drawn:
            yield drawn.data_path, data_script(drawn.data_name, curve_data(drawn))
            yield from curve_pictures(drawn)
            yield from strip_pictures(drawn)


def _page(site: Site, benchmark: SiteBenchmark, drawn: BenchmarkCurves | None) -> bytes:
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
        drawn=drawn,
        pictures=_pictures(drawn) if drawn else {},
        first=MOST,
        columns=(COLUMNS, STILL_COLUMNS),
        matrices=end_matrices(drawn) if drawn else [],
        fingerprints=fingerprints(benchmark),
        metrics=[get_metric(name).under(table.measure) for name in names],
        rows=[
            (row, own, cells(board, table, row.row, names))
            for row, own in zip(benchmark.rows, row_settings(table), strict=True)
        ],
    )


def _pictures(drawn: BenchmarkCurves) -> dict[str, dict[str, str]]:
    """Return the paths of the pictures in each theme."""
    return {
        name: {theme.name: path(drawn, theme.name) for theme in themed()}
        for name, path in (("curves", curve_path), ("stream", strip_path))
    }


def fingerprints(benchmark: SiteBenchmark) -> list[tuple[int, str]]:
    """Return the fingerprints of the streams of a benchmark, by seed; several of one seed differ between rows."""
    found = {(record.seed, record.fingerprint) for row in benchmark.rows for record in row.row.records}
    return sorted((seed, fingerprint) for seed, fingerprint in found if fingerprint)
