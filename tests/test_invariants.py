"""What must always hold, for every registered strategy: neutral evaluation, identities, streams."""

from __future__ import annotations

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
    home,
    joined,
    needs,
    ready,
    same_trace,
    stream_rows,
    trained,
)

from clbench.training.batch import EXPERIENCE, ROW, TASK, Y

MODELS = {"plain": ((), None), "dropout": (("model.dropout=0.4",), None), "given": ((), Disturbable)}

# ------------------------------------------------------------------------- 1: looking does not change what is learned


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_training_is_bit_identical_whenever_and_at_whatever_the_evaluator_looks(strategy, model):
    changes, module = MODELS[model]
    if model == "dropout" and needs(strategy) & {"convolutions", "transformer"}:
        pytest.skip("the convolutional network and the transformer have no dropout")
    off = ready(strategy, *changes, model=module)
    off.evaluator = NoLooks()
    off.train()
    for look in ("evaluation.every=1", "evaluation.every=7"):
        assert_same(everything(trained(strategy, *changes, look, model=module)), everything(off))


LOOKS = {
    "ends only": ("evaluation.schedule=ends",),
    "densely after switches": ("evaluation.schedule={dense: {steps: 3, growth: 1.5}}", "evaluation.tasks=current"),
    "at given iterations": ("evaluation.schedule={at: [1, 2, 11]}", "evaluation.tasks=all"),
    "at all rows": ("evaluation.rows_per_task=all", "evaluation.every=2"),
    "with every read-out": ("evaluation.masked=true", "evaluation.classes=true", "evaluation.every=1"),
    "in half precision": ("evaluation.precision=bfloat16", "evaluation.every=1"),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("strategy", ["naive", "agem", "er + ewc(strength=1, fisher=sampled, rows=10)"])
def test_training_is_bit_identical_under_every_schedule_read_out_and_precision(strategy, look, model):
    changes, module = MODELS[model]
    off = ready(strategy, *changes, model=module)
    off.evaluator = NoLooks()
    off.train()
    run = trained(strategy, *changes, *LOOKS[look], model=module)
    assert_same(everything(run), everything(off))
    assert len(run.evaluator.trace().step) > 5


@pytest.mark.parametrize("strategy", ["naive", "agem", "er + ewc(strength=1, fisher=empirical)"])
def test_a_model_that_draws_and_counts_when_looked_at_trains_the_same_without_looks(strategy):
    off = ready(strategy, model=Dicing)
    off.evaluator = NoLooks()
    off.train()
    assert_same(everything(trained(strategy, "evaluation.every=1", model=Dicing)), everything(off))


def test_the_disturbable_model_would_notice_a_look_in_training_mode():
    run = ready("naive", model=Disturbable)
    x = run.evaluator.panels._test.present(torch.arange(20), torch.zeros(20, dtype=torch.int64))
    run.learner.model.train()
    before = next(run.learner.model.buffers()).clone()
    run.learner.model(x)
    assert not torch.equal(next(run.learner.model.buffers()), before)


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
    monkeypatch.setattr(
        ours.learner.side_work, "gradient", lambda batch: (asked.append(len(batch)), ours.learner.g.clone())[1]
    )
    ours.train()
    assert len(asked) > 5
    assert torch.equal(ours.learner.w, trained("naive", "training.momentum=0.9").learner.w)


# ------------------------------------------------------------------------- 4: streams


@pytest.mark.parametrize("setting", ["class", "task", "domain"])
def test_a_split_stream_trains_on_every_training_row_once_per_epoch_and_on_nothing_else(setting):
    run = ready("naive", f"stream.setting={setting}", "training.epochs=2")
    gathered: list[torch.Tensor] = []
    resident = run.learner._rows
    inner = resident.gather
    resident.gather = lambda index: (gathered.append(index), inner(index))[1]
    run.train()
    index = torch.cat(gathered, dim=1)
    assert resident.x.data_ptr() == torch.from_numpy(run.stream.dataset.train.x).data_ptr()
    assert sorted(index[ROW].tolist()) == sorted([*range(300), *range(300)])
    for experience in run.stream:
        own = index[:, index[EXPERIENCE] == experience.id]
        assert sorted(own[ROW].tolist()) == sorted([*experience.rows.tolist(), *experience.rows.tolist()])
        assert set(own[TASK].tolist()) == {experience.id if setting == "task" else -1}  # hidden elsewhere
        labels = run.stream.dataset.train.y[own[ROW].numpy()]
        assert set(own[Y].tolist()) == ({0, 1} if setting == "domain" else set(labels.tolist()))


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_no_strategy_gathers_anything_but_rows_of_experiences_up_to_the_running_one(strategy):
    run = ready(strategy, "training.epochs=2")
    owner = np.full(300, -1)
    for experience in ready("naive").stream:
        owner[experience.rows] = experience.id
    gathered: list[tuple[int, int]] = []
    resident, inner = run.learner._rows, run.learner._rows.present

    def present(rows, view, **options):
        gathered.append((int(owner[rows].max()), run.learner.experience))
        return inner(rows, view, **options)

    resident.present = present
    run.train()
    assert gathered
    assert all(rows <= (4 if strategy == "joint" else running) for rows, running in gathered)


HOLDS_OUT = {"bic"}
"""Strategies that leave out samples of an experience while they learn it: bic one of each new class here."""


@pytest.mark.parametrize("strategy", [s for s in EVERY_STRATEGY if s not in ("joint", "cumulative")])
def test_stream_order_and_initial_weights_are_the_same_for_every_strategy_at_a_seed(strategy):
    changes = (*home(strategy), "training.epochs=2")
    naive, other = (ready(s, *changes, seed=3) for s in ("naive", strategy))
    assert other.stream.fingerprint == naive.stream.fingerprint
    if all(part.uses_model for part in other.chain.parts) and not other.chain.build:
        assert torch.equal(other.learner.w, naive.learner.w)
    if other.chain.merge or other.chain.order:  # which is what these are for: then only what is met stays the same
        met = [sorted(joined(stream_rows(run))) for run in (other, naive)]
        if strategy in HOLDS_OUT:
            assert set(met[0]) <= set(met[1])
            assert len(met[1]) - len(met[0]) == 2 * 2 * 4  # of two new classes, in two passes of four experiences
        else:
            assert met[0] == met[1]
    else:
        assert stream_rows(other) == stream_rows(naive)


def test_another_seed_changes_classes_order_and_initial_weights():
    one, two = ready("naive", seed=0), ready("naive", seed=1)
    assert one.stream.fingerprint != two.stream.fingerprint
    assert not torch.equal(one.learner.w, two.learner.w)
    fixed = [ready("naive", "stream.order=fixed", seed=seed) for seed in (0, 1)]
    first, second = (stream_rows(run) for run in fixed)
    assert first != second
    assert sorted(joined(first[:4])) == sorted(joined(second[:4]))


@pytest.mark.parametrize(
    "longer",
    ["er + l2(strength=0)", "l2(strength=0) + er", "er + ewc(strength=0, fisher=sampled, rows=10)", "er + agem"],
)
def test_adding_a_part_never_moves_another_parts_draws(longer):
    alone, more = batches(ready("er")), batches(ready(longer))
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
