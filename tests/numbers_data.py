"""What tests of regression share: two columns of numbers that depend on five inputs, and a small benchmark of them."""

from __future__ import annotations

import numpy as np

from clbench.core.types import Dataset
from clbench.data import from_arrays
from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.running.prepared_run import Run
from clbench.running.user_objects import UserObjects

BENCHMARK = {
    "name": "numbers",
    "stream": {"scenario": "split", "experiences": 3, "dataset": "arrays"},
    "model": {"name": "mlp", "hidden": [8]},
    "training": {"optimizer": "sgd", "lr": 0.05, "batch_size": 16, "epochs": 2},
    "memory": {"size": 30},
    "evaluation": {"every": 1},
}


def arrays(columns: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """120 training and 60 test rows of five inputs; targets of different scale, with noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(180, 5)).astype(np.float32)
    first = 40 + 12 * (x[:, 0] - x[:, 1] * x[:, 2]) + rng.normal(0, 2, 180)
    second = 0.01 * (x[:, 3] + np.sin(2 * x[:, 4])) + rng.normal(0, 0.002, 180)
    y = np.stack([first, second], axis=1)[:, :columns]
    return x[:120], y[:120], x[120:], y[120:]


def dataset(columns: int = 2) -> Dataset:
    return from_arrays("numbers", *arrays(columns), family="regression")


def ready(strategy: str = "naive", *changes: str, seed: int = 0, columns: int = 2) -> Run:
    """A run of the small benchmark that has not begun."""
    own = dataset(columns)
    named = {"name": "given:numbers", "family": "regression"}
    cell = plan(BENCHMARK, strategies=[strategy], seeds=[seed], overrides=changes, dataset=named).cells[0]
    return prepare(cell, given=UserObjects(dataset=own))


def trained(strategy: str = "naive", *changes: str, seed: int = 0, columns: int = 2) -> Run:
    run = ready(strategy, *changes, seed=seed, columns=columns)
    run.train()
    return run
