"""What a look costs, and how that grows with the tasks: ``python benchmarks/speed/looks.py``.

After every iteration all tasks seen are looked at, so a look at T tasks is the price of evaluating at every iteration.
Ours is timed against the bare forward passes (plain PyTorch, a pass per task over float tensors that are ready, no
gradient) and against avalanche-lib's ``eval`` of the same rows, which is what its ``eval_every=1,
peval_mode="iteration"`` calls after every iteration, given tensors in memory and one batch per task, the fastest it can
be asked for. All sides are timed in turn in one process; the table has medians.

MLP 784-400-400-10 with 1000 rows a task, and the slim ResNet-18 with 100 rows of 3 x 32 x 32 a task.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import torch
from avalanche_peer import import_avalanche
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from clbench.data.arrays import from_arrays
from clbench.plan import plan
from clbench.prepare import Given, Run, prepare
from clbench.types import Kind

JOBS = {
    "mlp": ({"name": "mlp", "hidden": [400, 400]}, (1, 28, 28), 1000),
    "resnet": ({"name": "resnet"}, (3, 32, 32), 100),
}
"""Model, shape of a row, rows per task."""
TASKS = (5, 10, 20)


def ready(job: str, tasks: int) -> Run:
    """A run on made-up images under so many permutations, of which a look sees all in the last experience."""
    model, shape, rows = JOBS[job]
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (max(rows, 200), *shape), dtype=np.uint8)
    y = np.arange(len(x)) % 10
    benchmark = {
        "name": "speed-looks",
        "stream": {"scenario": "permuted", "experiences": tasks},
        "model": model,
        "training": {"batch_size": 32},
        "evaluation": {"every": 1, "rows_per_task": rows},
    }
    cell = plan(benchmark, strategies=["naive"], seeds=1, dataset={"name": "made-up"}).cells[0]
    run = prepare(cell, given=Given(dataset=from_arrays("made-up", x, y, x, y)))
    run.learner.enter(run.stream[tasks - 1])
    return run


def ours(run: Run) -> None:
    """One look at all tasks."""
    run.evaluator.take(run.learner, Kind.STEP, len(run.stream) - 1, 1)


def bare(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, rows: int) -> None:
    """One forward pass per task, and the share of rows that are right."""
    with torch.no_grad():
        for start in range(0, len(x), rows):
            chosen = model(x[start : start + rows]).logits.argmax(1)
            (chosen == y[start : start + rows]).sum().item()


class Logits(torch.nn.Module):
    """The model as avalanche-lib wants it: inputs to logits."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, ...) to (B, C)."""
        return self.model(x).logits


def avalanche_eval(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, rows: int) -> Callable[[], Any]:
    """Its evaluation of the same tensors, cut into tasks."""
    avalanche = import_avalanche()
    from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset as from_tensors

    pieces = [from_tensors(x[s : s + rows], y[s : s + rows], task_labels=0) for s in range(0, len(x), rows)]
    benchmark = avalanche.benchmarks.benchmark_from_datasets(train=pieces, test=pieces)
    accuracy = avalanche.evaluation.metrics.accuracy_metrics(experience=True)
    strategy = avalanche.training.supervised.Naive(
        model=Logits(model),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        criterion=torch.nn.CrossEntropyLoss(),
        eval_mb_size=rows,
        evaluator=avalanche.training.plugins.EvaluationPlugin(accuracy, loggers=[]),
    )
    return lambda: strategy.eval(benchmark.test_stream)


def timed(function: Callable[[], Any]) -> float:
    """Seconds of one call."""
    began = perf_counter()
    function()
    return perf_counter() - began


def main() -> None:
    """Time all sides in turn and print medians in milliseconds and as ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--jobs", nargs="*", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = Table(
        "model", "tasks", "ours, ms", "bare, ms", "avalanche, ms", "ours / bare", "avalanche / ours", box=SIMPLE
    )
    with warnings.catch_warnings(record=True):  # avalanche-lib warns of its own deprecations
        for job in options.jobs:
            for tasks in TASKS:
                run, rows = ready(job, tasks), JOBS[job][2]
                panel = run.evaluator.panel(run.learner, Kind.STEP, tasks - 1)
                x, y, plain = panel.x, panel.y, copy.deepcopy(run.learner.model).eval()
                sides = {
                    "ours": lambda run=run: ours(run),
                    "bare": lambda plain=plain, x=x, y=y, rows=rows: bare(plain, x, y, rows),
                    "avalanche": avalanche_eval(plain, x, y, rows),
                }
                taken: dict[str, list[float]] = {side: [] for side in sides}
                for number in range(options.rounds + 1):
                    for side, function in sides.items():
                        seconds = timed(function)
                        if number:  # the first round warms up
                            taken[side].append(1000 * seconds)
                middle = {side: statistics.median(values) for side, values in taken.items()}
                table.add_row(
                    job,
                    str(tasks),
                    *(f"{middle[side]:.1f}" for side in sides),
                    f"{middle['ours'] / middle['bare']:.2f}",
                    f"{middle['avalanche'] / middle['ours']:.1f}",
                )
    Console().print(table)


if __name__ == "__main__":
    main()
