"""A stream learned in a plain loop of torch, for tests to compare a method's run with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from clbench.core.rng import Generator
from clbench.core.types import Experience
from clbench.models import make
from clbench.running.prepared_run import Run

SMALLER = ("model.hidden=[8]", "stream.dataset.train_rows=100", "training.epochs=2")
"""What the run is to be made with."""


def learned_plainly(
    run: Run,
    *,
    seed: int,
    loss: Callable[[nn.Module, Tensor, Tensor, Experience], Tensor],
    end: Callable[[nn.Module, Tensor, Experience], None] = lambda *_: None,
    stepped: Callable[[list[Tensor], list[Tensor]], None] = lambda *_: None,
    updates: int = 1,
) -> Tensor:
    """Weights (P,) after SGD at 0.1 in batches of 16, from the weights and in the orders of a run that has not begun.

    Args:
        run: Of the small benchmark on digits, changed by :data:`SMALLER`.
        seed: The run's.
        loss: From the model, a batch's inputs and output units, and the experience to a scalar.
        end: Told of every experience's end, with its inputs.
        stepped: Told of the weights before and after every step.
        updates: Steps on each batch.
    """
    model: Any = make({"name": "mlp", "hidden": [8]}, (1, 8, 8), run.stream.n_outputs)
    model.load_state_dict(run.learner.model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train = run.stream.dataset.train
    x, order = torch.from_numpy(train.x) / 16, Generator(seed, "order")
    for experience in run.stream:
        y = torch.from_numpy(run.stream.labels(train, experience.rows, experience.view))
        for _ in range(2):
            permuted = order.permutation(len(experience))
            for start in range(0, len(permuted), 16):
                chosen = permuted[start : start + 16]
                for _ in range(updates):
                    before = [p.detach().clone() for p in model.parameters()]
                    optimizer.zero_grad()
                    loss(model, x[experience.rows[chosen]], y[chosen], experience).backward()
                    optimizer.step()
                    stepped(before, [p.detach().clone() for p in model.parameters()])
        end(model, x[experience.rows], experience)
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])
