"""ER-ACE: which classes compete on which rows, and the sum of two means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import batches, ready
from torch.nn import functional as F

from clbench.training.batch import EXPERIENCE
from clbench.training.learner import task_loss


def logit_gradients(batch) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Random logits (B, C), the gradient of the loss on them, and the loss."""
    logits = torch.randn(len(batch), 10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = task_loss(logits, batch)
    (gradient,) = torch.autograd.grad(loss, logits)
    return logits.detach(), gradient, float(loss.detach())


@pytest.mark.parametrize("output", ["seen", "all"])
def test_stream_rows_give_no_gradient_to_logits_of_classes_absent_from_the_batch(output):
    for batch in batches(ready("er_ace", f"stream.output={output}")):
        n = len(batch.stream)
        absent = torch.ones(10, dtype=torch.bool)
        absent[batch.y[:n]] = False
        _, gradient, _ = logit_gradients(batch)
        assert bool((gradient[:n][:, absent] == 0).all())
        if int((~absent).sum()) > 1:
            assert bool((gradient[:n][:, ~absent] != 0).all())


def test_plain_er_does_push_old_classes_down_on_stream_rows():
    batch = batches(ready("er"))[-1]
    absent = torch.ones(10, dtype=torch.bool)
    absent[batch.y[: len(batch.stream)]] = False
    _, gradient, _ = logit_gradients(batch)
    assert bool((gradient[: len(batch.stream)][:, absent] > 0).all())


@pytest.mark.parametrize("output", ["seen", "all"])
def test_rehearsed_rows_compete_over_all_classes_that_competed_before(output):
    run = ready("er_ace", f"stream.output={output}")
    classes = [set(e.classes) for e in run.stream]
    for batch in batches(run):
        if len(batch.sources) == 1:
            continue
        running = int(batch.index[EXPERIENCE, 0])
        expected = set(range(10)) if output == "all" else set().union(*classes[: running + 1])
        _, gradient, _ = logit_gradients(batch)
        moved = gradient[len(batch.stream) :] != 0
        assert all(set(row.nonzero()[:, 0].tolist()) == expected for row in moved)


def test_the_loss_is_the_sum_of_the_two_means():
    for batch in batches(ready("er_ace", "stream.output=all"))[-3:]:
        n = len(batch.stream)
        logits, _, loss = logit_gradients(batch)
        present = sorted(set(batch.y[:n].tolist()))
        new = []
        for row, label in zip(logits[:n].tolist(), batch.y[:n].tolist(), strict=True):
            new.append(np.log(sum(np.exp(row[c]) for c in present)) - row[label])
        old = F.cross_entropy(logits[n:], batch.y[n:])
        assert loss == pytest.approx(np.mean(new) + float(old), rel=1e-5)


def test_without_a_draw_the_loss_is_the_plain_mean_over_the_classes_of_the_batch():
    batch = batches(ready("er_ace", "stream.output=all"))[0]
    logits, _, loss = logit_gradients(batch)
    present = batch.y.unique()
    expected = F.cross_entropy(logits[:, present], torch.searchsorted(present, batch.y))
    assert loss == pytest.approx(float(expected), rel=1e-6)


def test_classes_not_seen_so_far_compete_on_stream_rows_only_where_asked():
    run = ready("er_ace(unseen=compete)", "stream.output=all")
    classes = [set(e.classes) for e in run.stream]
    for batch in batches(run):
        running = int(batch.index[EXPERIENCE, 0])
        unseen = set(range(10)) - set().union(*classes[: running + 1])
        present = set(batch.y[: len(batch.stream)].tolist())
        assert set(batch.class_mask.competes[0].nonzero()[:, 0].tolist()) == present | unseen


def test_er_ace_rehearses_the_rows_that_er_would():
    ours, theirs = batches(ready("er_ace")), batches(ready("er(start=any)"))
    assert [b.rows.tolist() for b in ours] == [b.rows.tolist() for b in theirs]


def test_task_labels_and_the_classes_of_the_batch_narrow_together():
    run = ready("er_ace", "stream.setting=task")
    for batch in batches(run):
        own = run.learner.classes._by_task[batch.task]
        present = torch.zeros(10, dtype=torch.bool)
        present[batch.y[: len(batch.stream)]] = True
        n = len(batch.stream)
        assert torch.equal(batch.class_mask.competes[:n], own[:n] & present)
        assert torch.equal(batch.class_mask.competes[n:], own[n:])
