"""What tests of the engine share: one small benchmark, runs made from it, and modules that are easy to disturb."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clbench.adapters.run_setup import Skip
from clbench.core.errors import Refused
from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.running.prepared_run import Run
from clbench.running.user_objects import UserObjects
from clbench.strategies import STRATEGIES
from clbench.strategies.strategy import Strategy
from clbench.testing.trial_runs import MEETS
from clbench.training.batch import Batch

EVERY_STRATEGY = tuple(entry.name for entry in STRATEGIES)

SMALL = {
    "name": "small",
    "stream": {"scenario": "split", "dataset": {"name": "digits", "train_rows": 300}, "setting": "class"},
    "model": {"name": "mlp", "hidden": [16]},
    "training": {"optimizer": "sgd", "lr": 0.1, "batch_size": 16, "epochs": 1},
    "memory": {"size": 40},
    "evaluation": {"every": 1, "rows_per_task": 20},
    "defaults": {
        "binary": {"anneal": "constant", "beta": 1.0},
        "ewc": {"strength": 10},
        "l2": {"strength": 0.1},
        "si": {"strength": 0.01},
        "mas": {"strength": 0.01},
        "refresh": {"strength": 1e-6},
        "der": {"alpha": 0.5},
        "derpp": {"alpha": 0.5, "beta": 0.5},
        "gdumb": {"passes": 16},
        "cuber": {"strength": 0.1},
        "fpf": {"iters": 20},
        "k_fpf": {"iters": 5, "every": 8},
        "pcr": {"views": 1},
        "hpcr": {"views": 1},
        "acil": {"expansion": 64},
        "ranpac": {"size": 64},
        "consolidation": {"strength": 10, "frozen": 0.3},
        "view_batch": {"views": 2, "strong": None},
    },
}
"""Split digits, 5 experiences of about 60 rows: a run takes a few hundredths of a second."""


def needs(strategy: Any) -> set[str]:
    """What the parts of a strategy need."""
    try:
        return {need for part in Strategy.parse(strategy, SMALL["defaults"]).parts() for need in part.needs}
    except Refused:  # which the test is about
        return set()


def home(strategy: Any, model: object = None) -> tuple[str, ...]:
    """Changes to the small benchmark that meet the needs of a strategy: task labels, length, a kind of model."""
    met = ["task_labels", "length", *(["convolutions", "transformer"] if model is None else [])]
    return tuple(change for need in met if need in needs(strategy) for change in MEETS[need])


def ready(strategy: str = "naive", *changes: str, seed: int = 0, model: object = None, **given: object) -> Run:
    """A run of the small benchmark that has not begun; ``changes`` are ``key=value``, ``model`` a program's own.

    The benchmark is changed to meet the strategy's needs. A test is skipped if its own model has no convolutions, and
    the strategy needs some.
    """
    own = None if model is None else {"name": "given"}
    dataset = given.get("dataset")
    cell = plan(
        SMALL,
        strategies=[strategy],
        seeds=[seed],
        overrides=(*home(strategy, model), *changes),
        model=own,
        dataset=None if dataset is None else {"name": "given"},
    ).cells[0]
    try:
        return prepare(cell, given=UserObjects(model=model, **given))
    except Skip as reason:
        if model is not None and ("convolutions" in str(reason) or "transformer" in str(reason)):
            pytest.skip(str(reason))
        raise


def trained(strategy: str = "naive", *changes: str, seed: int = 0, model: object = None, **given: object) -> Run:
    """The same run, trained to the end of its stream."""
    run = ready(strategy, *changes, seed=seed, model=model, **given)
    run.train()
    return run


class Stopped(Exception):
    """A run was stopped on purpose."""


def train_until(run: Run, step: int) -> Run:
    """Train up to and including a step."""

    def stop(done: int, _: float) -> None:
        if done == step:
            raise Stopped

    try:
        run.train(stop)
    except Stopped:
        return run
    raise AssertionError(f"the stream ended before step {step}")


def everything(run: Run) -> dict[str, Tensor]:
    """All that training leaves behind, as tensors by name: weights, buffers, optimiser, memory, what parts learned."""
    learner = run.learner
    kept = {"w": learner.w.detach().clone(), "memory": learner.memory.all().index.clone()}
    kept |= {f"buffer {name}": b.clone() for name, b in learner.model.named_buffers()}
    kept |= {
        f"optimizer {k}": v.clone()
        for k, v in run.trainer.steps.optimizer.state.get(learner.w, {}).items()
        if v is not None
    }
    for part in run.chain.parts:
        kept |= {f"{type(part).__name__} {k}": v.clone() for k, v in part.state.items() if isinstance(v, Tensor)}
    return kept


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Bit for bit."""
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), f"{name} differs by {(value - theirs[name]).abs().max()}"


def same_trace(ours: Run, theirs: Run) -> bool:
    a, b = ours.evaluator.trace(), theirs.evaluator.trace()
    columns = ("step", "kind", "experience", "score", "rows", "present")
    return all(np.array_equal(getattr(a, c), getattr(b, c), equal_nan=c == "score") for c in columns)


def batches(run: Run) -> list[Batch]:
    """Train, and return the batch of every step as the loop had it, with rehearsed rows."""
    seen: list[Batch] = []
    run.chain.batch += (lambda _, batch: seen.append(batch),)
    run.train()
    return seen


def stream_rows(run: Run) -> list[list[int]]:
    """Train, and return the training rows of the stream in each iteration, in order."""
    return [batch.rows[batch.stream.span].tolist() for batch in batches(run) if not batch.repetition]


def joined(lists: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(lists))


class Disturbable(nn.Module):
    """Has all that a look could disturb: running statistics, dropout, and its own reading of the mode."""

    def __init__(self, shape: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(int(np.prod(shape)), 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3)
        )
        self.head = nn.Linear(12, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x))


class Dicing(nn.Module):
    """Draws random numbers and counts its calls in evaluation mode too."""

    calls: Tensor

    def __init__(self, shape: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(int(np.prod(shape)), 12)
        self.register_buffer("calls", torch.zeros(()))
        self.head = nn.Linear(12, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.head(F.dropout(torch.relu(self.first(x.flatten(1))), 0.3, training=True))


class NoLooks:
    """An evaluator that is switched off."""

    def look(self, *_: object) -> None: ...


def numerical(loss: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    """Gradient of a scalar function at ``w`` by automatic differentiation, (P,)."""
    at = w.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(at), at)[0]
