"""Channel-wise reprogramming: kernels that begin as nothing, a frozen network, and tasks that are never forgotten."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import assert_same, everything, numerical, ready, train_until, trained
from torch import nn

from clbench.adapters.run_setup import Skip
from clbench.core.errors import Refused
from clbench.models.channelwise import ChannelwiseConv, add_channelwise
from clbench.strategies.bank import task_of

CNN = "model={name: cnn, width: 4, hidden: 8, norm: batch}"
LONGER = (CNN, "training.epochs=4", "training.lr=0.05", "training.momentum=0.9")
RETURNING = (*LONGER[:1], "stream.apply=[{repeat: {times: 2}}]", "training.momentum=0.9")
CHANNELS = 4 + 4 + 8 + 8


def test_at_the_identity_the_features_are_those_of_the_network_bit_for_bit():
    plain, ours = ready("naive", CNN, "stream.setting=task"), ready("clr", CNN)
    for training in (True, False):
        models = [run.learner.model.train(training) for run in (plain, ours)]
        x = torch.randn(40, 1, 8, 8)
        first, second = (model(x) for model in models)
        assert torch.equal(first.features, second.features)
        assert torch.equal(first.logits, second.logits)


def test_a_new_task_begins_with_the_features_of_the_network_that_the_first_experience_left():
    run, x, begun, ended = ready("clr", *LONGER), torch.randn(40, 1, 8, 8), [], []

    def features(learner, kept):
        with learner.side_work.undisturbed(training=False), torch.no_grad():
            kept.append(learner.model(x).features.clone())

    run.chain.begin_experience += (lambda learner, shown: features(learner, begun),)
    run.chain.end_experience += (lambda learner, shown: features(learner, ended),)
    run.train()
    for each in begun[1:]:
        assert torch.equal(each, ended[0])
    assert not torch.equal(ended[1], ended[0])


def test_the_first_experience_trains_the_network_as_naive_does_and_later_ones_leave_it():
    ends = {}
    for strategy in ("naive", "clr"):
        run, kept = ready(strategy, *LONGER, "stream.setting=task", "model.heads=separate"), []
        run.chain.end_experience += (lambda learner, shown, kept=kept: kept.append(_named(learner)),)
        run.train()
        ends[strategy] = kept
    for name, value in ends["naive"][0].items():
        torch.testing.assert_close(ends["clr"][0][name.replace(".base", "")], value, rtol=0, atol=1e-6)
    for later in ends["clr"][1:]:
        for name, value in later.items():
            moves = "channelwise" in name or "norms" in name or "head" in name
            assert torch.equal(value, ends["clr"][0][name]) != moves, name
    dirac = {n: v for n, v in ends["clr"][0].items() if "channelwise" in n}
    assert all(
        torch.equal(v.sum((1, 2, 3)), torch.ones(len(v))) and int((v != 0).sum()) == len(v) for v in dirac.values()
    )


def _named(learner):
    kept = {name.replace(".base", ""): p.detach().clone() for name, p in learner.model.named_parameters()}
    return kept | {name: b.clone() for name, b in learner.model.named_buffers() if "num_batches" not in name}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_logits_of_a_finished_task_have_the_same_bits_at_every_later_evaluation(optimizer):
    lr = {"sgd": "0.05", "adam": "0.01"}[optimizer]
    changes = (f"training.optimizer={optimizer}", f"training.lr={lr}", "training.weight_decay=0.001")
    run = ready("clr", CNN, "training.epochs=2", *changes)
    x, told = torch.randn(30, 1, 8, 8), {}

    def answers(learner, shown):
        with learner.side_work.undisturbed(training=False), torch.no_grad():
            for task in range(shown.id + 1):
                learner.scratch.clear()
                own = sorted(run.stream.tasks[task].classes)
                label = torch.full((30,), task)
                told.setdefault(task, []).append(run.trainer.readout.output(x, label).logits[:, own].clone())

    run.chain.end_experience += (answers,)
    run.train()
    for task, logits in told.items():
        assert len(logits) == 5 - task
        for later in logits[1:]:
            assert torch.equal(later, logits[0])
    trace = run.evaluator.trace()
    last = [step for step in range(len(trace.step)) if trace.experience[step] == 4]
    assert (
        np.ptp(trace.score[last][:, :4], axis=0).max() == 0
    )  # no accuracy of an old task moves in the last experience


def test_weights_and_bytes_per_task_are_those_worked_out_by_hand():
    run = trained("clr", CNN)
    cost = run.account()
    assert cost.task_weights == 9 * CHANNELS + 2 * CHANNELS
    assert cost.task_head_weights == 2 * 8 + 2
    plain = ready("naive", CNN, "stream.setting=task").learner.w.numel()
    assert cost.weights == plain + 9 * CHANNELS
    statistics = 2 * 4 * CHANNELS + 4 * 8
    versions = 5 * (4 * (11 * CHANNELS + 18) + statistics)
    start = 4 * (11 * CHANNELS + 90) + statistics
    assert cost.state_bytes == versions + start
    assert {"task_weights", "task_head_weights"} <= set(cost.as_dict())
    assert "task_weights" not in trained("naive").account().as_dict()


def test_norms_may_be_those_of_the_frozen_network():
    run = ready("clr(norm=frozen)", *LONGER)
    kept = []
    run.chain.end_experience += (
        lambda learner, shown: kept.append({n: v for n, v in _named(learner).items() if "norms" in n}),
    )
    run.train()
    assert run.account().task_weights == 9 * CHANNELS
    for later in kept[1:]:
        assert_same(later, kept[0])


def test_group_norms_are_kept_per_task_too():
    run = trained("clr", "model={name: cnn, width: 4, hidden: 8}")
    assert run.account().task_weights == 11 * CHANNELS
    versions = run.chain.parts[0].state["versions"]
    assert all(version["buffers"] == {} for version in versions.values())


def test_pretrained_networks_are_frozen_from_the_start(tmp_path):
    class Pretrained(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(5)
            self.convolution, self.norm = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6)
            self.head = nn.Linear(6, 10)

        def forward(self, x):
            return self.head(torch.relu(self.norm(self.convolution(x))).mean((2, 3)))

    run = ready("clr", "training.epochs=2", model=Pretrained())
    before = run.learner.w.detach().clone()
    run.train()
    own = {name: not torch.equal(run.learner.w[place], before[place]) for name, place in run.learner.slices.items()}
    moved = {name.removeprefix("module."): moves for name, moves in own.items()}
    assert moved == {
        "convolution.base.weight": False, "convolution.base.bias": False, "convolution.channelwise.weight": True,
        "norm.weight": True, "norm.bias": True, "head.weight": True, "head.bias": True,
    }  # fmt: skip


def test_the_penalty_of_the_code_is_the_sum_of_norms_and_leaves_zeros_alone():
    run = train_until(ready("clr(form=code)", CNN, "training.momentum=0.9"), 10)
    learner, part = run.learner, run.chain.parts[0]
    task = part.state["task"]
    assert task == 2
    dead = learner.slices["norms.1.bias"]
    learner.w.data[dead] = 0.0
    rows = sorted(run.stream.tasks[task].classes)
    names = [name for name in learner.slices if "channelwise" in name or "norms" in name]

    def penalty(w):
        tensors = [w[learner.slices[name]] for name in names if name != "norms.1.bias"]
        head = w[learner.slices["head.weight"]].view(10, 8)[rows], w[learner.slices["head.bias"]][rows]
        return 1e-5 * sum(t.norm() for t in (*tensors, *head))

    shown = run.trainer.enter(run.stream[2])
    batch = learner.batch(shown.index[:, :8])
    term = part.loss(learner, batch, None)
    assert float(term.detach()) == pytest.approx(float(penalty(learner.w.detach())), rel=1e-6)
    gradients = torch.autograd.grad(term, list(learner.model.parameters()), allow_unused=True)
    ours = torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten()
            for g, p in zip(gradients, learner.model.parameters(), strict=True)
        ]
    )
    torch.testing.assert_close(ours, numerical(penalty, learner.w), rtol=1e-4, atol=1e-11)


def test_the_first_experience_has_no_penalty():
    first = [train_until(ready(f"clr(form={form})", CNN), 3).learner.w.detach() for form in ("paper", "code")]
    assert torch.equal(*first)
    second = [train_until(ready(f"clr(form={form})", CNN), 7).learner.w.detach() for form in ("paper", "code")]
    assert not torch.equal(*second)


def test_a_run_resumes_within_an_experience_of_a_returning_task():
    whole = trained("clr", *RETURNING)
    half = train_until(ready("clr", *RETURNING), 30)
    again = ready("clr", *RETURNING)
    again.restore(half.snapshot())
    again.train()
    assert_same(everything(again), everything(whole))
    versions = [run.chain.parts[0].state["versions"] for run in (whole, again)]
    assert all(torch.equal(versions[0][task]["w"], versions[1][task]["w"]) for task in range(5))


def test_a_returning_task_trains_its_own_version_further():
    run, own = ready("clr", *RETURNING), {}
    part = run.chain.parts[0]

    def note(learner, shown):
        task = task_of(shown, "clr")
        own.setdefault(task, []).append(learner.w.detach()[part.private(learner, task)].clone())

    run.chain.begin_experience += (note,)
    run.chain.end_experience += (note,)
    run.train()
    for begun, ended, begun_again, ended_again in own.values():
        assert torch.equal(ended, begun_again)
        assert not torch.equal(begun, ended)
        assert not torch.equal(begun_again, ended_again)


@pytest.mark.parametrize(("where", "expected"), [("wide", 3), ("all", 4)])
def test_wide_convolutions_are_those_with_a_kernel_above_one(where, expected):
    shared = nn.Conv2d(3, 3, 3, padding=1)
    model = nn.Sequential(
        nn.Conv2d(1, 3, (1, 3)), nn.ModuleDict({"a": shared, "b": shared}), nn.Conv2d(3, 5, 1), nn.Conv1d(2, 2, 3)
    )
    added = add_channelwise(model, kernel=5, where=where)
    assert len(added) == expected
    assert model[1]["a"] is model[1]["b"]
    assert isinstance(model[1]["a"], ChannelwiseConv)
    assert isinstance(model[3].channelwise, nn.Conv1d)
    assert all(isinstance(model.get_submodule(name), nn.Conv1d | nn.Conv2d) for name in added)
    x = torch.randn(2, 2, 9)
    assert torch.equal(model[3](x), model[3].base(x))


def test_a_stream_or_model_that_lacks_what_it_needs_skips_the_cell():
    with pytest.raises(Skip, match="needs task labels"):
        ready("clr", "stream.setting=class")
    with pytest.raises(Skip, match="needs a model with convolutions, and the benchmark's has none"):
        ready("clr", "model={name: mlp, hidden: [16]}")
    with pytest.raises(Refused, match="kernel = 4 is even"):
        ready("clr(kernel=4)")


def test_a_network_of_narrow_convolutions_is_refused_with_a_way_out():
    class Narrow(nn.Module):
        def __init__(self, shape, n_outputs):
            super().__init__()
            self.convolution, self.head = nn.Conv2d(1, 6, 1), nn.Linear(6, n_outputs)

        def forward(self, x):
            return self.head(self.convolution(x).mean((2, 3)))

    with pytest.raises(Refused, match="write where: all"):
        ready("clr", model=Narrow)
    assert trained("clr(where=all)", model=Narrow).account().task_weights == 9 * 6
