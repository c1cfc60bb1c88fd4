"""ER-AML: its contrastive loss by hand, how positives and negatives are drawn, and what the last layer learns from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import ready, train_until, trained
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.running.prepare import Skip
from clbench.strategies.er_aml import contrastive_loss, draw_partners


def test_the_contrastive_loss_is_the_one_worked_out_by_hand():
    """Unit features at 0°, 90° and 180°; the anchor at 0° has cosines 1, 0, -1 and positives at 0° and 90°."""
    anchors, others = torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 0.0], [0.0, 0.5], [-1.0, 0.0]])
    found = contrastive_loss(anchors, torch.tensor([7]), others, torch.tensor([7, 7, 1]), 0.5)
    total = math.log(math.exp(2) + 1 + math.exp(-2))
    assert float(found) == pytest.approx(((total - 2) + total) / 2, rel=1e-6)


def test_the_contrastive_loss_is_a_mean_over_anchors_that_equals_a_plain_double_loop():
    rng = np.random.default_rng(0)
    z, a = rng.normal(size=(5, 4)), rng.normal(size=(8, 4))
    y, labels = np.array([0, 1, 0, 1, 0]), np.array([0, 1, 0, 1, 1, 0, 0, 1])
    expected = []
    for zi, yi in zip(z, y, strict=True):
        cosine = [zi @ aj / np.linalg.norm(zi) / np.linalg.norm(aj) for aj in a]
        below = sum(math.exp(c / 0.2) for c in cosine)
        expected.append(
            -np.mean(
                [math.log(math.exp(c / 0.2) / below) for c, label in zip(cosine, labels, strict=True) if label == yi]
            )
        )
    found = contrastive_loss(*(torch.from_numpy(v) for v in (z, y, a, labels)), 0.2)
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-9)


def drawn(batch: list[int], memory: list[int], seed: int = 0) -> tuple[list[int], list[int], list[int]]:
    """Anchors, and the pool places of their positives and negatives."""
    y = torch.tensor(batch)
    anchors, partners = draw_partners(y, torch.tensor([*memory, *batch]), Generator(seed, "test"))
    k = len(anchors)
    return anchors.tolist(), partners[:k].tolist(), partners[k:].tolist()


def test_positives_share_the_class_and_are_another_row_and_negatives_are_of_another_class_of_the_batch():
    batch, memory = [3, 3, 5, 3, 5, 8], [0, 1, 3, 5, 5, 9, 8]
    pool = [*memory, *batch]
    positives, negatives = set(), set()
    for seed in range(60):
        anchors, plus, minus = drawn(batch, memory, seed)
        assert anchors == [0, 1, 2, 3, 4, 5]
        for anchor, p, n in zip(anchors, plus, minus, strict=True):
            assert pool[p] == batch[anchor]
            assert p != len(memory) + anchor
            assert pool[n] in {3, 5, 8} - {batch[anchor]}  # classes of memory alone are never pushed away
            if anchor == 0:
                positives.add(p)
                negatives.add(n)
    assert positives == {2, 8, 10}
    assert negatives == {3, 4, 6, 9, 11, 12}  # from memory and batch alike


def test_positives_are_drawn_evenly():
    counts = np.zeros(4)
    for seed in range(1000):
        counts[drawn([1, 2], [1, 1, 1, 2], seed)[1][0]] += 1
    assert counts[3] == 0
    assert np.abs(counts[:3] / 1000 - 1 / 3).max() < 0.06  # about four standard errors


def test_rows_without_a_positive_or_without_a_negative_are_no_anchors():
    assert drawn([4, 4, 4], [4, 1])[0] == []  # no other class in this batch
    assert drawn([4, 2, 2], [1, 1])[0] == [1, 2]  # no other row of class 4
    assert drawn([4, 2, 2], [4, 1])[0] == [0, 1, 2]


def kept_of(run):
    """The batch of the next step, as the part leaves it, and what the part kept for later."""
    part, learner = run.chain.parts[0], run.learner
    batch = learner.batch(run.trainer.enter(run.stream[run.cursor.experience]).index[:, :16])
    part.batch(learner, batch)
    return part, batch, batch.kept(part)


@pytest.mark.parametrize("temperatures", [(0.2, 0.07), (0.5, 0.5)])
def test_the_loss_is_the_scaled_contrastive_loss_plus_cross_entropy_on_memory_alone(temperatures):
    t, base = temperatures
    run = train_until(ready(f"er_aml(temperature={t}, base_temperature={base}, rows=9)", "stream.output=all"), 14)
    part, batch, kept = kept_of(run)
    output = run.learner.model(batch.x)
    k = len(kept["anchors"])
    n, start = len(batch.stream), len(batch) - 9
    assert start == n + 2 * k
    z = F.normalize(output.features, dim=1)
    terms = []
    for anchor in kept["anchors"].tolist():
        scores = z[n:start] @ z[anchor] / t
        mine = batch.y[n:start] == batch.y[anchor]
        terms.append(-(scores[mine] - scores.logsumexp(0)).mean())
    expected = t / base * torch.stack(terms).mean() + F.cross_entropy(output.logits[start:], batch.y[start:])
    torch.testing.assert_close(part.objective(run.learner, batch, output), expected)


def test_rows_of_the_stream_give_the_last_layer_no_gradient():
    run = train_until(ready("er_aml"), 14)
    part, batch, _ = kept_of(run)
    output = run.learner.model(batch.x)
    weight = run.learner.model.head.weight
    (found,) = torch.autograd.grad(part.objective(run.learner, batch, output), weight, retain_graph=True)
    n = len(batch) - 16
    shown = output.logits[n:].masked_fill(~run.learner.classes.seen, -torch.inf)
    (memory,) = torch.autograd.grad(F.cross_entropy(shown, batch.y[n:]), weight)
    torch.testing.assert_close(found, memory)


def test_before_there_is_memory_the_stream_is_learned_by_cross_entropy():
    ours, theirs = (train_until(ready(s), 1) for s in ("er_aml", "naive"))
    assert torch.equal(ours.learner.w, theirs.learner.w)
    ours, theirs = (train_until(ready(s), 4) for s in ("er_aml(start=earlier)", "naive"))
    assert torch.equal(ours.learner.w, theirs.learner.w)


def test_it_runs_where_batches_hold_one_class_and_where_boundaries_are_hidden():
    single = trained("er_aml", "stream.experiences=10")
    assert np.isfinite(single.evaluator.trace().score).any()
    hidden, shown = (trained("er_aml", f"stream.boundaries={b}") for b in ("false", "true"))
    assert torch.equal(hidden.learner.w, shown.learner.w)


def test_it_needs_a_memory_and_the_objective_to_itself():
    with pytest.raises(Skip, match="needs a replay buffer"):
        ready("er_aml", "memory.size=0")
    with pytest.raises(Refused, match="both set the stream coefficient"):
        ready("er_aml + er")
    with pytest.raises(Refused, match="temperature = 0"):
        ready("er_aml(temperature=0)")


def test_with_small_memory_it_is_above_er_in_the_class_incremental_setting():
    settings = ("training.epochs=6", "training.lr=0.05", "evaluation.every=0")
    aml, er = (
        np.mean([trained(s, *settings, seed=i).evaluator.trace().score[-1].mean() for i in (0, 1, 2)])
        for s in ("er_aml", "er")
    )
    assert aml > er
