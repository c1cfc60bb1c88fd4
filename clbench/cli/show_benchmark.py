"""Show a benchmark and its stream for ``clbench show``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clbench.cli.common import count, describe_stream, pairs

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

    from clbench.benchmark.schema import Benchmark
    from clbench.plots.picture_format import Format


def is_benchmark(name: str) -> bool:
    """Return whether a name is a shipped benchmark, with or without version, or a benchmark file."""
    from clbench.benchmark.shipped_files import earlier, named

    return name in named() or name in earlier() or (Path(name).is_file() and Path(name).suffix in (".yaml", ".yml"))


def show_benchmark(
    console: Console, name: str, *, plot: Path | None, form: Format, settings: list[str], data_dir: str | None
) -> None:
    """Show the file, the first seed's stream in words and as a raster, the number of cells, and a picture on request.

    Raises:
        Refused: The benchmark is invalid, or its data is not available.
    """
    from rich.text import Text

    from clbench.benchmark.shipped_files import find
    from clbench.running.plan import plan

    path, made = find(name), plan(name, overrides=settings, data_dir=data_dir)
    data_dir = made.data_dir
    first = made.cells[0]
    labels, seeds = {cell.label for cell in made.cells}, {cell.seed for cell in made.cells}
    console.print(Text(f"benchmark {made.benchmark.name}, version {made.benchmark.version}", style="bold"))
    console.print(f"{path}\n", soft_wrap=True, style="dim")
    console.print(path.read_text(encoding="utf-8").rstrip(), soft_wrap=True)
    console.print()
    cells = f"{len(made.cells)} ({count(len(labels), 'strategy', 'strategies')}, {count(len(seeds), 'seed')})"
    described = describe_stream(first.config["stream"], first.seed, data_dir)
    console.print(pairs({**described, "cells": cells}))
    if made.benchmark.published:
        console.print()
        console.print(_published(made.benchmark), style="bright_black")
    if "fingerprint" in described or plot:
        _draw(console, first.config["stream"], first.seed, plot, form, data_dir)


def _published(benchmark: Benchmark) -> RichTable:
    """Return the published numbers of a benchmark, a line for each method and source."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from clbench.core.measure import ACCURACY
    from clbench.leaderboard.published_rows import rows_of
    from clbench.metrics import get

    rows = rows_of([each.model_dump() for each in benchmark.published])
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("Published")
    for name in names:
        table.add_column(get(name).title, justify="right")
    table.add_column("Source", overflow="fold")
    for row in rows:
        numbers = [str(row.number(name, 2, ACCURACY)) if name in row.values else "" for name in names]
        table.add_row(Text(row.strategy), *numbers, Text(row.source))
    return table


def _draw(
    console: Console, stream_config: dict[str, object], seed: int, plot: Path | None, form: Format, data_dir: str | None
) -> None:
    from clbench.plots import stream_plot
    from clbench.running.plan import make_stream

    stream = make_stream(stream_config, seed, data_dir=data_dir)
    console.print()
    console.print(stream_plot.terminal(stream, width=min(console.width, 100)), soft_wrap=True)
    if plot is not None:
        from clbench import plots

        figure = stream_plot.picture(stream, form)
        console.print(f"Written: {plots.save(figure, plot)}", soft_wrap=True)
        if not form.title:
            console.print(f"Its title, for your text: {figure.get_label()}", soft_wrap=True)
