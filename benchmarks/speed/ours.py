"""Our side of the speed jobs: the same work through clbench. Only the loop is timed, as on the bare side."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from clbench.core.record import Record
from clbench.running.cell_key import Cell
from clbench.running.executors import execute
from clbench.running.options import Options
from clbench.running.plan import plan
from clbench.running.prepare import prepare


def data_dir() -> str:
    """Where MNIST lies: the environment variable ``CLBENCH_DATA``, else ``../shared/data``."""
    return os.environ.get("CLBENCH_DATA") or str(Path(__file__).parents[3] / "shared" / "data")


@cache
def _cell(benchmark: str, strategy: str, seed: int, *overrides: str) -> Cell:
    return plan(benchmark, strategies=[strategy], seeds=[seed], overrides=overrides).cells[0]


class Blind:
    """In place of an evaluator: the bare loop without evaluation does not look at ends either."""

    def look(self, *_: Any) -> None:
        pass


def _seconds(cell: Cell, evaluate: bool) -> float:
    run = prepare(cell, data_dir=data_dir())
    if not evaluate:
        run.evaluator = Blind()  # type: ignore[assignment]
    torch.set_num_threads(cell.config["training"]["threads"])
    start = perf_counter()
    run.train()
    return perf_counter() - start


def reference(evaluate: bool, seed: int) -> float:
    """Seconds of the reference job (benchmark ``speed-reference``)."""
    return _seconds(_cell("speed-reference", "er", seed), evaluate)


def digits(strategy: str, evaluate: bool, seed: int) -> float:
    """Seconds of the digits job, ``strategy`` being ``naive`` or ``er``."""
    return _seconds(_cell("split-digits@1", strategy, seed, "stream.order=fixed", "stream.output=all"), evaluate)


def workers(n: int) -> float:
    """Cells per minute of ``n`` workers of one thread each, from the first cell that begins to the last that ends."""
    cells = plan("split-digits@1", strategies=["cumulative"], seeds=12, overrides=["training.epochs=20"]).cells
    began: list[float] = []

    def watch(event: object) -> None:
        if isinstance(event, Record):
            assert event.status == "done", event.reason
            began.append(perf_counter())

    # the first cell of every worker pays for starting it: the clock runs from the last of them to the end
    execute(cells, Options(data_dir=data_dir()), jobs=n, emit=watch)
    return (len(cells) - n) / (began[-1] - began[n - 1]) * 60
