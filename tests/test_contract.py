"""The contract of every registered strategy: deterministic, resumable at any step, no global randomness, bounded."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from support import EVERY_STRATEGY, Disturbable, assert_same, everything, ready, same_trace, train_until, trained

SCENARIOS = {
    "small": (),
    "rotated": (
        "stream.scenario=rotated",
        "stream.setting=domain",
        "stream.degrees=[0, 70]",
        "stream.dataset.train_rows=60",
        "model={name: cnn, width: 4, hidden: 8}",
    ),
    "task": ("stream.setting=task", "model.heads=separate", "training.momentum=0.5", "training.weight_decay=0.001"),
    "dropout": (
        "model.dropout=0.4",
        "training.augment=crop-flip",
        "training.optimizer=adam",
        "training.lr=0.01",
        "memory.policy=class_balanced",
    ),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_two_runs_of_a_cell_are_identical(strategy, scenario):
    first, second = (trained(strategy, *SCENARIOS[scenario]) for _ in range(2))
    assert_same(everything(first), everything(second))
    assert same_trace(first, second)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_a_run_goes_on_bit_for_bit_from_a_snapshot_in_mid_experience(strategy, scenario, tmp_path):
    changes = (*SCENARIOS[scenario], "training.epochs=2", "memory.admit=every_pass")
    whole = trained(strategy, *changes)
    for step in (3, whole.cursor.step * 2 // 3):
        stopped = train_until(ready(strategy, *changes), step)
        torch.save(stopped.snapshot(), tmp_path / "snapshot")
        torch.rand(step)  # another process would find torch's generator elsewhere
        resumed = ready(strategy, *changes)
        resumed.restore(torch.load(tmp_path / "snapshot", weights_only=True))
        resumed.train()
        assert_same(everything(resumed), everything(whole))
        assert same_trace(resumed, whole)
        assert resumed.learner.cost.stream_rows == whole.learner.cost.stream_rows


@pytest.mark.parametrize("optimizer", ["training.momentum=0.9", "training.optimizer=adam"])
@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_a_snapshot_stays_what_it_was_while_the_run_goes_on(strategy, optimizer):
    run, kept = ready(strategy, optimizer, model=Disturbable), []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 8 else None)
    ends = everything(run)
    for _ in range(2):  # restored twice: a rollback must not hand out the snapshot's own tensors either
        resumed = ready(strategy, optimizer, model=Disturbable)
        resumed.restore(kept[0])
        resumed.train()
        assert_same(everything(resumed), ends)


def test_a_run_rolls_back_to_its_own_past():
    run, kept = ready("er + ewc", "training.momentum=0.9"), []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 6 else None)
    ends, trace = everything(run), run.evaluator.trace()
    run.restore(kept[0])
    run.train()
    assert_same(everything(run), ends)
    assert np.array_equal(run.evaluator.trace().score, trace.score, equal_nan=True)


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_a_strategy_uses_no_global_randomness(strategy, monkeypatch):
    undisturbed = trained(strategy)

    def refuse(*_, **__):
        raise AssertionError("global randomness was used")

    for module, names in (
        (random, ("random", "sample", "shuffle", "choice", "randint", "uniform", "randrange")),
        (np.random, ("rand", "randn", "randint", "permutation", "shuffle", "choice", "random", "uniform", "normal")),
        (torch, ("rand", "randn", "randint", "randperm", "multinomial", "bernoulli", "rand_like", "randn_like")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, refuse)

    def poison(step: int, _: float) -> None:
        torch.manual_seed(step)
        np.random.seed(step)  # noqa: NPY002
        random.seed(step)

    run = ready(strategy)
    run.train(poison)
    assert_same(everything(run), everything(undisturbed))


@pytest.mark.parametrize("policy", ["reservoir", "class_balanced"])
@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_memory_stays_within_its_size_and_part_state_does_not_grow(strategy, policy):
    run = ready(strategy, f"memory.policy={policy}", "memory.size=30", "memory.admit=every_pass", "training.epochs=2")
    sizes, bytes_kept = [], {}

    def watch(*_) -> None:
        sizes.append(len(run.learner.memory))
        bytes_kept[run.cursor.experience] = run.chain.bytes

    run.train(watch)
    assert max(sizes) == 30 == sizes[-1]
    assert run.learner.memory.all().index.shape == (5, 30)
    assert run.learner.memory.bytes == 30 * 64  # 8 x 8 one-byte pixels
    assert len({bytes_kept[e] for e in list(bytes_kept)[1:]}) <= 1


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_every_strategy_learns_something_on_a_second_scenario_with_a_second_model(strategy):
    run = trained(strategy, *SCENARIOS["rotated"][:-2], "model={name: cnn, width: 8}", "training.epochs=3")
    score = run.evaluator.trace().score
    assert np.nanmean(score[-1]) > 0.4 > np.nanmean(score[0])


def test_every_strategy_runs_under_the_two_policies_and_both_outputs():
    for strategy in EVERY_STRATEGY:
        run = trained(strategy, "stream.output=all", "memory.policy=class_balanced", "memory.admit=end")
        assert np.isfinite(run.evaluator.trace().score[-1]).all()
