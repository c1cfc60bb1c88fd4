"""The reference job in avalanche-lib: the slow peer of ``make speed-peers``.

Its own loop, loaders, replay plugin, reservoir and periodic evaluation, loggers off, at our thread count. What
it does differently is left as it is: its reservoir is filled at the end of an experience, and its loader passes through
the memory in shuffled order where our job draws afresh at every iteration. The arithmetic of an iteration is the same.
"""

from __future__ import annotations

import os
import random
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bare import EXPERIENCES, REFERENCE, Split, evaluation_rows, find_mnist, load_mnist, make_model

from clbench.core.compat import import_torchvision

SET_UPS = {
    "stock": "its own SplitMNIST benchmark with its default transforms, as its documentation shows",
    "usual": "torchvision's MNIST images through ToTensor, evaluation batches at their default size",
    "tuned": "float tensors in memory, one evaluation batch per task: the fastest it can be asked for",
}


def import_avalanche() -> Any:
    """Import and return avalanche with the modules used here, keeping the loggers it brings off the network."""
    os.environ.setdefault("WANDB_MODE", "disabled")
    import_torchvision()
    import avalanche
    import avalanche.benchmarks
    import avalanche.evaluation.metrics
    import avalanche.training.plugins
    import avalanche.training.storage_policy
    import avalanche.training.supervised

    return avalanche


class Stopwatch:
    """A plugin that times iterations with what they evaluate, and may stop each experience early.

    An iteration is timed from the end of the one before, so that the first of an experience is not: what is done once
    per experience (building loaders, filling the memory) is not charged to the few iterations that are timed.

    Args:
        limit: Iterations per experience, at least 2; ``None`` for all.
    """

    supports_distributed = False

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.done = 0
        self.seconds: list[list[float]] = []
        self._before = 0.0

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        self.seconds.append([])
        self._before = 0.0

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        now = time.perf_counter()
        if self._before:
            self.seconds[-1].append(now - self._before)
        self._before = now
        self.done += 1
        if len(self.seconds[-1]) + 1 == self.limit:
            strategy.stop_training()


def make_benchmark(avalanche: Any, raw: Path, *, set_up: str, seed: int) -> Any:
    """Split-MNIST, the test stream holding as many fixed rows of each task as ours; ``raw`` holds the idx files."""
    from avalanche.benchmarks.utils import _make_taskaware_classification_dataset as from_images
    from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset as from_tensors

    if set_up == "stock":
        from avalanche.benchmarks.classic import SplitMNIST

        classic = SplitMNIST(EXPERIENCES, fixed_class_order=list(range(10)), dataset_root=raw.parents[1])
        return avalanche.benchmarks.benchmark_from_datasets(
            train=[experience.dataset for experience in classic.train_stream],
            test=[experience.dataset.subset(range(REFERENCE.rows_per_task)) for experience in classic.test_stream],
        )
    data = Split(*load_mnist(raw.parents[1]))
    tasks = [rows.tolist() for rows in evaluation_rows(data, REFERENCE, seed)]
    trains = [(data.y_train // 2 == task).nonzero().flatten().tolist() for task in range(EXPERIENCES)]
    if set_up == "tuned":
        train = from_tensors(data.x_train, data.y_train, task_labels=0)
        test = from_tensors(data.x_test, data.y_test, task_labels=0)
    else:
        torchvision = import_torchvision()
        mnist, transform = torchvision.datasets.MNIST, torchvision.transforms.ToTensor()
        train = from_images(mnist(raw.parents[1], train=True, transform=transform), task_labels=0)
        test = from_images(mnist(raw.parents[1], train=False, transform=transform), task_labels=0)
    return avalanche.benchmarks.benchmark_from_datasets(
        train=[train.subset(rows) for rows in trains], test=[test.subset(rows) for rows in tasks]
    )


def make_strategy(avalanche: Any, *, set_up: str, evaluate: bool, seed: int, stopwatch: Stopwatch) -> Any:
    """Its naive strategy with its replay plugin and its reservoir, which together are experience replay."""
    job = REFERENCE
    model = torch.nn.Sequential(torch.nn.Flatten(), make_model(784, job.hidden, seed))
    replay = avalanche.training.plugins.ReplayPlugin(
        mem_size=job.memory,
        batch_size=job.batch_size,
        batch_size_mem=job.replay,
        storage_policy=avalanche.training.storage_policy.ReservoirSamplingBuffer(job.memory),
    )
    accuracy = avalanche.evaluation.metrics.accuracy_metrics(experience=True)
    strategy = avalanche.training.supervised.Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=job.lr),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=job.batch_size,
        train_epochs=job.epochs,
        eval_mb_size=job.rows_per_task if set_up == "tuned" else None,
        plugins=[replay],
        evaluator=avalanche.training.plugins.EvaluationPlugin(accuracy, loggers=[]),
        eval_every=1 if evaluate else -1,
        peval_mode="iteration",
    )
    strategy.plugins.append(stopwatch)  # behind the periodic evaluation, so that it is timed
    return strategy


def run_reference(
    folder: str | Path | None,
    *,
    set_up: str = "usual",
    evaluate: bool,
    seed: int,
    max_iterations_per_experience: int | None = None,
) -> dict[str, Any]:
    """The reference job, or the beginning of each of its experiences.

    Args:
        folder: Where MNIST is; see :func:`bare.find_mnist`.
        set_up: One of :data:`SET_UPS`.
        evaluate: Whether every task seen so far is evaluated after every iteration.
        seed: Of weights and, globally, of everything else: avalanche-lib draws from the global generators.
        max_iterations_per_experience: Stop each experience there; ``None`` to learn all of it.

    Returns:
        ``iterations`` done, ``seconds_per_iteration`` (the median of each experience, averaged over experiences, so
        that a busy moment of the machine does not count against it), and ``accuracies`` (5,) in [0, 1] from its own
        final evaluation.
    """
    torch.set_num_threads(REFERENCE.threads)
    raw = find_mnist(folder)
    with warnings.catch_warnings(record=True):  # it warns of its own deprecations at every experience
        avalanche = import_avalanche()
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (avalanche-lib reads the legacy generator)
        random.seed(seed)
        benchmark = make_benchmark(avalanche, raw, set_up=set_up, seed=seed)
        stopwatch = Stopwatch(max_iterations_per_experience)
        strategy = make_strategy(avalanche, set_up=set_up, evaluate=evaluate, seed=seed, stopwatch=stopwatch)
        for seen, experience in enumerate(benchmark.train_stream, start=1):
            streams = [benchmark.test_stream[:seen]] if evaluate else []
            strategy.train(experience, eval_streams=streams, drop_last=REFERENCE.drop_last)
        final = strategy.eval(benchmark.test_stream)
    return {
        "iterations": stopwatch.done,
        "seconds_per_iteration": statistics.mean(statistics.median(times) for times in stopwatch.seconds),
        "accuracies": [
            value for name, value in final.items() if name.startswith("Top1_Acc_Exp/eval_phase/test_stream")
        ],
    }
