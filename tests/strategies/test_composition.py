"""Every pair of built-in strategies that is not refused runs to its end, on rows so few that corners are met."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from support import EVERY_STRATEGY, SMALL, home

from clbench.core.errors import Refused
from clbench.running.plan import plan
from clbench.running.prepare import Skip, prepare

TINY = {
    **SMALL,
    "stream": {**SMALL["stream"], "dataset": {"name": "digits", "train_rows": 60}, "experiences": 2},
    "model": {"name": "mlp", "hidden": [4]},
    "training": {**SMALL["training"], "lr": 0.02, "batch_size": 3},
    "memory": {"size": 30},
    "evaluation": {"every": 0, "rows_per_task": 4},
    "defaults": {**SMALL["defaults"], "gdumb": {"passes": 1}, "fpf": {"iters": 1}, "k_fpf": {"iters": 1, "every": 4}},
    "reveal": ["length"],
}
"""Batches of 3, and a memory of 30: where exemplars are merged into an experience, batches without its rows occur."""


def run_of(*names):
    """A run of two strategies, or ``None`` where they are refused."""
    met = tuple(dict.fromkeys(change for name in names for change in home(name)))
    try:
        return prepare(plan(TINY, strategies=[" + ".join(names)], seeds=[0], overrides=met).cells[0])
    except (Refused, Skip):
        return None


@pytest.mark.parametrize("first", EVERY_STRATEGY[:-1])
def test_every_pair_that_is_not_refused_runs_to_its_end(first):
    at = EVERY_STRATEGY.index(first)
    for second in EVERY_STRATEGY[at + 1 :]:
        run = run_of(first, second)
        if run is not None:
            run.train()
            assert torch.isfinite(run.learner.w).all(), (first, second)


def test_most_pairs_run_and_batches_without_a_row_of_the_stream_are_met():
    pairs = [pair for pair in combinations(("icarl", "lwf", "agem", "mir", "er", "ewc"), 2) if run_of(*pair)]
    assert len(pairs) > 10
    run, own = run_of("icarl", "lwf"), []
    run.chain.batch += (lambda _, batch: own.append((len(batch.stream), batch.size)),)
    run.train()
    assert (0, 3) in own
