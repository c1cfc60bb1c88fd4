"""What must always hold, for every registered strategy: neutral evaluation, identities, streams, the contract."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from support import (
    EVERY_STRATEGY,
    Dicing,
    Disturbable,
    NoLooks,
    assert_same,
    batches,
    everything,
    ready,
    same_trace,
    stream_rows,
    train_until,
    trained,
)

from clbench.batch import EXPERIENCE, ROW, TASK, Y
from clbench.train import train

MODELS = {"plain": ((), None), "dropout": (("model.dropout=0.4",), None), "given": ((), Disturbable)}

# ------------------------------------------------------------------------- 1: looking does not change what is learned


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_training_is_bit_identical_whenever_and_at_whatever_the_evaluator_looks(strategy, model):
    changes, module = MODELS[model]
    off = ready(strategy, *changes, model=module)
    train(off.learner, off.stream, off.chain, NoLooks(), epochs=1)
    for look in ("evaluation.every=0", "evaluation.every=1", "evaluation.every=7", "evaluation.rows_per_task=all"):
        assert_same(everything(trained(strategy, *changes, look, model=module)), everything(off))


@pytest.mark.parametrize("strategy", ["naive", "agem", "er + ewc(strength=1, fisher=empirical)"])
def test_a_model_that_draws_random_numbers_when_looked_at_trains_the_same_without_looks(strategy):
    off = ready(strategy, model=Dicing)
    train(off.learner, off.stream, off.chain, NoLooks(), epochs=1)
    assert_same(everything(trained(strategy, "evaluation.every=1", model=Dicing)), everything(off))


def test_the_disturbable_model_would_notice_a_look_in_training_mode():
    run = ready("naive", model=Disturbable)
    x = run.evaluator._test.present(torch.arange(20), torch.zeros(20, dtype=torch.int64))
    run.learner.model.train()
    before = run.learner.buffers[0].clone()
    run.learner.model(x)
    assert not torch.equal(run.learner.buffers[0], before)


# ------------------------------------------------------------------------- 2: strength zero is identity


@pytest.mark.parametrize("optimizer", ["training.momentum=0.9", "training.optimizer=adam"])
@pytest.mark.parametrize(
    ("method", "without"),
    [
        ("ewc(strength=0)", "naive"),
        ("ewc(strength=0, mode=online, fisher=sampled)", "naive"),
        ("l2(strength=0)", "naive"),
        ("er + ewc(strength=0)", "er"),
        ("ewc(strength=0) + er", "er"),
        ("er_ace + l2(strength=0)", "er_ace"),
        ("agem + ewc(strength=0)", "agem"),
    ],
)
def test_a_penalty_of_strength_zero_changes_nothing_bit_for_bit(method, without, optimizer):
    ours, theirs = (trained(s, "model.dropout=0.2", optimizer) for s in (method, without))
    assert torch.equal(ours.learner.w, theirs.learner.w)
    assert same_trace(ours, theirs)


@pytest.mark.parametrize("method", ["ewc(strength=1)", "l2(strength=1)", "agem", "er", "er_ace", "joint", "cumulative"])
def test_at_its_usual_strength_a_method_is_not_the_identity(method):
    assert not torch.equal(trained(method).learner.w, trained("naive").learner.w)


def test_agem_leaves_naive_alone_bit_for_bit_where_every_gradient_agrees_with_memory(monkeypatch):
    ours = ready("agem", "training.momentum=0.9")
    asked = []
    # the reference gradient is the step's own: the two always agree
    monkeypatch.setattr(ours.learner, "grad", lambda batch: (asked.append(len(batch)), ours.learner.g.clone())[1])
    ours.train()
    assert len(asked) > 5
    assert torch.equal(ours.learner.w, trained("naive", "training.momentum=0.9").learner.w)


# ------------------------------------------------------------------------- 4: streams


@pytest.mark.parametrize("setting", ["class", "task", "domain"])
def test_a_split_stream_trains_on_every_training_row_once_per_epoch_and_on_nothing_else(setting):
    run = ready("naive", f"stream.setting={setting}", "training.epochs=2")
    gathered: list[torch.Tensor] = []
    resident = run.learner._train
    inner = resident.gather
    resident.gather = lambda index: (gathered.append(index), inner(index))[1]
    run.train()
    index = torch.cat(gathered, dim=1)
    assert resident.x.data_ptr() == torch.from_numpy(run.stream.dataset.train.x).data_ptr()
    assert sorted(index[ROW].tolist()) == sorted([*range(300), *range(300)])
    for experience in run.stream:
        own = index[:, index[EXPERIENCE] == experience.id]
        assert sorted(own[ROW].tolist()) == sorted([*experience.rows.tolist(), *experience.rows.tolist()])
        assert set(own[TASK].tolist()) == {experience.id}
        labels = run.stream.dataset.train.y[own[ROW].numpy()]
        assert set(own[Y].tolist()) == ({0, 1} if setting == "domain" else set(labels.tolist()))


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_no_strategy_gathers_anything_but_rows_of_experiences_up_to_the_running_one(strategy):
    run = ready(strategy, "training.epochs=2")
    owner = np.full(300, -1)
    for experience in ready("naive").stream:
        owner[experience.rows] = experience.id
    gathered: list[tuple[int, int]] = []
    resident, inner = run.learner._train, run.learner._train.present

    def present(rows, view, **options):
        gathered.append((int(owner[rows].max()), run.cursor.experience))
        return inner(rows, view, **options)

    resident.present = present
    run.train()
    assert gathered
    assert all(rows <= (4 if strategy == "joint" else running) for rows, running in gathered)


@pytest.mark.parametrize("strategy", [s for s in EVERY_STRATEGY if s not in ("joint", "cumulative")])
def test_stream_order_and_initial_weights_are_the_same_for_every_strategy_at_a_seed(strategy):
    naive, other = ready("naive", seed=3), ready(strategy, seed=3)
    assert other.stream.fingerprint == naive.stream.fingerprint
    assert torch.equal(other.learner.w, naive.learner.w)
    assert stream_rows(other) == stream_rows(naive)


def test_another_seed_changes_classes_order_and_initial_weights():
    one, two = ready("naive", seed=0), ready("naive", seed=1)
    assert one.stream.fingerprint != two.stream.fingerprint
    assert not torch.equal(one.learner.w, two.learner.w)
    fixed = [ready("naive", "stream.order=fixed", seed=seed) for seed in (0, 1)]
    first, second = (stream_rows(run) for run in fixed)
    assert first != second
    assert sorted(sum(first[:4], [])) == sorted(sum(second[:4], []))


@pytest.mark.parametrize(
    "joined", ["er + l2(strength=0)", "l2(strength=0) + er", "er + ewc(strength=0, fisher=sampled, rows=10)", "er + agem"]
)
def test_adding_a_part_never_moves_another_parts_draws(joined):
    alone, more = batches(ready("er")), batches(ready(joined))
    assert [b.rows.tolist() for b in more] == [b.rows.tolist() for b in alone]


@pytest.mark.parametrize("admit", ["every_pass", "end"])
def test_when_memory_admits_does_not_move_the_order_of_the_stream(admit):
    assert stream_rows(ready("er", f"memory.admit={admit}")) == stream_rows(ready("er"))


@pytest.mark.parametrize("strategy", ["naive", "er", "agem", "er_ace"])
def test_hiding_boundaries_gives_the_same_rows_in_the_same_order(strategy):
    hidden = ready(strategy, "stream.boundaries=false", "training.epochs=2")
    assert stream_rows(hidden) == stream_rows(ready(strategy, "training.epochs=2"))


def test_hiding_boundaries_removes_only_the_calls_at_boundaries():
    hidden = ready("naive", "stream.boundaries=false")
    called: list[str] = []
    hidden.chain.begin_experience = (lambda *_: called.append("begin"),)
    hidden.chain.end_experience = (lambda *_: called.append("end"),)
    hidden.chain.after_step = (lambda learner, _: called.append(learner.experience),)
    hidden.train()
    assert set(called) == {None}
    assert torch.equal(hidden.learner.w, trained("naive").learner.w)


# ------------------------------------------------------------------------- 6: the contract

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
    "dropout": ("model.dropout=0.4", "training.optimizer=adam", "training.lr=0.01", "memory.policy=class_balanced"),
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
