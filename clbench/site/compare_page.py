"""The page that compares two rows of a benchmark: settings, differences by seed, and where their runs part."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from clbench.core.record import Record, Trace
from clbench.core.shown_text import shown
from clbench.leaderboard.page_settings import full_settings
from clbench.metrics import get as get_metric
from clbench.site.data_scripts import data_script
from clbench.site.packed_numbers import DIGITS
from clbench.site.row_page import parameters
from clbench.site.site_content import Site, SiteBenchmark, SiteRow
from clbench.site.site_templates import render

PRINT = 2
"""Letters of the print of an evaluation: two that differ have the same one in 1 of 4,096 cases."""


def compare_pages(site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield the page, and for each benchmark a script with the data of its rows."""
    places = [(benchmark.slug, rows_path(benchmark)) for benchmark in site.benchmarks]
    yield "compare.html", render("compare.html", site, "compare.html", places=places)
    for benchmark in site.benchmarks:
        yield rows_path(benchmark), data_script(f"rows/{benchmark.slug}", rows_data(site, benchmark))


def rows_path(benchmark: SiteBenchmark) -> str:
    """Return the path of the script with the data of a benchmark's rows."""
    return f"data/{benchmark.slug}-rows.js"


def rows_data(site: Site, benchmark: SiteBenchmark) -> dict[str, Any]:
    """Return settings, values by seed and prints of evaluations of all rows of a benchmark."""
    metrics = [get_metric(name).under(benchmark.table.measure) for name in site.board.metrics]
    steps: dict[tuple[int, ...], int] = {}
    rows = [_row(each, [metric.name for metric in metrics], steps) for each in benchmark.rows]
    return {
        "benchmark": shown(benchmark.name, None),
        "path": benchmark.path,
        "metrics": [{"name": each.name, "title": f"{each.title} {each.arrow}".strip()} for each in metrics],
        "steps": [np.diff(each, prepend=0).tolist() for each in steps],
        "rows": rows,
    }


def _row(row: SiteRow, metrics: list[str], steps: dict[tuple[int, ...], int]) -> dict[str, Any]:
    done = [record for record in row.row.records if record.status == "done" and record.trace is not None]
    return {
        "path": row.path,
        "label": shown(row.row.strategy),
        "settings": {name: shown(text, 200) for name, text in _settings(row).items()},
        "values": {
            name: {
                str(seed): round(value, 6)
                for seed, value in row.row.metrics[name].values.items()
                if math.isfinite(value)
            }
            for name in metrics
            if row.row.metrics[name].n
        },
        "cost": {name: float(f"{summary.mean:.4g}") for name, summary in row.row.cost.items() if summary.n},
        "prints": {str(record.seed): _print(record, steps) for record in done},
    }


def _settings(row: SiteRow) -> dict[str, str]:
    """Return all settings of a row by dotted names, with the parameters of its parts."""
    found = dict(full_settings(row.row))
    for item in row.row.records[0].cell.get("strategy") or ():
        name = str(item["name"])
        found[name] = "yes"
        found |= {f"{name}.{each.name}": each.value for each in parameters(item)}
    return found


def _print(record: Record, steps: dict[tuple[int, ...], int]) -> dict[str, Any]:
    """Return the print of a trace, and the number of its list of steps among those of the benchmark."""
    assert record.trace is not None
    own = tuple(record.trace.step.tolist())
    return {"steps": steps.setdefault(own, len(steps)), "marks": prints(record.trace)}


def prints(trace: Trace) -> str:
    """Return a few letters for each evaluation, which depend on all scores up to it.

    Two runs with equal letters up to an evaluation have equal scores up to there, but for a chance of 1 in 4,096.
    """
    made, state = [], b""
    for step, kind, scores in zip(trace.step, trace.kind, np.nan_to_num(trace.score, nan=-1.0), strict=True):
        state = hashlib.sha256(state + np.array([step, kind], dtype="<i8").tobytes() + scores.tobytes()).digest()
        made.append("".join(DIGITS[byte & 63] for byte in state[:PRINT]))
    return "".join(made)
