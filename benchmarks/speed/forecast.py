"""What a dry run predicts against what the run takes: ``python benchmarks/speed/forecast.py``.

Both in processor time of this process, so that other programs count as little as can be. Ten tasks of permuted digits,
an MLP 64-100-100-10, two epochs, a memory of 200 rows, looks at every tenth iteration, one thread. Target: predicted /
taken between 0.8 and 1.25.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from clbench.running import forecast
from clbench.running.cell_key import Cell
from clbench.running.plan import plan
from clbench.running.run_cell import run_cell

STRATEGIES = ["naive", "er", "derpp(alpha=0.1, beta=0.5)", "agem", "gem", "ewc(strength=1)", "lwf", "mir", "cumulative"]
LOW, HIGH = 0.8, 1.25


def cell(strategy: str) -> Cell:
    """One run of the job."""
    benchmark = {
        "name": "speed-forecast",
        "stream": {"scenario": "permuted", "dataset": "digits", "experiences": 10},
        "model": {"name": "mlp", "hidden": [100, 100]},
        "training": {"lr": 0.05, "batch_size": 32, "epochs": 2},
        "memory": {"size": 200},
        "evaluation": {"every": 10},
    }
    return plan(benchmark, strategies=[strategy], seeds=1).cells[0]


def taken(job: Cell) -> float:
    """Processor time of the run in seconds."""
    began = time.process_time()
    done = run_cell(job)
    assert done.status == "done", done.reason
    return time.process_time() - began


def main() -> None:
    """Predict and run every strategy in turn, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--strategies", nargs="*", default=STRATEGIES)
    options = parser.parse_args()
    forecast.perf_counter = time.process_time
    taken(cell("naive"))  # first imports and caches
    table = Table("strategy", "predicted, s", "taken, s", "predicted / taken", "rounds", box=SIMPLE)
    for name in options.strategies:
        job, told, took = cell(name), [], []
        for _ in range(options.rounds):
            told.append(forecast.cell_seconds(job))
            took.append(taken(job))
        ratios = [a / b for a, b in zip(told, took, strict=True)]
        middle = statistics.median(ratios)
        mark = "" if LOW <= middle <= HIGH else " *"
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        table.add_row(
            name, f"{statistics.median(told):.2f}", f"{statistics.median(took):.2f}", f"{middle:.2f}{mark}", spread
        )
    Console().print(table)
    print(f"* outside {LOW} to {HIGH}. Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
