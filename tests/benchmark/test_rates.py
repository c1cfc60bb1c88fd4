"""Learning-rate schedules over experiences, clipping and optimiser resets: what the loop does with them."""

from __future__ import annotations

import math

import pytest
import torch
from support import assert_same, everything, ready, train_until, trained

from clbench.benchmark.lr_schedules import canonical, rate
from clbench.core.errors import Refused
from clbench.running.plan import plan


def factors(written, points, n=5):
    function = rate(canonical(written), 1)
    return [function(e, u, n, 0) for e, u in points]


def test_linear_goes_down_to_its_end_in_equal_steps():
    assert factors({"linear": {"end": 0.2}}, [(e, 0.5) for e in range(5)]) == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])


def test_cosine_is_halfway_at_the_middle_experience():
    assert factors({"cosine": {"end": 0.0}}, [(0, 1), (2, 1), (4, 1)]) == pytest.approx([1, 0.5, 0])


def test_step_multiplies_after_every_so_many_experiences():
    assert factors({"step": {"gamma": 0.1, "every": 2}}, [(e, 0.5) for e in range(5)]) == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01]
    )


def test_rewarm_climbs_and_falls_in_every_experience_anew():
    points = [(0, 0.125), (3, 0.125), (0, 0.25), (0, 0.625), (0, 1.0)]
    expected = [0.5, 0.5, 1.0, 0.2 + 0.8 * 0.5, 0.2]
    assert factors({"rewarm": {"warmup": 0.25, "end": 0.2}}, points) == pytest.approx(expected)


def test_a_stream_of_one_experience_keeps_its_rate():
    assert factors("linear", [(0, 1)], n=1) == factors("cosine", [(0, 1)], n=1) == [1.0]


def test_constant_is_no_function_at_all():
    assert rate(canonical("constant"), 3) is None


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("cosin", "did you mean 'cosine'"),
        ({"cosine": {"ends": 0}}, "no parameter 'ends'"),
        ({"cosine": {"end": 2}}, "less than or equal to 1"),
        ({"cosine": {}, "linear": {}}, "one name"),
        ("milestones", "needs a value for 'at'"),
        ({"milestones": {"at": [60, 60]}}, r"epochs \[60, 60\] do not rise"),
        ({"milestones": {"at": [0, 60]}}, "greater than or equal to 1"),
        ({"milestones": {"at": []}}, "at least 1 entry"),
    ],
)
def test_a_mistake_in_a_schedule_is_told(written, answer):
    with pytest.raises(Refused, match=answer):
        canonical(written)


def rates_of(*changes):
    run, seen = ready("naive", "training.epochs=2", *changes), []
    run.chain.after_step += (lambda learner, _: seen.append((run.cursor.experience, learner.lr)),)
    run.train()
    return seen


def test_the_loop_takes_the_schedules_rate_of_the_running_experience():
    seen = rates_of("training.lr_schedule={linear: {end: 0.2}}", "training.lr=0.5")
    assert {e: round(lr, 9) for e, lr in seen} == {0: 0.5, 1: 0.4, 2: 0.3, 3: 0.2, 4: 0.1}


def test_rewarming_sees_the_steps_of_an_experience_over_all_its_passes():
    seen = rates_of("training.lr_schedule={rewarm: {warmup: 0.5, end: 0}}", "training.lr=1")
    for experience in range(5):
        own = [lr for e, lr in seen if e == experience]
        n = len(own)
        assert own[: n // 2] == pytest.approx([2 * (i + 1) / n for i in range(n // 2)])
        assert own[-1] == pytest.approx(0)
        assert own[n // 2 :] == pytest.approx(
            [0.5 * (1 + math.cos(math.pi * ((i + 1) / n - 0.5) / 0.5)) for i in range(n // 2, n)]
        )


def test_a_schedule_and_its_settings_are_part_of_the_cell_and_the_constant_one_is_not():
    def training(*changes):
        return ready("naive", *changes).cell.config["training"]

    assert training("training.lr_schedule=cosine")["lr_schedule"] == {"cosine": {"end": 0.1}}
    assert "lr_schedule" not in training("training.lr_schedule=constant")


# --------------------------------------------------------------------------------------------------- epochs

EPOCHS = 6
TORCHS = {
    "training.lr_schedule={milestones: {at: [1, 4], factor: 0.3}}": lambda optimizer: (
        torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 4], gamma=0.3)
    ),
    "training.lr_schedule=cosine_annealing": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, T_max=EPOCHS
    ),
    "training.lr_schedule={cosine_annealing: {end: 0.05}}": lambda optimizer: (
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS, eta_min=0.05 * 0.5)
    ),
}


@pytest.mark.parametrize("written", TORCHS)
def test_a_schedule_by_epoch_is_torchs_made_anew_in_every_experience(written):
    run, seen = ready("naive", f"training.epochs={EPOCHS}", "training.lr=0.5", written), []
    run.chain.after_step += (lambda learner, _: seen.append((run.cursor.experience, run.cursor.epoch, learner.lr)),)
    run.train()
    expected = {}
    for experience in range(5):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        scheduler = TORCHS[written](optimizer)
        for epoch in range(EPOCHS):
            expected[experience, epoch] = optimizer.param_groups[0]["lr"]
            optimizer.step()
            scheduler.step()
    assert {(e, epoch) for e, epoch, _ in seen} == set(expected)
    assert [lr for *_, lr in seen] == pytest.approx([expected[e, epoch] for e, epoch, _ in seen], rel=1e-6, abs=1e-12)


def test_an_epoch_that_a_part_makes_longer_has_one_rate():
    """Merged samples of the replay buffer and the order of a part decide how many steps an epoch has."""
    run = ready("naive", "training.epochs=3", "training.lr_schedule={milestones: {at: [1]}}")
    run.chain.order += (lambda _learner, _shown, _epoch, positions: torch.cat([positions, positions]),)
    seen = []
    run.chain.after_step += (lambda learner, _: seen.append((run.cursor.epoch, learner.lr)),)
    run.train()
    assert {(epoch, round(lr / run.learner.base_lr, 9)) for epoch, lr in seen} == {(0, 1.0), (1, 0.1), (2, 0.1)}


def test_a_run_that_is_resumed_in_an_epoch_goes_on_at_its_rate():
    changes = ("training.epochs=3", "training.lr_schedule={milestones: {at: [1, 2], factor: 0.1}}")
    whole = trained("naive", *changes)
    stopped = train_until(ready("naive", *changes), 7)
    assert stopped.cursor.epoch == 1
    again = ready("naive", *changes)
    again.restore(stopped.snapshot())
    again.train()
    assert_same(everything(whole), everything(again))


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        (["training.iterations=10"], "counts epochs, and training.iterations = 10 counts steps"),
        (["training.epochs=2"], r"never changes the rate in training.epochs = 2"),
        (["training.epochs=9", "stream.boundaries=false"], "depends on experiences"),
    ],
)
def test_where_experiences_have_no_such_epochs_a_schedule_by_epoch_is_refused(changes, answer):
    with pytest.raises(Refused, match=answer):
        ready("naive", "training.lr_schedule={milestones: {at: [2, 5]}}", *changes)
    with pytest.raises(Refused, match="never changes the rate"):
        ready("naive", "training.lr_schedule=cosine_annealing", "training.epochs=1")


def test_a_schedule_of_a_file_can_count_epochs(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from clbench.benchmark.lr_schedules import by_epoch\n\n\n@by_epoch\n"
        "def thirds(epoch, epochs, /, *, down: float = 3.0):\n"
        "    return down ** -epoch * (1 if epochs == 3 else 0)\n"
    )
    run, seen = ready("naive", f"training.lr_schedule={tmp_path / 'mine.py'}:thirds", "training.epochs=3"), []
    run.chain.after_step += (lambda learner, _: seen.append((run.cursor.epoch, learner.lr)),)
    run.train()
    assert {(epoch, round(lr / run.learner.base_lr * 9)) for epoch, lr in seen} == {(0, 9), (1, 3), (2, 1)}


def test_a_schedule_by_epoch_is_written_out_in_the_cell():
    run = ready("naive", "training.epochs=4", "training.lr_schedule.milestones.at=[2, 3]")
    assert run.cell.config["training"]["lr_schedule"] == {"milestones": {"at": [2, 3], "factor": 0.1}}


def test_a_mistake_in_a_benchmarks_schedule_names_the_place(tmp_path):
    path = tmp_path / "b.yaml"
    path.write_text(
        "name: b\nstream: {scenario: split, dataset: digits}\nmodel: {name: mlp}\ntraining:\n  lr_schedule: cosin\n"
    )
    with pytest.raises(Refused, match=r"b\.yaml, line 5.*did you mean 'cosine'"):
        plan(path)


# --------------------------------------------------------------------------------------------------- clipping


def test_no_gradient_that_the_optimiser_takes_is_longer_than_the_clip():
    run, lengths = ready("naive", "training.clip_norm=0.05", "training.lr=1"), []
    before = {"w": run.learner.w.detach().clone()}

    def watch(learner, _):
        lengths.append(float((learner.w.detach() - before["w"]).norm()))
        before["w"] = learner.w.detach().clone()

    run.chain.after_step += (watch,)
    run.train()
    assert max(lengths) == pytest.approx(0.05, rel=1e-3)


def test_weights_that_are_held_do_not_count_towards_the_clip():
    run, lengths = ready("hft(granularity=element, start_experience=1)", "training.clip_norm=0.05", "training.lr=1"), []
    before = {"w": run.learner.w.detach().clone()}

    def watch(learner, _):
        if float(learner.g.masked_fill(learner.frozen, 0.0).norm()) > 0.0499:  # it was clipped
            lengths.append(float((learner.w.detach() - before["w"]).norm()))
        before["w"] = learner.w.detach().clone()

    run.chain.after_step += (watch,)
    run.train()
    assert len(lengths) > 5
    assert lengths == pytest.approx([0.05] * len(lengths), rel=5e-3)


def test_a_clip_that_nothing_reaches_changes_nothing():
    assert torch.equal(trained("naive", "training.clip_norm=1e9").learner.w, trained("naive").learner.w)


# --------------------------------------------------------------------------------------------------- resets


@pytest.mark.parametrize("optimizer", ["training.momentum=0.9", "training.optimizer=adam"])
def test_resetting_at_boundaries_is_training_each_experience_with_a_fresh_optimiser(optimizer):
    run = ready("naive", optimizer, "training.optimizer_state=reset")
    other = ready("naive", optimizer)

    def fresh(learner, _):
        old = other.trainer.steps.optimizer
        other.trainer.steps.optimizer = type(old)([learner.w], **{k: v for k, v in old.defaults.items() if k in KNOWN})

    KNOWN = {"lr", "momentum", "weight_decay", "betas", "eps"}
    other.chain.begin_experience += (fresh,)
    run.train(), other.train()
    assert torch.equal(run.learner.w, other.learner.w)
    assert not torch.equal(run.learner.w, trained("naive", optimizer).learner.w)


def test_where_boundaries_are_hidden_nothing_is_reset():
    changes = ("training.momentum=0.9", "stream.boundaries=false")
    assert torch.equal(
        trained("naive", *changes, "training.optimizer_state=reset").learner.w, trained("naive", *changes).learner.w
    )
