"""``training.first``: other settings in the first experience, against a plain loop with the two settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import assert_same, everything, ready, train_until, trained
from torch.nn import functional as F

from clbench.adapters.avalanche.avalanche_run import _refuse
from clbench.benchmark.schema import Training
from clbench.comparison.comparable import deviations
from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.models import make
from clbench.running.forecast import _iterations
from clbench.running.plan import plan
from clbench.strategies.protocol import breaches
from clbench.submission.schedule_checks import epochs_of
from clbench.submission.trusted_code import foreign_code
from clbench.tuning.effort import stream_steps

FIRST = {
    "epochs": 4,
    "lr": 0.2,
    "momentum": 0.5,
    "weight_decay": 0.01,
    "lr_schedule": {"milestones": {"at": [1, 3], "factor": 0.1}},
}
LATER = ("training.lr=0.05", "training.epochs=3", "training.momentum=0.9", "training.weight_decay=0.001")
SCHEDULE = "training.lr_schedule={milestones: {at: [2], factor: 0.5}}"
RESET = "training.optimizer_state=reset"
SMALL = ("model.hidden=[8]", "stream.dataset.train_rows=100", "stream.output=all")


def plainly(run, *, seed=0):
    """Weights (P,) after a loop with a new SGD and MultiStepLR of torch in every experience."""
    model: Any = make({"name": "mlp", "hidden": [8]}, (1, 8, 8), run.stream.n_outputs)
    model.load_state_dict(run.learner.model.state_dict())
    train = run.stream.dataset.train
    x, order = torch.from_numpy(train.x) / 16, Generator(seed, "order")
    for number, experience in enumerate(run.stream):
        lr, momentum, decay, epochs, at, gamma = (
            (0.05, 0.9, 0.001, 3, [2], 0.5) if number else (0.2, 0.5, 0.01, 4, [1, 3], 0.1)
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=decay)
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, at, gamma)
        y = torch.from_numpy(run.stream.labels(train, experience.rows, experience.view))
        for _ in range(epochs):
            permuted = order.permutation(len(experience))
            for start in range(0, len(permuted), 16):
                chosen = permuted[start : start + 16]
                optimizer.zero_grad()
                F.cross_entropy(model(x[experience.rows[chosen]]).logits, y[chosen]).backward()
                optimizer.step()
            scheduler.step()
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def test_a_run_is_a_plain_loop_with_the_two_settings():
    run = ready("naive", *SMALL, *LATER, SCHEDULE, RESET, ("training.first", FIRST))
    expected = plainly(run)
    run.train()
    assert torch.allclose(run.learner.w, expected, atol=1e-6)
    other = trained("naive", *SMALL, *LATER, SCHEDULE, RESET)
    assert not torch.allclose(other.learner.w, expected, atol=1e-3)


def test_only_the_first_experience_has_the_rate_and_the_epochs():
    run, seen = ready("naive", *LATER, ("training.first", {"lr": 0.2, "epochs": 2})), []
    run.chain.after_step += (lambda learner, _: seen.append((run.cursor.experience, run.cursor.epoch, learner.lr)),)
    run.train()
    assert {(e, epoch) for e, epoch, _ in seen} == {(0, 0), (0, 1)} | {(e, i) for e in range(1, 5) for i in range(3)}
    assert {(min(e, 1), lr) for e, _, lr in seen} == {(0, 0.2), (1, 0.05)}


def test_where_only_the_first_experience_has_a_schedule_the_others_have_the_whole_rate():
    run, seen = ready("naive", *LATER, ("training.first", {"lr_schedule": {"milestones": {"at": [1]}}})), []
    run.chain.after_step += (lambda learner, _: seen.append((run.cursor.experience, round(learner.lr, 9))),)
    run.train()
    assert {lr for e, lr in seen if e == 0} == {0.05, 0.005}
    assert {lr for e, lr in seen if e > 0} == {0.05}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("steps", [5, 20])  # in the first experience and after it
def test_a_run_goes_on_from_its_middle_bit_for_bit(optimizer, steps):
    momentum = 0.9 if optimizer == "sgd" else 0.0
    first = {k: v for k, v in FIRST.items() if k != "momentum"}
    changes = (*LATER, f"training.optimizer={optimizer}", f"training.momentum={momentum}", ("training.first", first))
    whole = trained("er", *changes, "memory.size=20")
    stopped = train_until(ready("er", *changes, "memory.size=20"), steps)
    resumed = ready("er", *changes, "memory.size=20")
    resumed.restore(stopped.snapshot())
    resumed.train()
    assert_same(everything(whole), everything(resumed))


def test_optimisers_of_parts_follow_without_weight_decay():
    run = ready("naive", *LATER, ("training.first", {"lr": 0.2, "momentum": 0.1, "weight_decay": 0.5}))
    own = run.learner.another_optimizer([torch.nn.Parameter(torch.zeros(3))])
    others = run.learner.another_optimizer()
    read = lambda each: [each.param_groups[0][name] for name in ("lr", "momentum", "weight_decay")]  # noqa: E731
    assert (read(own), read(others)) == ([0.2, 0.1, 0.0], [0.2, 0.1, 0.5])
    run.train()
    assert (read(own), read(others)) == ([0.05, 0.9, 0.0], [0.05, 0.9, 0.001])
    assert read(run.learner.another_optimizer()) == [0.05, 0.9, 0.001]


def test_an_own_optimiser_keeps_what_it_remembers_in_its_groups(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\n\n\nclass Counting(torch.optim.Optimizer):\n"
        "    def __init__(self, weights, *, lr, weight_decay=0.0, power: float = 0.5):\n"
        "        super().__init__(weights, dict(lr=lr, weight_decay=weight_decay, power=power, steps=0))\n\n"
        "    @torch.no_grad()\n"
        "    def step(self, closure=None):\n"
        "        for group in self.param_groups:\n"
        "            group['steps'] += 1\n"
        "            for w in group['params']:\n"
        "                w.mul_(1 - group['lr'] * group['weight_decay'])\n"
        "                w.add_(w.grad, alpha=-group['lr'] * group['steps'] ** -group['power'])\n"
    )
    changes = (
        f"training.optimizer={tmp_path / 'mine.py'}:Counting",
        ("training.first", {"weight_decay": 0.1, "lr": 0.2}),
    )
    whole, groups = ready("naive", *changes), []
    whole.chain.after_step += (lambda *_: groups.append(dict(whole.trainer.steps.optimizer.param_groups[0])),)
    whole.train()
    assert [group["steps"] for group in groups] == list(range(1, whole.cursor.step + 1))
    assert [group["weight_decay"] for group in groups[:2] + groups[-2:]] == [0.1, 0.1, 0.0, 0.0]
    resumed = ready("naive", *changes)
    resumed.restore(train_until(ready("naive", *changes), 7).snapshot())
    resumed.train()
    assert torch.equal(resumed.learner.w, whole.learner.w)


def test_tries_of_an_experience_have_its_settings_and_not_those_of_the_first():
    changes = ("training.first.weight_decay=0.5", "tuning.protocol=chf", "tuning.tries=3", "tuning.drop=0")
    run, seen = ready("lwf", *changes), set()
    optimizer = run.trainer.steps.optimizer
    run.chain.after_step += (
        lambda *_: seen.add((min(run.cursor.experience, 1), optimizer.param_groups[0]["weight_decay"])),
    )
    run.train()
    assert seen == {(0, 0.5), (1, 0.0)}


def test_iterations_that_strategies_and_forecasts_hear_of_are_those_that_are_made():
    run = ready("naive", *LATER, "reveal=[length]", ("training.first", {"epochs": 7}))
    shown = []
    run.chain.begin_experience += (lambda _learner, experience: shown.append(experience.steps),)
    total = run.learner.total_steps
    assert total == stream_steps(run.stream, run.cell.config) == _iterations(run.stream, run.training, 1, 1).sum()
    run.train()
    assert sum(shown) == total == run.cursor.step
    per_pass = [len(range(0, len(e), run.training.batch_size)) for e in run.stream]
    assert shown == [7 * per_pass[0], *(3 * n for n in per_pass[1:])]


def test_a_merged_stream_has_one_experience_which_is_the_first():
    run, seen = ready("joint", *LATER, ("training.first", {"epochs": 2, "lr": 0.2})), set()
    run.chain.after_step += (lambda learner, _: seen.add((run.cursor.epoch, learner.lr)),)
    run.train()
    assert seen == {(0, 0.2), (1, 0.2)}


def test_first_stands_in_a_cell_only_where_something_differs():
    assert "first" not in Training().canonical()
    assert "first" not in Training(first={"epochs": 1, "lr": 0.1}).canonical()
    section = Training(lr=0.1, first={"epochs": 9, "lr": 0.1}).canonical()
    assert section["first"] == {"epochs": 9}
    assert Training(**section).canonical() == section
    assert Training(**section).during(0) == Training(lr=0.1, epochs=9)
    assert Training(**section).during(1) == Training(lr=0.1)


def cell(*changes):
    return plan("split-digits", strategies=["naive"], seeds=[0], overrides=list(changes)).cells[0]


def test_what_differs_is_named_beside_results_and_code_in_it_is_foreign(tmp_path):
    (tmp_path / "mine.py").write_text("def halved(e, u, n, /):\n    return 0.5\n")
    name = f"{tmp_path / 'mine.py'}:halved"
    made = cell(("training.first", {"epochs": 9, "lr_schedule": name}))
    assert deviations(made.config, made.label) == [
        "training.first.epochs=9",
        "training.first.lr_schedule=mine.py:halved",
    ]
    assert [each.name for each in foreign_code(made.config)] == [name]
    assert [epochs_of(made.config["training"], e) for e in range(2)] == [9, made.config["training"]["epochs"]]


def test_a_deviation_from_a_published_protocol_in_the_first_experience_alone_is_told():
    run = ready("gpm", ("training.first", {"weight_decay": 0.1}))
    assert any(
        "training.weight_decay: 0 and was run under 0.1" in each for each in breaches(run.chain.parts, run.cell.config)
    )


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ([("training.first", {"batch_size": 3})], "unknown key 'training.first.batch_size'"),
        ([("training.first", {"epoch": 3})], "did you mean 'epochs'"),
        ([("training.first", 200)], r"training.first is a section; write training.first: \{epochs: 200\}"),
        ([("training.first", {"epochs": 0})], "greater than or equal to 1"),
        ([("training.first", {"epochs": 2}), "training.iterations=4"], "first.epochs = 2 counts passes"),
        (["training.first.epochs=2", "stream.boundaries=false"], "training.first = .* depends on experiences"),
        (
            [("training.first", {"lr_schedule": {"milestones": {"at": [5]}}})],
            "training.first.lr_schedule = .* never changes the rate in training.first.epochs = 1",
        ),
        (
            ["training.first.epochs=2", "training.epochs=4", "training.lr_schedule={milestones: {at: [3]}}"],
            "training.first.lr_schedule = .* never changes the rate in training.first.epochs = 2",
        ),
        (
            ["training.first.lr=0.5", "tuning.protocol=chf", "tuning.learning_rates=[0.1]"],
            "tuning.learning_rates chooses the learning rate of each experience, and training.first",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(changes, answer):
    with pytest.raises(Refused, match=answer):
        ready("naive", *changes)


def test_the_loop_of_another_library_refuses_it():
    from types import SimpleNamespace

    with pytest.raises(Refused, match=r"does not support training\.first"):
        _refuse(SimpleNamespace(training=Training(first={"epochs": 3})), False)
