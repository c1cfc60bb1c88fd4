"""What parts may ask of a learner: each result against plain torch, and no trace left behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from support import Dicing, Disturbable, assert_same, batches, everything, ready, train_until, trained
from torch import nn
from torch.nn import functional as F

from clbench.core.rng import Generator
from clbench.models.output import Output
from clbench.strategies.part import ADDS, Part
from clbench.training.batch import EXPERIENCE, ROW


def middle(strategy="er", *changes, model=None):
    """A run in the middle of its third experience, and the batch of its last step."""
    run = ready(strategy, *changes, model=model)
    kept = []
    run.chain.after_step += (lambda _, batch: kept.append(batch),)
    return train_until(run, 11), kept[-1]


def traces(run):
    learner = run.learner
    return {
        **everything(run),
        "g": learner.g.clone(),
        "torch": torch.random.get_rng_state(),
        "augment": learner._rows.generator.get_state(),
        "modes": torch.tensor([m.training for m in learner.model.modules()]),
    }


@pytest.mark.parametrize("model", [None, Disturbable, Dicing])
def test_side_work_leaves_no_trace(model):
    run, batch = middle("er + ewc(strength=1)", "training.momentum=0.9", model=model)
    learner, before = run.learner, traces(run)
    old = learner.side_work.copy()
    learner.side_work.gradient(batch)
    learner.side_work.whole_gradient(batch)
    learner.side_work.forward(batch.x)
    learner.side_work.forward(batch.x, **old)
    learner.side_work.forward(batch.x, w=learner.w.detach() + 1, training=True)
    learner.side_work.features(learner.memory.all().index)
    if model is not Dicing:
        learner.side_work.per_row(batch.index, lambda logits: logits.square().sum(1), power="absolute")
    assert_same(traces(run), before)


def test_side_work_is_counted():
    run, batch = middle()
    cost, n = run.learner.cost, len(batch)
    before = cost.extra_forward_rows, cost.extra_backward_rows, cost.extra_seconds
    (
        run.learner.side_work.gradient(batch),
        run.learner.side_work.forward(batch.x),
        run.learner.side_work.features(batch.index),
    )
    assert cost.extra_forward_rows == before[0] + 3 * n
    assert cost.extra_backward_rows == before[1] + n
    assert cost.extra_seconds > before[2]


def test_forward_under_other_weights_is_the_model_with_those_weights():
    run, batch = middle("naive", model=Disturbable)
    learner = run.learner
    old = learner.side_work.copy()
    expected = learner.side_work.forward(batch.x)
    with torch.no_grad():
        learner.w.add_(0.1)
        next(learner.model.buffers()).add_(1.0)
    now = learner.side_work.forward(batch.x)
    assert not torch.allclose(now.logits, expected.logits)
    again = learner.side_work.forward(batch.x, **old)
    assert torch.equal(again.logits, expected.logits)
    assert torch.equal(again.features, expected.features)


def test_the_whole_gradient_is_what_the_step_sees_before_it_is_bent():
    run = ready("er + ewc(strength=1) + agem", "training.epochs=2")
    pairs = []

    def ask(learner, batch):
        pairs.append([learner.side_work.whole_gradient(batch)])

    def see(learner, _):
        pairs[-1].append(learner.g.clone())

    run.chain.before_step = (ask,)
    hooks = run.chain.gradient  # EWC adds, then A-GEM bends
    run.chain.gradient = (hooks[0], see, hooks[1])
    run.train()
    assert len(pairs) > 20
    for asked, seen in pairs:
        assert torch.equal(asked, seen)


def test_the_whole_gradient_holds_loss_terms_and_dropout_as_the_step_draws_it():
    @dataclass(kw_only=True)
    class Extra(Part):
        gradient_order = ADDS

        def before_step(self, learner, batch):
            batch.keep(self, asked=learner.side_work.whole_gradient(batch))

        def loss(self, learner, batch, output):
            return output.features.square().mean()

        def gradient(self, learner, batch):
            learner.g.add_(learner.w.detach(), alpha=0.5)

        def after_step(self, learner, batch):
            seen.append(torch.equal(batch.kept(self)["asked"], learner.g))

    from clbench.strategies.chain import Chain

    seen = []
    run = ready("naive", "model.dropout=0.3")
    run.chain = Chain([Extra()], seed=0)
    run.train()
    assert seen
    assert all(seen)


# --------------------------------------------------------------------------------------------------- per row


class Two(nn.Module):
    """y = (a x, b x): two weights, so that gradients can be worked out by hand."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(1, 2, bias=False)

    def forward(self, x):
        return Output(self.head(x), x)


class Twisted(Two):
    """The same by another layer, so that rows are differentiated one by one."""

    def __init__(self):
        super().__init__()
        self.head = type("Own", (nn.Linear,), {})(1, 2, bias=False)


@pytest.mark.parametrize("kind", [Two, Twisted])
def test_magnitudes_of_per_row_gradients_do_not_cancel(kind):
    from clbench.models.flat_weights import flatten
    from clbench.training.per_sample_gradients import accumulate

    model = kind()
    flat = flatten(model)
    flat.w.data.copy_(torch.tensor([2.0, -1.0]))
    x = torch.tensor([[1.0], [-3.0]])
    # s = (a x)² + (b x)²: ds/da = 2 a x² = 4, 36; ds/db = 2 b x² = -2, -18
    got = accumulate(model, flat, x, lambda logits: logits.square().sum(1), power="absolute")
    assert got.tolist() == [40.0, 20.0]
    # s = a x: gradients 1 and -3, whose sum would be -2
    first = accumulate(model, flat, x, lambda logits: logits[:, 0], power="absolute")
    assert first.tolist() == [4.0, 0.0]
    squares = accumulate(model, flat, x, lambda logits: logits[:, 0], power="square")
    assert squares.tolist() == [10.0, 0.0]


def test_per_row_of_a_network_is_the_mean_over_rows_of_each_rows_gradient():
    run, _ = middle("naive")
    learner = run.learner
    index = run.trainer.enter(run.stream[2]).index[:, :7]
    got = learner.side_work.per_row(index, lambda logits: logits.square().sum(1), power="absolute")
    expected = torch.zeros_like(got)
    allowed = learner.classes.mask(index).competes
    for i in range(7):
        logits = learner.model(learner._rows.present(index[ROW, i : i + 1], index[3, i : i + 1])).logits
        kept = logits if allowed is None else logits.masked_fill(~allowed, 0)
        grads = torch.autograd.grad(kept.square().sum(), learner._flat.parameters)
        expected += torch.cat([g.reshape(-1) for g in grads]).abs() / 7
    assert torch.allclose(got, expected, atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------------------------------------- a loop of one's own


def test_fit_is_plain_sgd_on_the_given_rows_in_shuffled_passes():
    run, _ = middle("er", "training.momentum=0.9")
    learner = run.learner
    rows = learner.memory.all()
    model, momentum_before = learner.model, run.trainer.steps.optimizer.state[learner.w]["momentum_buffer"].clone()
    twin = ready("er").learner
    twin.w.data.copy_(learner.w.data)
    learner.side_work.fit(
        rows, steps=7, lr=0.05, batch_size=16, generator=Generator(3, "x"), rate=lambda s: 1 / (1 + s)
    )

    order, generator = [], Generator(3, "x")
    for step in range(7):
        if not len(order):
            order = generator.permutation(rows.index.shape[1]).tolist()
        chosen, order = order[:16], order[16:]
        index = rows.index[:, chosen]
        logits = twin.model(twin._rows.gather(index)).logits
        allowed = learner.classes.mask(index).competes
        if allowed is not None:
            logits = logits.masked_fill(~allowed, -torch.inf)
        twin.g.zero_()
        F.cross_entropy(logits, index[1]).backward()
        with torch.no_grad():
            twin.w.sub_(twin.g, alpha=0.05 / (1 + step))
    assert torch.allclose(model.head.weight, twin.model.head.weight, atol=1e-6)
    assert torch.equal(run.trainer.steps.optimizer.state[learner.w]["momentum_buffer"], momentum_before)
    assert rows.index.shape[1] % 16 != 0  # passes end with a smaller batch


def test_fit_hands_side_tensors_to_the_loss_and_holds_frozen_weights():
    run, _ = middle("er")
    learner = run.learner
    rows = learner.memory.all()
    n = rows.index.shape[1]
    rows.side["mark"] = rows.index[ROW].double()
    frozen = torch.zeros_like(learner.g, dtype=torch.bool)
    frozen[::2] = True
    learner.freeze("test", frozen)
    before, told = learner.w.detach().clone(), []

    def loss(batch):
        told.append(torch.equal(batch.stream.side["mark"], batch.rows.double()))
        return learner.model(batch.x).logits.square().mean()

    learner.side_work.fit(rows, steps=4, lr=0.1, batch_size=n, generator=Generator(0, "x"), momentum=0.9, loss=loss)
    moved = learner.w.detach() != before
    assert told == [True] * 4
    assert not moved[frozen].any()
    assert moved.any()


def test_fit_of_no_rows_does_nothing():
    run = ready("er")
    before = run.learner.w.detach().clone()
    run.learner.side_work.fit(run.learner.memory.all(), steps=5, lr=1, batch_size=4, generator=Generator(0, "x"))
    assert torch.equal(run.learner.w, before)


# --------------------------------------------------------------------------------------------------- places in the loop


def test_merged_rows_are_shuffled_among_an_experiences_own_and_form_a_source_of_their_own():
    run = ready("er", "training.epochs=2", "memory.admit=end")
    run.chain.batch = ()
    given = {}

    def merge(learner, _):
        given[run.cursor.experience + bool(run.cursor.step)] = learner.memory.all().index.clone()
        return learner.memory.all().index

    run.chain.merge = (merge,)
    seen = batches(run)
    for number, experience in enumerate(run.stream):
        own = [b for b in seen if b.index[EXPERIENCE, b.stream.span].eq(number).any()]
        stream = torch.cat([b.rows[b.stream.span] for b in own])
        assert sorted(stream.tolist()) == sorted([*experience.rows.tolist()] * 2)
        if number:
            merged = torch.cat([b.rows[b.sources[1].span] for b in own if len(b.sources) > 1])
            assert set(merged.tolist()) <= set(given[number][ROW].tolist())
            assert len(merged) > 0.9 * 2 * given[number].shape[1]  # a batch of merged rows alone is not in ``own``
        sizes = [len(b) for b in own]
        assert max(sizes) == 16
    assert run.learner.cost.replay_rows == 2 * sum(g.shape[1] for g in given.values())
    assert run.learner.cost.stream_rows == 2 * sum(len(e) for e in run.stream)


def test_a_run_with_merged_rows_goes_on_from_a_snapshot_in_mid_experience():
    def made():
        run = ready("er", "training.epochs=2", "memory.admit=end")
        run.chain.merge = (lambda learner, _: learner.memory.all().index,)
        return run

    whole = made()
    whole.train()
    stopped = train_until(made(), 18)
    snapshot = stopped.snapshot()
    assert snapshot["cursor"]["merged"] is not None
    resumed = made()
    resumed.restore(snapshot)
    resumed.train()
    assert_same(everything(resumed), everything(whole))


def test_a_skipped_batch_changes_no_weight_costs_nothing_and_is_still_offered_to_memory():
    run = ready("er")

    def skip(learner, batch):
        batch.skip = learner.experience != 0

    run.chain.batch = (skip,)
    run.train()
    alone = ready("naive")
    train_until(alone, -(-len(alone.stream[0]) // 16))
    assert torch.equal(run.learner.w, alone.learner.w)
    assert run.learner.cost.stream_rows == len(alone.stream[0])
    assert set(run.learner.memory.all().index[EXPERIENCE].tolist()) == {0, 1, 2, 3, 4}


def test_side_tensors_that_a_part_gives_the_stream_are_kept_with_their_rows():
    run = ready("er", "memory.admit=every_pass", "training.epochs=2")
    told = {}

    def note(learner, batch, output):
        own = batch.stream.span
        batch.stream.side["logits"] = output.logits[own].detach()
        for row, logits in zip(batch.rows[own].tolist(), output.logits[own].detach(), strict=True):
            told.setdefault(row, []).append(logits)

    drawn = []
    run.chain.loss = (note,)
    run.chain.after_step = (lambda _, batch: drawn.extend(batch.sources[1:]),)
    run.train()
    kept = run.learner.memory.all()
    assert kept.side["logits"].shape == (40, 10)
    for row, logits in zip(kept.index[ROW].tolist(), kept.side["logits"], strict=True):
        assert any(torch.equal(logits, each) for each in told[row])
    assert run.learner.memory.bytes == 40 * 64 + 40 * 10 * 4


def test_inputs_may_be_changed_as_they_are_made():
    run, norms = ready("naive"), []

    def blank(learner, batch):
        batch.change(lambda x: x * 0)
        norms.append(float(batch.x.abs().sum()))

    run.chain.batch = (blank,)
    run.train()
    assert set(norms) == {0.0}


def test_what_a_part_keeps_in_a_step_is_its_own():
    run, told = ready("naive"), []
    first, second = Part(), Part()

    def batch_hook(learner, batch):
        batch.keep(first, a=1)
        batch.keep(first, b=2)
        told.append((batch.kept(first), batch.kept(second)))

    run.chain.batch = (batch_hook,)
    run.train()
    assert told[0] == ({"a": 1, "b": 2}, {})


def test_the_length_is_told_only_where_the_benchmark_reveals_it():
    hidden, told = ready("naive", "training.epochs=3"), ready("naive", "reveal=[length]", "training.epochs=3")
    assert hidden.learner.length is None
    assert hidden.learner.total_steps is None
    assert told.learner.length == 5
    told.train()
    assert told.learner.total_steps == told.cursor.step
    assert hidden.cell.key != told.cell.key
    fixed = ready("naive", "reveal=[length]", "training.iterations=7")
    fixed.train()
    assert fixed.learner.total_steps == fixed.cursor.step == 35


def test_a_part_that_needs_what_is_not_there_is_skipped_with_the_reason():
    from clbench.strategies.chain import unmet

    class Needy(Part):
        needs = frozenset({"length"})

    assert "reveal: [length]" in unmet([Needy()], frozenset())
    assert unmet([Needy()], frozenset({"length"})) == ""


def test_separate_experiments_do_not_share_what_they_learned():
    first, second = trained("naive"), trained("naive")
    assert np.array_equal(first.learner.w.detach().numpy(), second.learner.w.detach().numpy())
    assert first.learner.w.data_ptr() != second.learner.w.data_ptr()
