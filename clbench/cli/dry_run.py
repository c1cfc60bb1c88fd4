"""Show what ``clbench run`` would run, and predict how long it would take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from clbench.cli.common import count, describe_stream, pairs

if TYPE_CHECKING:
    from rich.console import Console

    from clbench.running.cell_key import Cell
    from clbench.running.plan import Plan


def show_plan(console: Console, plan: Plan, *, known: set[str], out: Path, data_dir: str | None) -> bool:
    """Print the cells by strategy and the first seed's stream; return whether its data is available."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    first = plan.cells[0]
    stream = describe_stream(first.config["stream"], first.seed, data_dir)
    rows: dict[str, list[Any]] = {}
    for cell in plan.cells:
        rows.setdefault(cell.label, []).append(cell)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in ("Strategy", "Finished seeds", "Seeds to do"):
        table.add_column(heading)
    for label, cells in rows.items():
        there, todo = [c for c in cells if c.key in known], [c for c in cells if c.key not in known]
        table.add_row(Text(label), *(_seeds([c.seed for c in some]) for some in (there, todo)))
    console.print(Text(f"{plan.benchmark.name}@{plan.benchmark.version}", style="bold"))
    console.print(table)
    console.print(pairs(stream))
    console.print()
    console.print(
        f"{count(len(plan.cells), 'cell')}: {len(known)} finished, {len(plan.cells) - len(known)} to do; "
        f"results in {out}",
        soft_wrap=True,
    )
    return "fingerprint" in stream


FEW = 12
"""Largest number of seeds that are listed one by one."""
MOST_RUNS = 6
"""Largest number of runs of consecutive seeds that are listed."""


def _seeds(seeds: list[int]) -> str:
    """Return ``0, 1, 2``, for many seeds ``0 to 999, 2000 to 2499``, and ``-`` for none."""
    if len(seeds) <= FEW:
        return ", ".join(map(str, seeds)) or "-"
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1][1:] = [seed]
        else:
            runs.append([seed])
    shown = ", ".join(" to ".join(map(str, run)) for run in runs[:MOST_RUNS])
    return shown if len(runs) <= MOST_RUNS else f"{shown}, ... ({len(seeds)} seeds)"


def show_time(console: Console, todo: Sequence[Cell], *, jobs: str, device: str, data_dir: str | None) -> None:
    """Predict the time of the remaining cells from a few iterations of each strategy, and print it."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from clbench.running.progress import clock_text

    began = perf_counter()
    from clbench.running.execution import choose_device
    from clbench.running.forecast import forecast, matrix_seconds, warm_up
    from clbench.running.matrix import jobs_for, usable_cores
    from clbench.running.placement import device_names

    warm_up()
    start = perf_counter() - began  # a process that runs cells starts with the same imports
    workers = jobs_for(todo, jobs)
    place, threads = choose_device(device_names(device)[0]), max(cell.config["training"]["threads"] for cell in todo)
    room = max(1, usable_cores() // threads) if place == "cpu" else workers  # more jobs than cores gain nothing
    found = forecast(todo, data_dir=data_dir, device=place)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in ("Strategy", "Cells to do", "Seconds each", "Together"):
        table.add_column(heading)
    for each in found:
        seconds = ("-", "-") if each.reason else (_seconds(each.seconds), clock_text(each.cells * each.seconds))
        table.add_row(Text(each.label), str(each.cells), *map(Text, seconds))
    console.print(table)
    for each in found:
        if each.reason:
            console.print(f"{each.label}: {each.reason}", soft_wrap=True)
    if all(each.reason for each in found):
        console.print("Nothing could be timed, so no time is predicted.")
        return
    together = f" on {count(usable_cores(), 'core')}" if workers > room else ""
    whole = clock_text(start + matrix_seconds(found, jobs=min(workers, room)))
    console.print(
        f"Predicted: {whole} with {count(workers, 'job')}{together}, of which {start:.0f} s to start. A few iterations "
        "of each strategy were timed; on a busy machine both the prediction and the run are noisy.",
        soft_wrap=True,
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.2f}"
