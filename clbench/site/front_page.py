"""The front page: benchmarks, and one table of all rows with columns to choose, sort and filter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clbench.leaderboard.best_values import is_bound
from clbench.leaderboard.numbers import NOTHING, amount
from clbench.leaderboard.page_settings import stream_words
from clbench.metrics import get as get_metric
from clbench.site.metric_cells import cell
from clbench.site.pareto_picture import cost_points, has_picture, pareto_path, pareto_pictures
from clbench.site.site_content import Site, SiteBenchmark, SiteRow
from clbench.site.site_templates import render
from clbench.submission.findings import STATUSES

METRICS = ("acc", "wc_acc", "min_acc", "gap_depth", "forgetting", "aaa")
"""The metrics of the front page; the pages of benchmarks have all."""
COSTS = {
    "memory": ("Memory, bytes", ("memory_bytes", "state_bytes"), "bytes of the replay buffer and of the parts' state"),
    "steps": ("Steps", ("steps",), "optimiser steps"),
    "seconds": ("Seconds", ("train_seconds",), "training time; comparable on one machine only"),
}
"""Name of a column of costs -> heading, entries of the record's cost that are added, meaning."""
NARROW = ("min_acc", "aaa", "memory", "steps", "seconds", "origin")
"""Columns that are shown only if the reader ticks them."""


@dataclass(frozen=True)
class FrontColumn:
    """Describe a column of the front page's table.

    Args:
        name: Its name in the address of the page.
        heading: Its heading.
        help: What it means, in a few words.
        first: ``asc`` or ``desc``: the order after the first click.
        number: Whether it holds numbers.
        shown: Whether it is shown unless the reader chooses.
    """

    name: str
    heading: str
    help: str
    first: str = "asc"
    number: bool = False
    shown: bool = True


def columns(site: Site) -> list[FrontColumn]:
    """Return the columns of the table, in order."""
    made = [
        FrontColumn("benchmark", "Benchmark", "name, version, and differences from the benchmark's file"),
        FrontColumn("rank", "#", "rank on its benchmark, among rows with all reference seeds", number=True),
        FrontColumn("group", "Group", "rows of a group are not separated from its best row", number=True),
        FrontColumn("strategy", "Strategy", "name and settings; leads to the page of the row"),
    ]
    for name in METRICS:
        if name in site.board.metrics:
            metric = get_metric(name)
            first = "desc" if metric.higher_is_better else "asc"
            made.append(FrontColumn(name, metric.title, metric.formula, first, True, name not in NARROW))
    made += [
        FrontColumn("front", "Pareto", "● no other row costs at most as much and scores at least as high", "desc"),
        FrontColumn("seeds", "Seeds", "finished reference seeds of its benchmark, + further seeds", "desc", True),
        *(FrontColumn(name, head, told, "asc", True, name not in NARROW) for name, (head, _, told) in COSTS.items()),
        FrontColumn("origin", "Settings", "how the settings were found", shown=False),
        FrontColumn("status", "Verified", "what was verified: " + ", ".join(STATUSES), "desc"),
    ]
    return made


def front_page(site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield the front page and its pictures."""
    for benchmark in site.benchmarks:
        yield from pareto_pictures(benchmark)
    shown = columns(site)
    yield (
        "index.html",
        render(
            "front.html",
            site,
            "index.html",
            columns=shown,
            cards=[_card(benchmark) for benchmark in site.benchmarks],
            rows=[row for benchmark in site.benchmarks for row in _rows(site, benchmark, shown)],
            statuses=[status for status in STATUSES if any(row.status == status for _, row in site.rows)],
        ),
    )


def _card(benchmark: SiteBenchmark) -> dict[str, Any]:
    """Return what the card of a benchmark shows."""
    table = benchmark.table
    return {
        "benchmark": benchmark,
        "words": stream_words(table) if table.rows else "",
        "rows": len(table.rows),
        "seeds": len(table.wanted),
        "best": next((row for row in benchmark.rows if row.row.rank == 1), None),
        "light": pareto_path(benchmark, "light") if has_picture(benchmark) else "",
        "dark": pareto_path(benchmark, "dark"),
    }


def _rows(site: Site, benchmark: SiteBenchmark, shown: list[FrontColumn]) -> Iterator[dict[str, Any]]:
    front = {point.row.label for point in cost_points(benchmark.table) if point.on_front}
    for each in benchmark.rows:
        yield {
            "benchmark": benchmark,
            "site": each,
            "row": each.row,
            "front": each.row.label in front,
            "cells": {
                column.name: cell(site.board, benchmark.table, each.row, column.name, decimals=1)
                for column in shown
                if column.name in METRICS
            },
            "costs": {name: _cost(each, entries) for name, (_, entries, _) in COSTS.items()},
            "status_order": STATUSES.index(each.status),
            "bound": is_bound(each.row),
        }


def _cost(row: SiteRow, entries: tuple[str, ...]) -> tuple[str, str]:
    """Return the sum of some entries of a row's mean cost, as people and as a table's order read it."""
    found = [row.row.cost[name].mean for name in entries if name in row.row.cost]
    if not found:
        return NOTHING, ""
    return amount(sum(found)), f"{sum(found):.12g}"  # in full: a rounded one could pass a budget that it exceeds
