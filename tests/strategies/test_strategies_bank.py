"""Versions per task: which weights a sample passes through, how often, and what a returning task begins from."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from support import Disturbable, assert_same, everything, ready, train_until, trained

from clbench.core.errors import Refused
from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.strategies.bank import Bank, by_task, norm_buffers, norm_weights, task_heads, task_of
from clbench.strategies.replay import er
from clbench.training.learner import ExperienceView, Output

TASKS = ("stream.setting=task",)
RETURNING = (*TASKS, "stream.apply=[{repeat: {times: 2}}]")


@dataclass(kw_only=True)
class OwnNorms(Bank):
    """Each task has its own head, norm weights and statistics; the layers below are shared and trained."""

    def private(self, learner, task):
        return norm_weights(learner) | task_heads(learner, task)


@dataclass(kw_only=True)
class Doubled(Bank):
    """Each task has all weights; a stored version predicts with twice its weights."""

    def private(self, learner, task):
        return torch.ones_like(learner.w, dtype=torch.bool)

    def complete(self, learner, task, w):
        w.mul_(2)


@dataclass(kw_only=True)
class Zeroed(OwnNorms):
    """A new task begins with zeros in its own weights."""

    def start_task(self, learner, task):
        learner.w.data[self.private(learner, task)] = 0.0


def made(kind, *changes, also=()):
    """A run of the small benchmark in the task setting whose strategy is one part of this kind."""
    return ready("naive", *(changes or TASKS), model=Disturbable, alter=lambda parts: [*also, kind()])


def hand_made(learner, part, task, x):
    """The output of a task's version, by setting the model to it and back."""
    kept, buffers = learner.w.detach().clone(), dict(learner.model.named_buffers())
    old = {name: b.clone() for name, b in buffers.items()}
    version = part.state["versions"][task]
    learner.w.data[part.private(learner, task)] = version["w"]
    for name, b in version["buffers"].items():
        buffers[name].copy_(b)
    with torch.no_grad():
        output = learner.model(x)
    learner.w.data.copy_(kept)
    for name, b in old.items():
        buffers[name].copy_(b)
    return output


def test_samples_of_several_tasks_in_one_call_each_pass_once_through_the_version_of_their_task():
    run = made(OwnNorms)
    run.train()
    learner, part = run.learner, run.chain.parts[0]
    learner.model.eval()
    x, task = torch.rand(40, 1, 8, 8), torch.arange(40) % 5
    passed = []
    handle = learner.model.module.layers[1].register_forward_hook(lambda *a: passed.append(len(a[2])))
    with torch.no_grad():
        told = part.answer(learner, x, task)
    handle.remove()
    assert passed == [8] * 5  # each sample once
    assert sorted(part.state["versions"]) == [0, 1, 2, 3, 4]
    for each in range(5):
        by_hand = hand_made(learner, part, each, x[task == each])
        assert torch.equal(told.logits[task == each], by_hand.logits)
        assert torch.equal(told.features[task == each], by_hand.features)
    assert not torch.equal(hand_made(learner, part, 0, x).features, hand_made(learner, part, 1, x).features)


def test_the_running_task_and_tasks_not_met_use_the_live_weights():
    run = train_until(made(OwnNorms), 9)  # in the third experience
    learner, part = run.learner, run.chain.parts[0]
    assert part.state["task"] == 2
    assert sorted(part.state["versions"]) == [0, 1]
    learner.model.eval()
    x = torch.rand(6, 1, 8, 8)
    with torch.no_grad():
        live = learner.model(x).logits
        for task in (2, 3, 4):
            assert torch.equal(part.answer(learner, x, torch.full((6,), task)).logits, live)
        assert not torch.equal(part.answer(learner, x, torch.zeros(6, dtype=torch.int64)).logits, live)


def test_a_version_holds_its_own_weights_and_statistics_and_counts_in_bytes():
    run = made(OwnNorms)
    kept = {}
    run.chain.end_experience += (
        lambda learner, shown: kept.update({shown.id: {n: t.clone() for n, t in learner.model.state_dict().items()}}),
    )
    run.train()
    part, learner = run.chain.parts[0], run.learner
    for task, version in part.state["versions"].items():
        rows = sorted(run.stream.tasks[task].classes)
        end = {name.removeprefix("module."): t for name, t in kept[task].items()}
        own = [end["layers.2.weight"], end["layers.2.bias"], end["head.weight"][rows], end["head.bias"][rows]]
        assert torch.equal(version["w"], torch.cat([t.flatten() for t in own]))
        assert torch.equal(version["buffers"]["module.layers.2.running_mean"], end["layers.2.running_mean"])
    weights, statistics = 5 * (24 + 2 * 12 + 2) * 4, 5 * (24 * 4 + 8)
    assert run.account().state_bytes == part.state_bytes == weights + statistics
    assert norm_buffers(learner) == tuple(
        f"module.layers.2.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")
    )


def test_a_task_that_returns_begins_from_its_version():
    run = made(OwnNorms, *RETURNING)
    part, seen = run.chain.parts[0], {}

    def note(learner, shown):
        task = task_of(shown, "")
        if shown.id >= 5:
            own = learner.w.detach()[part.private(learner, task)]
            buffers = dict(learner.model.named_buffers())
            seen[task] = torch.equal(own, ended[task][0]) and all(
                torch.equal(buffers[name], b) for name, b in ended[task][1].items()
            )

    ended = {}
    run.chain.begin_experience += (note,)
    run.chain.end_experience += (
        lambda learner, shown: ended.update(
            {
                task_of(shown, ""): (
                    part.state["versions"][task_of(shown, "")]["w"].clone(),
                    {n: b.clone() for n, b in part.state["versions"][task_of(shown, "")]["buffers"].items()},
                )
            }
        ),
    )
    run.train()
    assert seen == dict.fromkeys(range(5), True)


def test_a_new_task_begins_with_what_the_part_sets_and_an_old_one_does_not():
    run, sums = made(Zeroed, *RETURNING), []
    part = run.chain.parts[0]
    run.chain.begin_experience += (
        lambda learner, shown: sums.append(
            float(learner.w.detach()[part.private(learner, task_of(shown, ""))].abs().sum())
        ),
    )
    run.train()
    assert sums[:5] == [0.0] * 5
    assert min(sums[5:]) > 0


def test_a_part_may_complete_the_weights_of_a_stored_version():
    run = made(Doubled)
    run.train()
    learner, part = run.learner, run.chain.parts[0]
    learner.model.eval()
    x = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        told = part.answer(learner, x, torch.zeros(4, dtype=torch.int64)).logits
    part.state["versions"][0]["w"].mul_(2)
    torch.testing.assert_close(told, hand_made(learner, part, 0, x).logits, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [OwnNorms, Zeroed])
def test_a_run_resumes_within_an_experience_of_a_returning_task(kind):
    changes = (*RETURNING, "training.momentum=0.9", "training.epochs=2")
    whole = made(kind, *changes)
    whole.train()
    first = train_until(made(kind, *changes), 45)
    second = made(kind, *changes)
    second.restore(first.snapshot())
    second.train()
    assert_same(everything(second), everything(whole))
    for task, version in whole.chain.parts[0].state["versions"].items():
        assert torch.equal(version["w"], second.chain.parts[0].state["versions"][task]["w"])
    ours, theirs = second.evaluator.trace().score, whole.evaluator.trace().score
    assert ((ours == theirs) | (ours != ours)).all()


def test_replayed_samples_pass_through_the_live_weights_of_the_running_task():
    run, names = made(OwnNorms, *TASKS, also=er()), []
    part = run.chain.parts[-1]
    learner = run.learner

    def compare(learner, batch, output):
        if len(batch) > len(batch.stream) and part.state["task"] == 3:
            names.append(sorted(batch.index[2].unique().tolist()))

    before = {}
    run.chain.loss += (compare,)
    run.chain.begin_experience += (
        lambda learner, shown: before.update(
            {t: v["w"].clone() for t, v in part.state["versions"].items() if t not in before}
        ),
    )
    run.train()
    assert any(0 in tasks and 3 in tasks for tasks in names)
    for task, w in before.items():  # no step of later tasks changes a stored version
        assert torch.equal(part.state["versions"][task]["w"], w)
    assert learner.cost.replay_rows > 0


def test_by_task_keeps_the_order_of_samples_and_their_gradients():
    x = torch.arange(6.0).reshape(6, 1).requires_grad_()
    task = torch.tensor([1, 0, 1, 2, 2, 0])
    calls = []

    def run(own, label):
        calls.append((label, len(own)))
        return Output(own * (label + 1), own + label)

    output = by_task(x, task, run)
    assert sorted(calls) == [(0, 2), (1, 2), (2, 2)]
    assert output.logits[:, 0].tolist() == [0.0, 1.0, 4.0, 9.0, 12.0, 5.0]
    assert output.features[:, 0].tolist() == [1.0, 1.0, 3.0, 5.0, 6.0, 5.0]
    output.logits.sum().backward()
    assert x.grad[:, 0].tolist() == [2.0, 1.0, 2.0, 3.0, 3.0, 1.0]


def test_an_experience_with_samples_of_several_tasks_is_refused():
    index = torch.tensor([[0, 1], [0, 1], [4, 2], [0, 0], [7, 7]])
    with pytest.raises(Refused, match="own keeps weights for each task, and experience 7 holds samples of tasks 2, 4"):
        task_of(ExperienceView(index, 7), "own")


def test_without_task_labels_the_cell_is_skipped():
    assert trained("naive").evaluator.trace().score.size  # class setting: no labels
    from clbench.adapters.run_setup import Skip

    with pytest.raises(Skip, match="needs task labels"):
        made(OwnNorms, "stream.setting=class")


@pytest.mark.parametrize("bound", ["joint", "cumulative"])
def test_a_chain_that_learns_all_tasks_in_one_experience_is_refused(bound):
    from clbench.strategies.chain import check
    from clbench.strategies.strategy import Strategy

    with pytest.raises(Refused, match="the second learns all tasks in one experience"):
        check([*Strategy.parse(bound).parts(), OwnNorms()])


def test_on_a_stream_whose_experiences_mix_tasks_the_cell_is_skipped():
    from clbench.adapters.run_setup import Skip

    mixed = {"scenario": "corrupted", "dataset": "digits", "order": "mixed", "corruptions": ["shot_noise", "fog"]}
    whole = {"name": "mixed", "stream": {**mixed, "task_labels": True}, "model": {"name": "cnn", "width": 4}}
    for strategy in ("trgp", "clr", "dst", "hypernet"):
        with pytest.raises(Skip, match="needs experiences of one task each, and this stream mixes tasks"):
            prepare(plan(whole, strategies=[strategy], seeds=1).cells[0])


def test_hidden_task_labels_are_named_before_mixed_tasks():
    from clbench.adapters.run_setup import Skip

    hidden = {"scenario": "corrupted", "dataset": "digits", "order": "mixed", "corruptions": ["shot_noise", "fog"]}
    cell = plan({"name": "hidden", "stream": hidden, "model": {"name": "mlp"}}, strategies=["trgp"], seeds=1).cells[0]
    with pytest.raises(Skip, match="needs task labels, which this stream hides"):
        prepare(cell)
