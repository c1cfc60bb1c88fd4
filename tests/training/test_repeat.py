"""Several updates on one batch of the stream, as a part's ``batch`` hook asks for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from plain_loop import SMALLER, learned_plainly
from support import assert_same, everything, ready
from torch.nn import functional as F


def repeated(strategy, *changes, updates=3, seed=0):
    """A finished run with several updates on every batch, and all batches of updates, as the parts left them."""
    run, seen = ready(strategy, *changes, seed=seed), []

    def ask(learner, batch):
        batch.repeat = updates
        seen.append(batch)

    run.chain.batch += (ask,)
    run.train()
    return run, seen


def test_updates_on_one_batch_are_steps_one_after_the_other():
    run, _ = repeated("naive", *SMALLER, "stream.output=all")
    by_hand = learned_plainly(
        ready("naive", *SMALLER, "stream.output=all"),
        seed=0,
        loss=lambda model, x, y, experience: F.cross_entropy(model(x).logits, y),
        updates=3,
    )
    assert torch.allclose(run.learner.w.detach(), by_hand, atol=1e-6)
    assert not torch.allclose(ready("naive", *SMALLER, "stream.output=all").learner.w.detach(), by_hand, atol=1e-3)


def test_one_update_is_what_the_loop_does_without_being_asked():
    asked, plain = repeated("er + ewc", updates=1)[0], ready("er + ewc")
    plain.train()
    assert_same(everything(asked), everything(plain))


def test_samples_of_the_stream_stay_and_replayed_ones_are_drawn_anew():
    _, seen = repeated("er")
    for first, second, third in zip(seen[::3], seen[1::3], seen[2::3], strict=True):
        assert [each.repetition for each in (first, second, third)] == [0, 1, 2]
        own = [each.index[:, each.stream.span] for each in (first, second, third)]
        assert torch.equal(own[0], own[1])
        assert torch.equal(own[0], own[2])
        assert len({len(each) for each in (first, second, third)}) == 1
    last = seen[-3:]
    drawn = [tuple(each.rows[each.sources[1].span].tolist()) for each in last]
    assert len(set(drawn)) == 3


@pytest.mark.parametrize("admit", ["first_pass", "every_pass", "end"])
def test_the_replay_buffer_is_offered_each_sample_once(admit):
    changes = (f"memory.admit={admit}", "training.epochs=2")
    run, _ = repeated("er", *changes)
    plain = ready("er", *changes)
    plain.train()
    assert torch.equal(run.learner.memory.all().index, plain.learner.memory.all().index)


def test_side_tensors_are_those_of_the_first_update():
    run, kept, before = ready("der"), [], []
    run.chain.batch += (lambda _, batch: setattr(batch, "repeat", 3),)
    model = run.learner.model

    def keep(learner, batch):
        if not batch.repetition:
            with torch.no_grad():
                before.append(model(batch.x[batch.stream.span]).logits)
        kept.append(batch)

    run.chain.before_step += (keep,)
    run.train()
    firsts = kept[::3]
    assert all("logits" in batch.stream.side for batch in firsts)
    assert not any(batch.stream.side for batch in kept if batch.repetition)
    for batch, logits in zip(firsts, before, strict=True):
        assert torch.allclose(batch.stream.side["logits"], logits, atol=1e-5)


def test_it_is_one_iteration_with_several_steps():
    run, _ = repeated("er")
    plain = ready("er")
    plain.train()
    ours, theirs = run.learner.cost, plain.learner.cost
    assert run.cursor.step == plain.cursor.step
    assert ours.steps == 3 * theirs.steps
    assert ours.stream_rows == 3 * theirs.stream_rows
    assert ours.looks == theirs.looks
    assert np.array_equal(run.evaluator.trace().step, plain.evaluator.trace().step)


def test_momentum_goes_on_from_update_to_update():
    changes = ("training.momentum=0.9", "training.iterations=2")
    run, seen = repeated("naive", *changes, updates=2)
    plain = ready("naive", *changes)
    sgd = torch.optim.SGD([plain.learner.w], lr=0.1, momentum=0.9)
    for batch in seen:
        plain.learner.g.zero_()
        F.cross_entropy(batch.class_mask.masked(plain.learner.model(batch.x).logits), batch.y).backward()
        sgd.step()
    assert torch.allclose(run.learner.w, plain.learner.w, atol=1e-6)


def test_a_batch_that_is_skipped_is_not_repeated():
    run, seen = repeated("frozen")
    steps = -(-len(run.stream[0]) // 16)
    assert run.learner.cost.steps == 3 * steps
    assert len(seen) == 3 * steps + (run.cursor.step - steps)


def test_samples_merged_into_an_experience_are_a_source_of_every_update():
    _, seen = repeated("icarl", "memory.size=20")
    assert any(len(batch.sources) > 1 and len(batch.sources[1]) for batch in seen)
    for first, *others in zip(seen[::3], seen[1::3], seen[2::3], strict=True):
        for other in others:
            assert [source.span for source in other.sources] == [source.span for source in first.sources]
            assert torch.equal(other.index[:, : other.size], first.index[:, : first.size])


@pytest.mark.parametrize("strategy", ["view_batch", "acil", "k_fpf", "agem", "mir", "pcr", "derpp"])
def test_methods_with_batches_of_their_own_run_with_several_updates(strategy):
    run, seen = repeated(strategy, "reveal=[length]", updates=2)
    assert len(seen) == 2 * run.cursor.step
    assert bool(run.learner.w.isfinite().all())


def test_a_probed_step_is_its_first_update():
    run, _ = repeated("er", "evaluation.probe=4")
    plain = ready("er", "evaluation.probe=4")
    plain.train()
    ours, theirs = run.trainer.probe.columns(), plain.trainer.probe.columns()
    assert len(ours) == len(theirs) > 0
    assert np.allclose(ours[0], theirs[0], equal_nan=True)
