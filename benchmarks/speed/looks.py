"""What a look costs, and how that grows with the tasks: ``python benchmarks/speed/looks.py``.

A look at T tasks is the price of evaluating after every iteration. First table: one look, against the bare forward
passes (plain PyTorch, a pass per task over float tensors that are ready, no gradient), and against one whose inputs are
made chunk by chunk, as those of large sets are. Second table: ten iterations of
training on the last task, all T tasks looked at after each, ours against the same loop in plain PyTorch and against
avalanche-lib's own ``train`` with ``eval_every=1, peval_mode="iteration"``, given tensors in memory and one evaluation
batch per task, the fastest it can be asked for. An iteration is timed from the end of the one before, so that what is
done once per experience is charged to nobody. All sides are timed in turn in one process; tables have medians.

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
from avalanche_peer import Stopwatch, import_avalanche
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from clbench.core.record import Kind
from clbench.data.arrays import from_arrays
from clbench.evaluate import inputs_on_demand
from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.running.prepared_run import Run
from clbench.running.user_objects import UserObjects

JOBS = {
    "mlp": ({"name": "mlp", "hidden": [400, 400]}, (1, 28, 28), 1000),
    "resnet": ({"name": "resnet"}, (3, 32, 32), 100),
}
"""Model, shape of a row, rows per task."""
TASKS = (5, 10, 20)
BATCH, LEARNING_RATE = 32, 0.1
ITERATIONS = 10


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
        "training": {"batch_size": BATCH, "lr": LEARNING_RATE},
        "evaluation": {"every": 1, "rows_per_task": rows, "tasks": "all"},
    }
    cell = plan(benchmark, strategies=["naive"], seeds=1, dataset={"name": "made-up"}).cells[0]
    run = prepare(cell, given=UserObjects(dataset=from_arrays("made-up", x, y, x, y)))
    run.trainer.enter(run.stream[tasks - 1])
    return run


def made_on_demand(job: str, tasks: int) -> Run:
    """The same run, whose looks make their inputs chunk by chunk, as if all together were large."""
    run, usual = ready(job, tasks), inputs_on_demand.MOST_BYTES
    inputs_on_demand.MOST_BYTES = 0
    try:
        ours(run)
    finally:
        inputs_on_demand.MOST_BYTES = usual
    return run


def ours(run: Run) -> None:
    """One look at all tasks."""
    run.evaluator.take(run.trainer.readout, Kind.STEP, len(run.stream) - 1, 1)


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


def between(moments: list[float]) -> list[float]:
    """Seconds from each moment to the next."""
    return np.diff(moments).tolist()


def our_iterations(job: str, tasks: int) -> list[float]:
    """Seconds of each iteration of training on the last task, a look at all of them included."""
    run, moments = ready(job, tasks), []
    run.shorten([tasks - 1], ITERATIONS + 1, run.evaluator)
    run.train(lambda *_: moments.append(perf_counter()))
    return between(moments)


def bare_iterations(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, rows: int) -> list[float]:
    """The same in plain PyTorch, batches gathered by index from the last task's rows."""
    optimizer, moments = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE), []
    for _ in range(ITERATIONS + 1):
        batch = torch.randint(len(x) - rows, len(x), (BATCH,))
        model.train()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x[batch]).logits, y[batch]).backward()
        optimizer.step()
        model.eval()
        bare(model, x, y, rows)
        moments.append(perf_counter())
    return between(moments)


def avalanche_iterations(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, rows: int) -> list[float]:
    """The same by avalanche-lib: its training with its evaluation after every iteration."""
    avalanche = import_avalanche()
    from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset as from_tensors

    pieces = [from_tensors(x[s : s + rows], y[s : s + rows], task_labels=0) for s in range(0, len(x), rows)]
    again = torch.arange((ITERATIONS + 2) * BATCH) % rows + len(x) - rows
    benchmark = avalanche.benchmarks.benchmark_from_datasets(
        train=[from_tensors(x[again], y[again], task_labels=0)], test=pieces
    )
    accuracy = avalanche.evaluation.metrics.accuracy_metrics(experience=True)
    strategy = avalanche.training.supervised.Naive(
        model=Logits(model),
        optimizer=torch.optim.SGD(model.parameters(), lr=LEARNING_RATE),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=BATCH,
        eval_mb_size=rows,
        evaluator=avalanche.training.plugins.EvaluationPlugin(accuracy, loggers=[]),
        eval_every=1,
        peval_mode="iteration",
    )
    watch = Stopwatch(ITERATIONS + 1)
    strategy.plugins.append(watch)  # behind the periodic evaluation, so that it is timed
    strategy.train(benchmark.train_stream[0], eval_streams=[benchmark.test_stream])
    return watch.seconds[0]


def timed(function: Callable[[], Any]) -> list[float]:
    """Seconds of one call."""
    began = perf_counter()
    function()
    return [perf_counter() - began]


def medians(sides: dict[str, Callable[[], list[float]]], rounds: int) -> dict[str, float]:
    """Milliseconds of each side, all of them in turn, the first round to warm up."""
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds + 1):
        for side, measure in sides.items():
            seconds = measure()
            taken[side] += [1000 * each for each in seconds] if number else []
    return {side: statistics.median(values) for side, values in taken.items()}


def measure(job: str, tasks: int, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Medians of one look, and of an iteration with its look."""
    run, rows = ready(job, tasks), JOBS[job][2]
    later = made_on_demand(job, tasks)
    panel = run.evaluator.panels.panel(run.trainer.readout, Kind.STEP, tasks - 1)
    x, y, plain = panel.x, panel.target, copy.deepcopy(run.learner.model).eval()
    looks = {
        "ours": lambda: timed(lambda: ours(run)),
        "bare": lambda: timed(lambda: bare(plain, x, y, rows)),
        "on demand": lambda: timed(lambda: ours(later)),
    }
    iterations = {
        "ours": lambda: our_iterations(job, tasks),
        "bare": lambda: bare_iterations(copy.deepcopy(plain), x, y, rows),
        "avalanche": lambda: avalanche_iterations(copy.deepcopy(plain), x, y, rows),
    }
    return medians(looks, rounds), medians(iterations, max(1, rounds // 3))


def main() -> None:
    """Time all sides in turn and print medians in milliseconds and as ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="looks of each side; iterations have a third of them")
    parser.add_argument("--jobs", nargs="*", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--tasks", nargs="*", type=int, default=list(TASKS))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    looks = ("ours, ms", "bare, ms", "on demand, ms", "ours / bare", "on demand / ours")
    one = Table("model", "tasks", *looks, box=SIMPLE, title="one look")
    columns = ("ours, ms", "bare, ms", "avalanche, ms", "ours / bare", "avalanche / ours")
    each = Table("model", "tasks", *columns, box=SIMPLE, title="an iteration with its look")
    with warnings.catch_warnings(record=True):  # avalanche-lib warns of its own deprecations
        for job in options.jobs:
            for tasks in options.tasks:
                look, iteration = measure(job, tasks, options.rounds)
                lead = (job, str(tasks))
                ratios = (look["ours"] / look["bare"], look["on demand"] / look["ours"])
                one.add_row(*lead, *(f"{v:.1f}" for v in look.values()), *(f"{r:.2f}" for r in ratios))
                ratios = (iteration["ours"] / iteration["bare"], iteration["avalanche"] / iteration["ours"])
                each.add_row(*lead, *(f"{v:.1f}" for v in iteration.values()), *(f"{r:.2f}" for r in ratios))
    Console().print(one, each)


if __name__ == "__main__":
    main()
