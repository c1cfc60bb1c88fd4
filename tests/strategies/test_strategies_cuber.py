"""CUBER: regimes of earlier tasks on data made for them, and a step against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from support import assert_same, everything, ready, same_trace, train_until, trained

from clbench.core.errors import Refused
from clbench.core.record import Kind
from clbench.data.arrays import from_arrays
from clbench.strategies.scaled_projection import ALIGNED, FAR, NEAR
from clbench.strategies.strategy import Strategy

TASKS = (
    "stream.scenario=by_group",
    "stream.setting=domain",
    "stream.task_labels=true",
    "model={name: mlp, hidden: [32], bias: false}",
    "training={optimizer: sgd, lr: 0.1, batch_size: 100, epochs: 6}",
    "evaluation={schedule: ends, rows_per_task: all}",
)
"""A task for each domain: 42 steps of all its 700 samples or so, with one head."""
SETTINGS = "threshold=0.95, growth=0"
LAYERS = ("layers.0", "head")


def digits(*, relabelled=False, domains=2):
    """Digits in random halves (or thirds); the last one has other labels if ``relabelled``."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y, group = x[order].astype(np.float32) / 16, y[order], np.arange(len(x)) % domains
    if relabelled:
        y = np.where(group == domains - 1, (y + 1) % 10, y)
    return from_arrays("halves", x[:1400], y[:1400], x[1400:], y[1400:], domains=(group[:1400], group[1400:]))


def part_of(run):
    return run.chain.parts[0]


def regimes(run, task=1):
    return part_of(run).state["regimes"][task]


def backward_transfer(run):
    trace = run.evaluator.trace()
    first, last = trace.score[np.flatnonzero(trace.kind == Kind.END)]
    return float(last[0] - first[0])


# ------------------------------------------------------------------------------------------- regimes


def test_the_other_half_of_the_same_data_is_in_regime_3_and_improves_the_first():
    ours, trgp = (
        trained(strategy, *TASKS, dataset=digits())
        for strategy in (f"cuber(strength=0.1, {SETTINGS})", f"trgp({SETTINGS})")
    )
    assert regimes(ours) == {layer: {0: ALIGNED} for layer in LAYERS}
    assert backward_transfer(ours) > 0.1
    assert backward_transfer(ours) > backward_transfer(trgp) + 0.05


def test_the_same_inputs_with_other_labels_are_in_regime_2_and_change_the_first_task_little():
    ours, naive = (
        trained(strategy, *TASKS, dataset=digits(relabelled=True))
        for strategy in (f"cuber(strength=0.1, {SETTINGS})", "naive")
    )
    assert regimes(ours) == {layer: {0: NEAR} for layer in LAYERS}
    assert abs(backward_transfer(ours)) < 0.05
    assert backward_transfer(naive) < -0.3


def test_a_task_that_is_not_related_is_in_regime_1_and_leaves_what_it_computes():
    run = train_until(ready(f"cuber(strength=0.1, related=1, {SETTINGS})", *TASKS, dataset=digits()), 43)
    assert regimes(run) == {layer: {0: FAR} for layer in LAYERS}
    part, w = part_of(run), run.learner.w.detach()
    before = {layer: part.layers.matrices[layer].of(w) @ part.state["directions"][layer] for layer in LAYERS}
    basis = {layer: part.state["directions"][layer].clone() for layer in LAYERS}
    run.train()
    for layer in LAYERS:
        assert torch.allclose(part.layers.matrices[layer].of(w) @ basis[layer], before[layer], atol=1e-5)


def test_a_large_strength_keeps_the_directions_of_an_aligned_task():
    moved = []
    for strength in (0, 0.1, 1):
        run = train_until(ready(f"cuber(strength={strength}, {SETTINGS})", *TASKS, dataset=digits()), 43)
        part, w = part_of(run), run.learner.w.detach()
        basis = part.state["directions"]["layers.0"].clone()
        before = part.layers.matrices["layers.0"].of(w) @ basis
        train_until(run, 83)
        moved.append(float((part.layers.matrices["layers.0"].of(w) @ basis - before).norm()))
    assert moved[0] > moved[1] > moved[2]


def test_a_gradient_that_disagrees_in_a_step_puts_the_task_into_regime_2_for_good():
    run = ready(f"cuber(strength=0.1, {SETTINGS})", *TASKS, dataset=digits())
    train_until(run, 45)
    part, learner = part_of(run), run.learner
    assert regimes(run)["head"] == {0: ALIGNED}
    assert len(part.state["fixed"]["head"]) == 0
    ended = part.state["gradients"][0]["head"]
    batch = learner.batch(run.trainer.enter(run.stream[1]).index[:, :10])
    learner.g.zero_()
    place = learner.slices["head.weight"]
    learner.g[place] = -ended.reshape(-1)
    part.gradient(learner, batch)
    assert regimes(run) == {"layers.0": {0: ALIGNED}, "head": {0: NEAR}}
    basis = part.state["directions"]["head"]
    expected = -ended + ended @ basis @ basis.T  # now projected
    assert torch.allclose(learner.g[place].view_as(ended), expected, atol=1e-6)
    learner.g[place] = ended.reshape(-1)  # it agrees again
    part.gradient(learner, batch)
    assert regimes(run)["head"] == {0: NEAR}


def test_agree_is_the_cosine_from_which_a_task_is_in_regime_3():
    run = train_until(ready(f"cuber(strength=0.1, {SETTINGS}, rows=700)", *TASKS, dataset=digits()), 43)
    part, learner = part_of(run), run.learner
    ended = part.state["gradients"][0]["head"]
    exact = learner.side_work.gradient(learner.batch(run.trainer.enter(run.stream[0]).index))
    assert ended.shape == (10, 32)
    for agree, regime in ((0.99, ALIGNED), (1.0, NEAR)):
        part.agree = agree
        aside = torch.randn(10, 32, generator=torch.Generator().manual_seed(0))
        aside -= (aside * ended).sum() / ended.square().sum() * ended
        mixed = 0.995 * ended / ended.norm() + (1 - 0.995**2) ** 0.5 * aside / aside.norm()  # its cosine is 0.995
        assert part.regime("head", 0, mixed) == regime
    assert float((exact[learner.slices["head.weight"]].view_as(ended) * ended).sum()) > 0


# ------------------------------------------------------------------------------------------- steps


def test_a_step_with_tasks_in_two_regimes_equals_one_worked_with_numpy():
    run = ready(f"cuber(strength=0.3, {SETTINGS}, related=0.1)", *TASKS[:-2], TASKS[-1],
                "training={optimizer: sgd, lr: 0.1, batch_size: 100, epochs: 6}",
                dataset=digits(domains=3))  # fmt: skip
    train_until(run, 2 * 30 + 4)
    part, learner, state = part_of(run), run.learner, part_of(run).state
    regime = state["regimes"][2]["layers.0"]
    regime[0], regime[1] = NEAR, ALIGNED  # whatever the data says
    state["fixed"]["layers.0"] = part._fixed("layers.0")
    state["gradients"][1]["layers.0"].zero_()  # no gradient disagrees with it
    d = state["directions"]["layers.0"].double().numpy()
    b = {j: d[:, state["columns"][j]["layers.0"].numpy()] for j in (0, 1)}
    w = learner.w.detach().clone()
    g = torch.randn(len(w), generator=torch.Generator().manual_seed(1))
    place, shape = learner.slices["layers.0.weight"], (32, 64)
    learner.g.copy_(g)
    part.gradient(learner, learner.batch(run.trainer.enter(run.stream[2]).index[:, :10]))
    change = (w - state["start"])[place].double().numpy().reshape(shape) @ b[1]
    assert np.linalg.norm(change) > 1e-3
    expected = g[place].double().numpy().reshape(shape) + 0.3 * change @ b[1].T / np.linalg.norm(change)
    expected -= expected @ b[0] @ b[0].T  # the directions of task 1 alone are free
    assert np.allclose(learner.g[place].numpy().reshape(shape), expected, atol=1e-5)
    shared = set(state["columns"][0]["layers.0"].tolist()) & set(state["columns"][1]["layers.0"].tolist())
    assert shared  # so that the order of union and projection matters


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_run_that_resumes_inside_an_experience_has_the_same_bits(optimizer):
    changes = (*TASKS[:4], TASKS[5], f"training={{optimizer: {optimizer}, lr: 0.01, batch_size: 100, epochs: 2}}")
    strategy = f"cuber(strength=0.1, {SETTINGS})"
    whole = trained(strategy, *changes, dataset=digits())
    half = train_until(ready(strategy, *changes, dataset=digits()), 18)
    rest = ready(strategy, *changes, dataset=digits())
    rest.restore(half.snapshot())
    rest.train()
    assert_same(everything(whole), everything(rest))
    assert same_trace(whole, rest)
    assert regimes(whole) == regimes(rest)


def test_strength_must_be_given():
    with pytest.raises(Refused, match="needs a value for 'strength'"):
        Strategy.parse("cuber")
