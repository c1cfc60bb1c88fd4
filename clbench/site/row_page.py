"""The page of a row: its results by seed and its cells."""

from __future__ import annotations

from collections.abc import Iterator

from clbench.metrics import get as get_metric
from clbench.site.site_content import Site
from clbench.site.site_templates import render


def row_pages(site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield the page of each row."""
    for benchmark, row in site.rows:
        metrics = [get_metric(name).under(benchmark.table.measure) for name in site.board.metrics]
        yield row.path, render("row.html", site, row.path, benchmark=benchmark, row=row, metrics=metrics)
