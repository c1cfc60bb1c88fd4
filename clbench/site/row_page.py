"""The page of a row: how to run it, its settings and sources, its results by seed, its cost and its cells."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clbench.benchmark.shipped_files import official
from clbench.comparison.comparable import deviations
from clbench.core.public_names import public
from clbench.leaderboard.board_rows import group_problems
from clbench.leaderboard.numbers import NOTHING, amount
from clbench.leaderboard.page_settings import environments
from clbench.leaderboard.settings_text import default_parameters
from clbench.metrics import get as get_metric
from clbench.site.site_content import Site, SiteBenchmark, SiteRow
from clbench.site.site_templates import render
from clbench.strategies.expected_results import sentences
from clbench.strategies.published_source import bibtex, published_sources

OWN_BIBTEX = """@software{clbench,
  title = {clbench: continual-learning benchmarks with evaluation at every iteration},
  author = {{The clbench authors}},
  version = {VERSION}
}"""


@dataclass(frozen=True)
class Parameter:
    """Hold a parameter of a part: its name, its value, and its default if the value is another one."""

    name: str
    value: str
    default: str = ""


def row_pages(site: Site) -> Iterator[tuple[str, bytes]]:
    """Yield the page of each row."""
    for benchmark, row in site.rows:
        yield row.path, _page(site, benchmark, row)


def _page(site: Site, benchmark: SiteBenchmark, row: SiteRow) -> bytes:
    first = row.row.records[0]
    strategy, stream = first.cell.get("strategy") or (), first.cell.get("stream") or {}
    sources = published_sources(strategy)
    entries = [OWN_BIBTEX.replace("VERSION", str(first.environment.get("clbench", "")))]
    return render(
        "row.html",
        site,
        row.path,
        benchmark=benchmark,
        row=row,
        metrics=[get_metric(name).under(benchmark.table.measure) for name in site.board.metrics],
        command=command(benchmark, row),
        shipped=is_shipped(first.cell),
        parts=[(str(public(item["name"])), parameters(item)) for item in strategy],
        sources=sources,
        expected=sentences(strategy, stream) if strategy else [],
        problems=group_problems(row.row.problems),
        costs=_costs(row),
        environments=environments(row.row.records),
        bibtex="\n\n".join([*entries, *filter(None, (bibtex(name, source) for name, source in sources))]),
    )


def command(benchmark: SiteBenchmark, row: SiteRow) -> str:
    """Return the command that runs the cells of a row again.

    Settings of training that a benchmark file gives to this strategy alone are settings of the command. The version of
    the benchmark is in it, so that it runs the same cells after the benchmark has changed.
    """
    record = row.row.records[0]
    words = ["clbench", "run", benchmark_word(record.cell, benchmark), "--strategies", row.row.recipe]
    words += ["--seeds", ",".join(str(each.seed) for each in row.row.records) + "," * (len(row.row.records) == 1)]
    for each in deviations(record.cell, row.row.recipe):
        words += ["--set", each]
    return " ".join(shlex.quote(str(public(word))) for word in words)


def benchmark_word(cell: Mapping[str, Any], benchmark: SiteBenchmark) -> str:
    """Return ``NAME@VERSION`` of the benchmark of a cell, or the name that its file has if no package ships it."""
    told = cell.get("benchmark") or {}
    name = str(told.get("name", benchmark.name))
    return f"{name}@{told['version']}" if is_shipped(cell) else f"{name}.yaml"


def is_shipped(cell: Mapping[str, Any]) -> bool:
    """Return whether clbench or another package has the benchmark of a cell, in its version."""
    told = cell.get("benchmark") or {}
    version = told.get("version")
    return isinstance(version, int) and official(str(told.get("name", "")), version) is not None


def parameters(item: Mapping[str, Any]) -> list[Parameter]:
    """Return the parameters of a part of a strategy in canonical form."""
    known = default_parameters(str(item.get("name", "")))
    found = []
    for name, value in (item.get("parameters") or {}).items():
        changed = name in known and str(known[name]) != str(value)
        found.append(Parameter(name, str(public(value)), str(known[name]) if changed else ""))
    return found


def _costs(row: SiteRow) -> list[tuple[str, str, list[str]]]:
    """Return name, mean and the value of each finished seed of each entry of the cost, as text."""
    told = []
    for name, summary in row.row.cost.items():
        mean = NOTHING if math.isnan(summary.mean) else amount(summary.mean)
        values = [amount(summary.values[s]) if s in summary.values else NOTHING for s in row.row.finished]
        told.append((name.replace("_", " "), mean, values))
    return told
