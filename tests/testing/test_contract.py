"""The contract of every registered strategy, as ``clbench.testing`` asks it, and what is asked of built-ins besides."""

from __future__ import annotations

import numpy as np
import pytest
from support import EVERY_STRATEGY, SMALL, Disturbable, assert_same, everything, needs, ready, trained

from clbench.testing import PROPERTIES, check_strategy

LIGHT = {**SMALL["defaults"], "fpf": {"iters": 4}, "k_fpf": {"iters": 4}}
"""Values for parameters without a default, and less work for methods that train on the side."""

ROTATED = ("stream.scenario=rotated", "stream.setting=domain", "stream.degrees=[0, 70]", "reveal=[length]")
CONTROLS = {"frozen", "l2p", "dualprompt", "coda_prompt", "sd_lora", "inflora", "adapters", "first_task"}
"""Strategies that are not meant to learn a second experience, or not from a random transformer."""
ELSEWHERE = {"si": "si(strength=0.01)", "only": "only(modules='norm+bias+fc+head')"}
"""Strengths are a matter of stream and model: what another setting takes."""
OPTIMIZERS = {
    "l2m": ("training.optimizer=adam", "training.lr=0.01"),
    "hypernet": ("training.optimizer=adam", "training.lr=0.01"),
    "podnet": ("training.optimizer=adam", "training.lr=0.01"),
    "binary": ("training.optimizer=adam", "training.lr=0.05", "model={name: mlp, hidden: [32]}"),
}
"""Optimisers without which a strategy does not learn in so few steps; binary convolutions would need many more."""


@pytest.mark.parametrize("prop", PROPERTIES)
@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_every_strategy_keeps_the_contract(strategy, prop):
    check_strategy(strategy, prop, defaults=LIGHT)


@pytest.mark.parametrize("prop", PROPERTIES)
@pytest.mark.parametrize("strategy", ["er + ewc(strength=1, fisher=sampled, rows=10)", "er_ace + l2(strength=0.1)"])
def test_joined_strategies_keep_the_contract(strategy, prop):
    check_strategy(strategy, prop, seed=1)


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_a_model_with_running_statistics_is_in_the_snapshot_too(strategy):
    run, kept = ready(strategy, "training.optimizer=adam", "reveal=[length]", model=Disturbable), []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 8 else None)
    resumed = ready(strategy, "training.optimizer=adam", "reveal=[length]", model=Disturbable)
    resumed.restore(kept[0])
    resumed.train()
    assert_same(everything(resumed), everything(run))


def test_a_run_rolls_back_to_its_own_past():
    run, kept = ready("er + ewc", "training.momentum=0.9"), []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 6 else None)
    ends, trace = everything(run), run.evaluator.trace()
    run.restore(kept[0])
    run.train()
    assert_same(everything(run), ends)
    assert np.array_equal(run.evaluator.trace().score, trace.score, equal_nan=True)


@pytest.mark.parametrize("policy", ["reservoir", "class_balanced"])
@pytest.mark.parametrize("strategy", ["naive", "er", "agem"])
def test_a_memory_of_pixels_alone_fills_up_and_counts_its_bytes(strategy, policy):
    run = trained(strategy, f"memory.policy={policy}", "memory.size=30", "memory.admit=every_pass", "training.epochs=2")
    assert run.learner.memory.all().index.shape == (5, 30)
    assert run.learner.memory.bytes == 30 * 64  # 8 x 8 one-byte pixels


@pytest.mark.parametrize("strategy", [name for name in EVERY_STRATEGY if name not in CONTROLS])
def test_every_strategy_learns_something_on_a_second_scenario_with_a_second_model(strategy):
    labels = ("stream.task_labels=true",) if "task_labels" in needs(strategy) else ()
    changes = (*ROTATED, *labels, "model={name: cnn, width: 8}", "training.epochs=3", *OPTIMIZERS.get(strategy, ()))
    run = trained(ELSEWHERE.get(strategy, strategy), *changes)
    score = run.evaluator.trace().score
    assert np.nanmean(score[-1]) > 0.4 > np.nanmean(score[0])


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_every_strategy_runs_under_another_policy_and_with_all_outputs(strategy):
    end = "first_pass" if strategy == "hpcr" else "end"  # which keeps scores of the very step
    settings = ("stream.output=all", "memory.policy=class_balanced", f"memory.admit={end}", "reveal=[length]")
    run = trained(strategy, *settings)
    assert np.isfinite(run.evaluator.trace().score[-1]).all()
