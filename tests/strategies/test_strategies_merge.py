"""Merged models: the merger of changes by hand, in NumPy; training that notices nothing of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, trained
from torch.func import functional_call

from clbench.core.record import Kind


def by_hand(rule, changes, keep):
    """τ of changes (t, P)."""
    if rule == "max":
        return changes[np.abs(changes).argmax(0), np.arange(changes.shape[1])]
    if rule == "mean":
        return changes.mean(0)
    large = np.zeros_like(changes)
    for row, change in zip(large, changes, strict=True):
        places = np.argsort(-np.abs(change))[: round(keep * len(change))]
        row[places] = change[places]
    sign = np.where(large.sum(0) >= 0, 1, -1)
    agrees = (np.sign(large) == sign) & (large != 0)
    return (large * agrees).sum(0) / np.maximum(1, agrees.sum(0))


def weights_at_ends(run):
    """The weights before training and at the end of each experience."""
    kept = [run.learner.w.detach().numpy().copy()]
    run.evaluator.ended.append(lambda _: kept.append(run.learner.w.detach().numpy().copy()))
    run.train()
    return np.array(kept)


@pytest.mark.parametrize("rule", ["max", "mean", "ties"])
def test_the_answer_is_the_initial_model_plus_the_merged_changes(rule):
    run = ready(f"merge(rule={rule}, scale=0.7, keep=0.3)", "training.lr=0.3")
    kept = weights_at_ends(run)
    part, learner = run.chain.parts[0], run.learner
    wanted = by_hand(rule, kept[1:] - kept[0], 0.3)
    np.testing.assert_allclose(part.tau(learner).numpy(), wanted, rtol=1e-5, atol=1e-7)
    w = torch.from_numpy(kept[0] + 0.7 * wanted).float()
    tensors = {n: w[learner.slices[n]].view(p.shape) for n, p in learner.model.named_parameters()}
    x = torch.rand(7, 1, 8, 8)
    answer = run.trainer.readout.output(x, None).logits
    torch.testing.assert_close(answer, functional_call(learner.model, tensors, (x,)).logits)
    assert not torch.allclose(answer, learner.model(x).logits, atol=1e-3)


@pytest.mark.parametrize("rule", ["max", "mean", "ties"])
def test_the_running_experience_counts_with_its_weights_so_far(rule):
    run, found = ready(f"merge(rule={rule}, keep=0.3)", "training.lr=0.3"), []
    part, learner = run.chain.parts[0], run.learner
    ends = [learner.w.detach().numpy().copy()]
    run.evaluator.ended.append(lambda _: ends.append(learner.w.detach().numpy().copy()))

    def tick(step, _):
        if part.state["moved"]:
            now = np.array([*ends[1:], learner.w.detach().numpy()]) - ends[0]
            found.append(np.abs(by_hand(rule, now, 0.3) - part.tau(learner).numpy()).max())

    run.train(tick)
    assert len(found) > 10
    assert max(found) < 1e-6


def test_training_notices_nothing():
    run, plain = trained("merge", "training.momentum=0.9"), trained("naive", "training.momentum=0.9")
    assert_same({"w": run.learner.w}, {"w": plain.learner.w})
    assert run.learner.cost.steps == plain.learner.cost.steps


def test_one_experience_at_scale_one_is_the_plain_run():
    one = ("stream.experiences=1",)
    run, plain = trained("merge(scale=1)", *one), trained("naive", *one)
    ours, theirs = run.evaluator.trace(), plain.evaluator.trace()
    assert np.array_equal(ours.score, theirs.score, equal_nan=True)


def test_before_the_first_step_the_initial_model_answers():
    run = trained("merge")
    trace = run.evaluator.trace()
    first = trained("naive").evaluator.trace().score[0]
    assert Kind(int(trace.kind[0])) is Kind.START
    assert np.array_equal(trace.score[0], first, equal_nan=True)


def test_the_merger_resumes_within_an_experience():
    run, kept = ready("merge(rule=ties)"), []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 9 else None)
    resumed = ready("merge(rule=ties)")
    resumed.restore(kept[0])
    resumed.train()
    assert_same(everything(resumed), everything(run))
