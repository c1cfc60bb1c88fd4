"""Classifier alignment: statistics and draws, the loss by hand, who answers when; and a slow body."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, trained
from torch.nn import functional as F

from clbench.strategies.align import DIAGONAL, Align, drawn_from
from clbench.training.batch import Y

PLAIN = ("training.momentum=0.9", "evaluation.every=0")


def test_drawn_features_have_the_given_mean_and_covariance():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    covariance, mean = a @ a.T, torch.arange(4.0, dtype=torch.float64)
    x = drawn_from(mean, torch.linalg.cholesky(covariance), 200_000, generator)
    torch.testing.assert_close(x.mean(0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(x.T.cov(), covariance, atol=0.1, rtol=0)


def test_statistics_are_those_of_all_samples_of_a_class_also_if_it_returns():
    run = ready("align", "stream.scenario=rotated", "stream.setting=domain", "stream.degrees=[0, 70]", *PLAIN)
    features, labels = [], []

    def note(learner, experience):
        features.append(learner.side_work.features(experience.index).features.double())
        labels.append(experience.index[Y])

    run.chain.end_experience += (note,)
    run.train()
    part, z, y = run.chain.parts[0], torch.cat(features), torch.cat(labels)
    roots = part._roots(1)
    for c in range(10):
        mean, root = roots[c]
        own = z[y == c]
        torch.testing.assert_close(mean, own.mean(0))  # the last experience had every class: m is 1
        wanted = own.T.cov() + DIAGONAL * torch.eye(16, dtype=torch.float64)
        torch.testing.assert_close(root @ root.T, wanted)


def test_means_of_older_classes_are_shorter():
    run = trained("align", "stream.order=fixed", *PLAIN)
    part = run.chain.parts[0]
    for c, known in part.state["classes"].items():
        share = 0.9 + 0.1 * (int(c) // 2 + 1) / 5
        torch.testing.assert_close(part._roots(4)[int(c)][0], share * known["mean"])


def by_hand(part, head, seed, roots, groups):
    """The aligned weights by a loop of its own."""
    generator = torch.Generator().manual_seed(seed)
    w, b = (p.detach().clone().requires_grad_() for p in (head.weight, head.bias))
    velocity = [torch.zeros_like(w), torch.zeros_like(b)]
    label = torch.tensor([c for c in roots for _ in range(part.rows)])
    for epoch in range(part.epochs):
        lr = part.lr * (1 + math.cos(math.pi * epoch / part.epochs)) / 2
        drawn = torch.cat([drawn_from(*roots[c], part.rows, generator) for c in roots]).float()
        order = torch.randperm(len(drawn), generator=generator)
        for start in range(0, len(drawn), part.rows):
            at = order[start : start + part.rows]
            logits = drawn[at] @ w.T + b
            norm = sum(logits[:, group].norm(dim=1) for group in groups) / len(groups)
            scores = torch.full_like(logits, -torch.inf)
            seen = sorted(roots)
            scores[:, seen] = logits[:, seen] / norm[:, None] / part.temperature
            for v, weight, g in zip(
                velocity, (w, b), torch.autograd.grad(F.cross_entropy(scores, label[at]), (w, b)), strict=True
            ):
                v.mul_(0.9).add_(g + 5e-4 * weight.detach())
                weight.data -= lr * v
    return w.detach(), b.detach()


def test_the_alignment_is_a_loop_of_its_own():
    run, seeds = ready("align(epochs=3, rows=20, lr=0.1)", "stream.order=fixed", *PLAIN), []
    part = run.chain.parts[0]
    words = part.generator.words
    part.generator.words = lambda n: seeds.append(words(n)) or seeds[-1]
    run.train()
    groups = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    w, b = by_hand(part, run.learner.model.head, int(seeds[-1][0] >> 1), part._roots(4), groups)
    torch.testing.assert_close(part.state["aligned"]["weight"], w, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(part.state["aligned"]["bias"], b, atol=1e-5, rtol=1e-4)


def test_training_notices_nothing_and_the_aligned_head_answers_at_ends_alone():
    run, plain = ready("align(lr=0.3)", "training.momentum=0.9"), trained("naive", "training.momentum=0.9")
    run.train()
    assert_same({"w": run.learner.w}, {"w": plain.learner.w})
    ours, theirs = run.evaluator.trace(), plain.evaluator.trace()
    from clbench.core.record import Kind

    within, ends = ours.kind == int(Kind.STEP), ours.kind == int(Kind.END)
    assert np.array_equal(ours.score[within], theirs.score[within], equal_nan=True)
    assert np.array_equal(ours.score[ends][0], theirs.score[ends][0], equal_nan=True)  # the first is not aligned
    assert not np.array_equal(ours.score[ends][-1], theirs.score[ends][-1], equal_nan=True)


@pytest.mark.parametrize("strategy", ["align(epochs=0)", "slca(body=1, epochs=0)"])
def test_without_epochs_it_is_the_plain_run(strategy):
    run = trained(strategy, "stream.output=all" if "slca" not in strategy else "stream.output=seen")
    other = trained("naive", "stream.output=all") if "slca" not in strategy else None
    if other is not None:
        assert np.array_equal(run.evaluator.trace().score, other.evaluator.trace().score, equal_nan=True)
    assert "aligned" not in run.chain.parts[-1].state


def test_it_helps_replay_of_few_samples():
    changes = ("training.epochs=3", "evaluation.every=0", "memory.size=20")
    alone, aligned = trained("er", *changes), trained("er + align(lr=0.1)", *changes)
    assert np.nanmean(aligned.evaluator.trace().score[-1]) > np.nanmean(alone.evaluator.trace().score[-1])


def test_it_resumes_between_its_statistics():
    run, kept = ready("slca", "training.momentum=0.9"), []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 10 else None)
    resumed = ready("slca", "training.momentum=0.9")
    resumed.restore(kept[0])
    resumed.train()
    assert_same(everything(resumed), everything(run))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_first_step_of_a_slow_body_is_a_hundredth_and_factor_0_keeps_its_bits(optimizer):
    def first(strategy):
        run, found = ready(strategy, f"training.optimizer={optimizer}", "training.lr=0.01", *PLAIN[1:]), []
        before = run.learner.w.detach().clone()
        run.chain.after_step += (lambda learner, _: found.append(learner.w.detach() - before),)
        run.train()
        body = slice(0, run.learner.slices["head.weight"].start)
        return found[0], body, run.learner.w.detach()[body] - before[body]

    whole, body, _ = first("slca(body=1, epochs=0)")
    slow, _, _ = first("slca(epochs=0)")
    _, _, still = first("slca(body=0, epochs=0)")
    torch.testing.assert_close(slow[body], 0.01 * whole[body], atol=1e-8, rtol=1e-2)
    assert torch.equal(slow[body.stop :], whole[body.stop :])
    assert not still.any()


def test_epochs_0_is_an_identity_of_the_part():
    assert Align.identity == {"epochs": 0}
