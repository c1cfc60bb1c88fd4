"""Optimisers of a file: their settings, their place in the key, what they are called with, and how they resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from command_line import call
from support import SMALL, assert_same, everything, ready, same_trace, train_until, trained

import clbench
from clbench.benchmark.optimizer_names import OPTIMIZERS, canonical
from clbench.core.errors import Refused
from clbench.running.plan import plan

OWN = '''
import math

import torch
from torch.optim import SGD, Muon, RMSprop


class Lion(torch.optim.Optimizer):
    """Step by the sign of an average gradient. Source: Chen et al. 2023, arXiv 2302.06675."""

    def __init__(self, weights, lr=1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay=0.0):
        super().__init__(weights, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for w in group["params"]:
                mean = self.state[w].setdefault("mean", torch.zeros_like(w))
                one, two = group["betas"]
                w.mul_(1 - group["lr"] * group["weight_decay"])
                w.add_(torch.sign(one * mean + (1 - one) * w.grad), alpha=-group["lr"])
                mean.mul_(two).add_(w.grad, alpha=1 - two)


class Forgetful(Lion):
    """Counts outside of its state."""

    count = 0

    @torch.no_grad()
    def step(self, closure=None):
        self.count += 1
        for group in self.param_groups:
            for w in group["params"]:
                w.sub_(w.grad * group["lr"] / self.count)


class Replacing(Lion):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for w in group["params"]:
                w.data = w.data - group["lr"] * w.grad


class Searching(Lion):
    def step(self, closure):
        closure()


def nothing(weights, lr):
    return None


def rateless(weights):
    return SGD(weights, lr=1.0)
'''


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return lambda name, **settings: {f"{file}:{name}": settings}


def run_with(optimizer, *changes, **how):
    return ready("er", *([("training.optimizer", optimizer)] if optimizer else []), *changes, **how)


def test_a_step_is_the_one_worked_out_by_hand(own):
    run = run_with(own("Lion", betas=[0.5, 0.75]), "training.lr=0.25", "training.weight_decay=0.125")
    steps, w = run.trainer.steps, run.learner.w
    with torch.no_grad():
        w.fill_(1.0)
    run.learner.g.fill_(2.0)
    steps.step()  # 1 - 0.25 * 0.125 - 0.25; the mean is then 0.25 * 2 = 0.5
    assert w.unique().tolist() == [0.71875]
    run.learner.g.fill_(-0.25)
    steps.step()  # sign(0.5 * 0.5 - 0.5 * 0.25) is still 1
    assert w.unique().tolist() == [0.71875 * 0.96875 - 0.25]


def test_torchs_sgd_under_another_name_trains_bit_for_bit_as_sgd(own):
    changes = ("training.momentum=0.5", "training.weight_decay=0.001", "training.epochs=2")
    ours, theirs = run_with(own("SGD"), *changes), run_with("sgd", *changes)
    for run in (ours, theirs):
        run.train()
    assert_same(everything(ours), everything(theirs))
    assert same_trace(ours, theirs)


def test_settings_of_a_known_optimizer_can_be_changed_and_its_defaults_leave_the_key_alone():
    plain = plan(SMALL, overrides=["training.optimizer=adam"]).cells[0]
    same = plan(SMALL, overrides=["training.optimizer={adam: {betas: [0.9, 0.999]}}"]).cells[0]
    assert plain.key == same.key
    other = plan(SMALL, overrides=["training.optimizer={adam: {betas: [0.5, 0.9]}}"]).cells[0]
    assert other.config["training"]["optimizer"]["adam"]["betas"] == [0.5, 0.9]
    run = ready("naive", "training.optimizer={adam: {betas: [0.5, 0.9]}}")
    assert run.trainer.steps.optimizer.param_groups[0]["betas"] == (0.5, 0.9)


@pytest.mark.parametrize("optimizer", ["Lion", "RMSprop"])
def test_an_interrupted_run_goes_on_bit_for_bit(own, optimizer):
    changes = (own(optimizer), "training.lr=0.01", "training.epochs=2")
    whole = run_with(*changes)
    whole.train()
    part = train_until(run_with(*changes), 9)
    resumed = run_with(*changes)
    resumed.restore(part.snapshot())
    resumed.train()
    assert_same(everything(whole), everything(resumed))
    assert same_trace(whole, resumed)


def test_heads_of_other_tasks_stay_fixed_under_an_own_optimizer(own):
    run = run_with(own("Lion"), "stream.setting=task", "model.heads=separate", "training.lr=0.01")
    before = {name: p.detach().clone() for name, p in run.learner.model.named_parameters()}
    train_until(run, 2)
    first = list(run.stream.tasks[0].classes)
    others = [unit for unit in range(10) if unit not in first]
    weight = dict(run.learner.model.named_parameters())["head.weight"]
    assert torch.equal(weight[others], before["head.weight"][others])
    assert not torch.equal(weight[first], before["head.weight"][first])
    mean = run.trainer.steps.optimizer.state[run.learner.w]["mean"]
    assert not mean[run.trainer._frozen.mask].any()
    assert mean.any()


def test_the_key_covers_code_and_settings_and_an_old_cell_is_refused_under_other_code(own, tmp_path):
    def cell(**settings):
        return plan(SMALL, overrides=[("training.optimizer", own("Lion", **settings))]).cells[0]

    first = cell()
    assert first.key == cell(betas=[0.9, 0.99]).key != cell(betas=[0.9, 0.98]).key
    assert first.config["training"]["optimizer"][f"{tmp_path.resolve() / 'own.py'}:Lion"] == {}
    assert canonical(first.config["training"]["optimizer"]) == first.config["training"]["optimizer"]
    (tmp_path / "own.py").write_text(OWN.replace("1 - one", "2 - one"))
    assert cell().key != first.key
    from clbench.running.run_cell import run_cell

    record = run_cell(first)
    assert record.status == "failed"
    assert "the code of the optimizer" in record.reason
    assert "is not the code that this cell was planned with" in record.reason


@pytest.mark.parametrize(
    ("name", "settings", "changes", "sentence"),
    [
        ("Lyon", {}, (), "own.py has no 'Lyon' to be .*did you mean 'Lion'"),
        ("Lion", {"beta": 1}, (), "has no parameter 'beta'; did you mean 'betas'"),
        ("Lion", {"betas": ["a", 1]}, (), "betas = .* is not allowed"),
        ("Lion", {"lr": 0.1}, (), "lr is set by the benchmark"),
        ("Lion", {}, ("training.momentum=0.9",), "momentum = 0.9 is set, and optimizer .*Lion' takes no momentum"),
        ("rateless", {}, (), "takes no lr"),
        ("nothing", {}, (), "makes a NoneType; allowed is a torch.optim.Optimizer"),
        ("Forgetful", {}, (), "does not continue from its state_dict; keep all that it remembers between steps"),
        ("Replacing", {}, (), "replaces the tensor of the weights; change it in place"),
        ("Searching", {}, (), "fails in a trial of 4 steps .*without a closure"),
        ("Muon", {}, (), "cannot be made .*gets all weights as one vector.*whatever the layer"),
    ],
)
def test_an_optimizer_that_cannot_serve_is_refused_with_the_reason(own, name, settings, changes, sentence):
    with pytest.raises(Refused, match=sentence):
        run_with(own(name, **settings), *changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (("training.optimizer={adam: {betas: [0.9, 1.5]}}",), "betas = .* is not allowed: input should be less than 1"),
        (("training.optimizer={adam: {eps: 0}}",), "eps = 0 is not allowed"),
        (("training.optimizer={sgd: {nesterov: true}}",), "nesterov = true goes with a momentum above 0"),
        (("training.optimizer={sgd: {}, adam: {}}",), "must be one name, or"),
    ],
)
def test_settings_of_known_optimizers_are_checked_before_anything_runs(changes, sentence):
    with pytest.raises(Refused, match=sentence):
        plan(SMALL, overrides=changes)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(Refused, match="no optimizer 'adamv'; did you mean 'adam'"):
        plan(SMALL, overrides=["training.optimizer=adamv"])


def test_list_and_show_know_optimizers_and_a_program_adds_one():
    listed = call("list", "optimizers").out
    assert "betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-08" in listed
    assert "arXiv 1711.05101" in call("show", "adamw").out

    class Halved(torch.optim.SGD):
        def __init__(self, weights, lr, momentum=0.0):
            super().__init__(weights, lr=lr / 2, momentum=momentum)

    OPTIMIZERS.add("halved", Halved)
    try:
        [ours] = clbench.run(SMALL, strategies="naive", seeds=1, overrides={"training.optimizer": "halved"})
        [theirs] = clbench.run(SMALL, strategies="naive", seeds=1, overrides={"training.lr": 0.05})
    finally:
        del OPTIMIZERS._added["halved"]
    np.testing.assert_array_equal(ours.trace.score, theirs.trace.score)
    assert ours.key != theirs.key


def test_show_and_check_know_an_optimizer_of_a_file(own, tmp_path):
    file = tmp_path / "own.py"
    shown = " ".join(call("show", f"{file}:Lion").out.split())
    assert f"optimizer {file}:Lion" in shown
    assert "betas tuple[float, float] = (0.9, 0.99)" in shown
    assert "arXiv 2302.06675" in shown
    kept, broken = (call("check", f"{file}:{name}") for name in ("Lion", "Forgetful"))
    told = [" ".join(answer.out.split()) for answer in (kept, broken)]  # lines break where the path ends
    assert (kept.code, "continues from its state_dict: kept" in told[0]) == (0, True)
    assert (broken.code, "broken: optimizer" in told[1]) == (1, True)
    assert "does not continue from its state_dict" in told[1]


def test_a_run_from_a_benchmark_file_is_recorded_and_ranked_under_its_settings(own, tmp_path):
    [record] = clbench.run(
        SMALL, strategies=[{"strategy": "naive", "training": {"optimizer": own("Lion"), "lr": 0.001}}], seeds=1,
        out=tmp_path / "out", jobs=1, isolated=True,
    )  # fmt: skip
    assert record.status == "done", record.reason
    here = trained("naive", ("training.optimizer", own("Lion")), "training.lr=0.001")
    np.testing.assert_array_equal(here.evaluator.trace().score, record.trace.score)
    assert "Lion" in call("board", tmp_path / "out").out


def test_a_title_names_the_optimizer_its_changed_settings_and_no_folder(own, tmp_path):
    from clbench.comparison.comparable import deviations

    for optimizer, text in (
        (own("RMSprop"), "own.py:RMSprop"),
        (own("Lion", betas=[0.9, 0.98]), "own.py:Lion(betas=[0.9, 0.98])"),
        ({"adam": {"eps": 1e-6}}, "adam(eps=1e-06)"),
    ):
        cell = plan("split-digits", overrides=[("training.optimizer", optimizer)]).cells[0]
        assert deviations(cell.config, cell.label) == [f"training.optimizer={text}"]
    stop = plan("split-digits", overrides=["training.stop.patience=2", "stream.dataset.validation=0.2"]).cells[0]
    assert deviations(stop.config, stop.label) == ["stream.dataset.validation=0.2", "training.stop.patience=2"]
    halved = tmp_path / "halved.py"
    halved.write_text("def halved(e, u, n, *, factor: float = 0.5):\n    return factor**e\n")
    rate = plan("split-digits", overrides=[("training.lr_schedule", f"{halved}:halved")]).cells[0]
    assert deviations(rate.config, rate.label) == ["training.lr_schedule=halved.py:halved(factor=0.5)"]
