"""Trust region gradient projection: directions, scales and steps, by hand and against numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, same_trace, train_until, trained

from clbench.core.errors import Refused
from clbench.running.prepare import Skip
from clbench.strategies.scaled_projection import FAR, NEAR, span
from clbench.training.batch import TASK

TASKS = (
    "stream.scenario=permuted",
    "stream.setting=domain",
    "stream.experiences=3",
    "stream.task_labels=true",
    "model={name: mlp, hidden: [16], bias: false}",
    "evaluation={schedule: ends, rows_per_task: all}",
)
"""Three permutations of digits, 300 samples each in 19 steps, with task labels and one head."""
SETTINGS = "threshold=0.9, growth=0"


def part_of(run):
    return run.chain.parts[0]


def products(part, learner, layers=None):
    """W D of the directions there are, by layer."""
    w = learner.w.detach()
    return {name: part.layers.matrices[name].of(w) @ d for name, d in (layers or part.state["directions"]).items()}


def after(strategy, experiences, *changes):
    """A run that has learned some experiences, and one step of the next."""
    run = ready(strategy, *TASKS, *changes)
    return train_until(run, 19 * experiences + 1)


# ------------------------------------------------------------------------------------------- directions


def test_new_directions_and_old_ones_are_ranked_together_by_the_energy_that_they_hold():
    rows = torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)  # energies 4, 9, 1
    basis = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], dtype=torch.float64)  # the first and the third axis
    for threshold, places, new in ((0.6, [], 1), (0.65, [0], 1), (13.5 / 14, [0, 1], 1), (0.0, [], 0)):
        old, found = span(rows, basis, threshold)
        assert old.tolist() == places
        assert found.shape == (3, new)
        assert torch.equal(found.abs(), torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float64)[:, :new])


def test_directions_below_the_threshold_are_one_fewer():
    rows = torch.randn(40, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    none = rows.new_zeros(12, 0)
    values = np.linalg.svd(rows.numpy(), compute_uv=False) ** 2
    reached = int((values.cumsum() < 0.8 * values.sum()).sum())
    assert span(rows, none, 0.8)[1].shape == (12, reached + 1)
    assert span(rows, none, 0.8, below=True)[1].shape == (12, reached)


def test_the_directions_of_a_first_task_are_the_leading_singular_vectors_of_its_inputs():
    run = ready(f"trgp({SETTINGS}, rows=300)", *TASKS)
    train_until(run, 20)  # one step of the second task, whose gradient is projected
    part, learner = part_of(run), run.learner
    x = learner.raw(run.trainer.enter(run.stream[0]).index).flatten(1).double().numpy()
    _, values, right = np.linalg.svd(x, full_matrices=False)
    count = int((np.cumsum(values**2) < 0.9 * (values**2).sum()).sum()) + 1
    d = part.state["directions"]["layers.0"].double().numpy()
    assert np.allclose(d @ d.T, right[:count].T @ right[:count], atol=1e-6)


def test_directions_stay_orthonormal_over_tasks():
    part = part_of(trained(f"trgp({SETTINGS})", *TASKS))
    for d in part.state["directions"].values():
        assert torch.allclose(d.T @ d, torch.eye(d.shape[1]), atol=1e-5)
        assert d.shape[1] <= len(d)


def test_the_code_leaves_the_strongest_new_direction_unprotected_and_the_first_task_below_the_threshold():
    paper, code = (trained(f"trgp({SETTINGS}, rows=300, form={form})", *TASKS) for form in ("paper", "code"))
    ours, theirs = part_of(paper).state, part_of(code).state
    layer = "layers.0"
    assert len(theirs["columns"][0][layer]) == len(ours["columns"][0][layer]) - 1
    kept = theirs["kept"][layer].tolist()
    first = len(theirs["columns"][0][layer])
    assert first not in kept
    assert first in theirs["columns"][1][layer].tolist()
    assert ours["kept"][layer].tolist() == list(range(ours["directions"][layer].shape[1]))
    assert part_of(code).state["regimes"][2][layer][0] == FAR  # of two earlier tasks only the newest is related


# ------------------------------------------------------------------------------------------- steps


@pytest.mark.parametrize("related", [1, 0.1])
def test_no_layer_changes_what_it_computes_from_old_directions(related):
    run = ready(f"trgp({SETTINGS}, related={related})", *TASKS)
    train_until(run, 20)
    part, learner = part_of(run), run.learner
    regimes = {regime for layers in part.state["regimes"][1].values() for regime in layers.values()}
    assert regimes == ({FAR} if related == 1 else {NEAR})
    old = {name: d.clone() for name, d in part.state["directions"].items()}
    before = products(part, learner, old)
    train_until(run, 38)
    for name, product in products(part, learner, old).items():
        assert torch.allclose(product, before[name], atol=1e-5), name
    assert run.alarms() == ()


def test_finished_tasks_keep_their_outputs_with_scales_of_their_own():
    run = ready("trgp(threshold=1, growth=0, rows=300, related=0)", *TASKS, "training.epochs=2")
    outputs = {}
    for done, step in ((1, 39), (2, 77)):  # the first step of the next task
        train_until(run, step)
        for task in range(done):
            index = run.trainer.enter(run.stream[task]).index
            logits = run.learner.side_work.features(index).logits
            old = outputs.setdefault(task, logits)
            assert torch.allclose(logits, old, atol=1e-4), task
    plain = run.learner.model(run.learner.raw(index)).logits
    assert not torch.allclose(plain, old, atol=1e-2)  # the last one needs its scales


def test_a_step_with_scales_equals_one_worked_with_numpy():
    run = ready(f"trgp({SETTINGS}, related=0.1)", *TASKS, "training.lr=0.5")
    part, learner = part_of(run), run.learner
    train_until(run, 25)  # scales have left the identity
    state = part.state
    relation = state["scales"][1]["layers.0"], state["scales"][1]["head"]
    w1, w2 = (
        part.layers.matrices[name].of(learner.w.detach()).double().numpy().copy() for name in ("layers.0", "head")
    )
    qs = [[q.detach().double().numpy().copy() for q in r["q"]] for r in relation]
    bases = [
        [state["directions"][name][:, c].double().numpy() for c in r["columns"]]
        for name, r in zip(("layers.0", "head"), relation, strict=True)
    ]
    seen = []
    run.chain.batch += (lambda _, batch: seen.append(batch),)
    train_until(run, 26)
    x, y = seen[0].x.flatten(1).double().numpy(), seen[0].y.numpy()
    e1, e2 = (w + sum(w @ b @ (q - np.eye(len(q))) @ b.T for b, q in zip(bs, q_, strict=True))
              for w, bs, q_ in zip((w1, w2), bases, qs, strict=True))  # fmt: skip
    hidden = np.maximum(x @ e1.T, 0)
    logits = hidden @ e2.T
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    g2 = p.T @ hidden / len(y)  # of the effective weights
    g1 = ((p @ e2) * (hidden > 0)).T @ x / len(y)
    for name, w, g, bs, q_, r in zip(("layers.0", "head"), (w1, w2), (g1, g2), bases, qs, relation, strict=True):
        d = state["directions"][name].double().numpy()
        gw = g + sum(g @ b @ (q - np.eye(len(q))).T @ b.T for b, q in zip(bs, q_, strict=True))
        moved = w - 0.5 * (gw - gw @ d @ d.T)
        assert np.allclose(part.layers.matrices[name].of(learner.w.detach()).double().numpy(), moved, atol=1e-5)
        for b, q, now in zip(bs, q_, r["q"], strict=True):
            assert np.allclose(now.detach().double().numpy(), q - 0.5 * (w @ b).T @ g @ b, atol=1e-5)
    assert max(np.abs(q - np.eye(len(q))).max() for q_ in qs for q in q_) > 1e-3


@pytest.mark.parametrize(("rows", "model"), [
    (8, "model={name: mlp, hidden: [16], bias: false}"),  # fewer samples than outputs: inputs are scaled
    (64, "model={name: mlp, hidden: [16], bias: false}"),  # weights are scaled
    (8, "model={name: cnn, width: 4, hidden: 16, bias: false}"),
])  # fmt: skip
def test_scaled_inputs_and_scaled_weights_give_the_same_outputs_and_gradients(rows, model):
    run = ready(f"trgp({SETTINGS}, related=0)", *TASKS, model)
    train_until(run, 40)
    part, learner = part_of(run), run.learner
    batch = learner.batch(run.trainer.enter(run.stream[2]).index[:, :rows])
    made = []
    for linear in (part.layers.linear, frozenset()):
        part.__dict__["_layers"] = replace(part.layers, linear=linear)
        output = learner.run(batch)
        wanted = [*learner.model.parameters(), *part.__dict__["_scales"]]
        made.append((output.logits, *torch.autograd.grad(output.logits.square().sum(), wanted, allow_unused=True)))
    assert len(part.__dict__["_scales"])
    for ours, theirs in zip(*made, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_replayed_samples_are_answered_with_the_weights_of_their_own_task():
    run = ready(f"er + trgp({SETTINGS}, related=0.1)", *TASKS)
    train_until(run, 42)
    part, learner = run.chain.parts[1], run.learner
    index = learner.memory.all().index
    index = index[:, index[TASK] != part.state["task"]]
    assert set(index[TASK].tolist()) == {0, 1}
    mixed = learner.run(learner.batch(index)).logits
    for task in (0, 1):
        own = index[TASK] == task
        alone = learner.run(learner.batch(index[:, own])).logits
        assert torch.allclose(mixed[own], alone, atol=1e-6)
    plain = learner.model(learner.raw(index)).logits
    assert torch.allclose(mixed[index[TASK] == 0], plain[index[TASK] == 0], atol=1e-6)  # the first task has no scales
    assert not torch.allclose(mixed[index[TASK] == 1], plain[index[TASK] == 1], atol=1e-3)


# ------------------------------------------------------------------------------------------- runs


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_run_that_resumes_inside_an_experience_has_the_same_bits(optimizer):
    changes = (*TASKS, f"training.optimizer={optimizer}", "training.lr=0.01", "training.momentum=0")
    strategy = f"trgp({SETTINGS}, related=0.1)"
    whole = trained(strategy, *changes)
    half = train_until(ready(strategy, *changes), 30)
    rest = ready(strategy, *changes)
    rest.restore(half.snapshot())
    rest.train()
    assert_same(everything(whole), everything(rest))
    assert same_trace(whole, rest)
    for ours, theirs in zip(scales(whole), scales(rest), strict=True):
        assert torch.equal(ours, theirs)
    assert len(scales(whole)) > 1


def scales(run):
    by_task = part_of(run).state["scales"].values()
    return [q.detach() for layers in by_task for relation in layers.values() for q in relation["q"]]


def test_a_threshold_of_0_is_naive_bit_for_bit():
    ours, naive = (trained(s, *TASKS) for s in ("trgp(threshold=0, growth=0)", "naive"))
    assert torch.equal(ours.learner.w, naive.learner.w)
    assert same_trace(ours, naive)


def test_the_scales_follow_the_learning_rate_of_the_schedule_and_have_no_weight_decay():
    run = ready(f"trgp({SETTINGS}, related=0.1)", *TASKS, "training.lr_schedule=cosine", "training.weight_decay=0.1")
    train_until(run, 30)
    optimizer = part_of(run).__dict__["_optimizer"]
    assert [group["lr"] for group in optimizer.param_groups] == [run.learner.lr]
    assert run.learner.lr < run.learner.base_lr
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0]


def test_weight_decay_that_changes_old_outputs_is_reported():
    (alarm,) = [a for a in trained(f"trgp({SETTINGS})", *TASKS, "training.weight_decay=0.01").alarms() if "keep" in a]
    assert "did not keep what layers compute from old inputs" in alarm


def test_scales_and_directions_count_as_bytes_of_state():
    run = trained(f"trgp({SETTINGS}, related=0.1)", *TASKS)
    floats = sum(d.numel() for d in part_of(run).state["directions"].values()) + sum(q.numel() for q in scales(run))
    assert run.account().state_bytes > 4 * floats


def test_a_task_that_returns_goes_on_with_its_scales_and_every_direction_is_fixed():
    run = ready(f"trgp({SETTINGS}, related=0.1)", *TASKS, "stream.apply=[{repeat: {times: 2}}]")
    part, learner = part_of(run), run.learner
    train_until(run, 3 * 19)
    first = [q.detach().clone() for q in scales(run)]
    train_until(run, 4 * 19 + 1)  # the second task returns
    assert part.state["task"] == 1
    assert part.state["regimes"][1] == {}
    before = products(part, learner, fixed := dict(part.state["directions"]))
    assert {name: len(columns) for name, columns in part.state["fixed"].items()} == {
        name: d.shape[1] for name, d in fixed.items()
    }
    train_until(run, 5 * 19)
    for name, product in products(part, learner, fixed).items():
        assert torch.allclose(product, before[name], atol=1e-5), name
    moved = [not torch.equal(ours, theirs) for ours, theirs in zip(scales(run), first, strict=True)]
    assert len(part.state["scales"]) == 3
    assert any(moved)
    assert not all(moved)  # those of the third task are as they were


@pytest.mark.parametrize("task_labels", ["false"])
def test_a_stream_that_hides_task_labels_skips_the_cell(task_labels):
    with pytest.raises(Skip, match="needs task labels"):
        ready("trgp", *TASKS, f"stream.task_labels={task_labels}")


def test_a_threshold_for_each_layer_has_one_number_for_each():
    with pytest.raises(Refused, match=r"has 3 numbers, but 2 layers are projected \(layers.0, head\)"):
        trained("trgp(threshold=[0.9, 0.9, 0.9])", *TASKS)
    part = part_of(trained("trgp(threshold=[0.5, 0.9], growth=0)", *TASKS))
    alike = part_of(trained("trgp(threshold=0.9, growth=0)", *TASKS))
    assert part.state["directions"]["layers.0"].shape[1] < alike.state["directions"]["layers.0"].shape[1]
    assert torch.equal(part.state["columns"][0]["head"], alike.state["columns"][0]["head"])


def test_heads_of_single_tasks_are_not_projected():
    run = trained(f"trgp({SETTINGS})", *TASKS[4:], "stream.setting=task", "stream.task_labels=true")
    assert set(part_of(run).state["directions"]) == {"layers.0"}
