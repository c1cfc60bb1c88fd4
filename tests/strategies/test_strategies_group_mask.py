"""Group mask: only the classes of the whole batch compete in the loss, and all of them in predictions."""

from __future__ import annotations

import pytest
import torch
from support import assert_same, batches, everything, ready, trained
from torch.nn import functional as F

from clbench.training.learner import Output, task_loss


def logits_and_gradient(batch) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Random logits (B, C), the gradient of the loss on them, and the loss."""
    logits = torch.randn(len(batch), 10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = task_loss(logits, batch)
    (gradient,) = torch.autograd.grad(loss, logits)
    return logits.detach(), gradient, float(loss.detach())


@pytest.mark.parametrize("strategy", ["group_mask", "er + group_mask", "group_mask + er"])
def test_classes_absent_from_the_whole_batch_get_exactly_no_gradient_and_those_present_get_some(strategy):
    seen = batches(ready(strategy, "stream.output=all"))
    assert any(len(batch.sources) > 1 for batch in seen) == ("er" in strategy)
    for batch in seen:
        present = torch.zeros(10, dtype=torch.bool)
        present[batch.y] = True
        _, gradient, _ = logits_and_gradient(batch)
        assert bool((gradient[:, ~present] == 0).all())
        if int(present.sum()) > 1:
            assert bool((gradient[:, present] != 0).all())


def test_the_loss_is_the_authors_who_set_absent_logits_far_below():
    for batch in batches(ready("group_mask", "stream.output=all")):
        logits, _, loss = logits_and_gradient(batch)
        absent = torch.ones(10, dtype=torch.bool)
        absent[batch.y] = False
        assert loss == pytest.approx(float(F.cross_entropy(logits.masked_fill(absent, -1e9), batch.y)), abs=1e-6)


def test_a_batch_of_a_single_class_has_no_loss():
    alone = [
        batch
        for batch in batches(ready("group_mask", "training.batch_size=2"))
        if len(batch) == 2 and len(batch.y.unique()) == 1
    ]
    assert alone
    assert all(logits_and_gradient(batch)[2] == 0 for batch in alone)


def test_it_is_naive_where_every_batch_holds_every_class():
    changes = ("stream.setting=domain", "training.batch_size=32")
    assert all(len(batch.y.unique()) == 2 for batch in batches(ready("group_mask", *changes)))
    assert_same(everything(trained("group_mask", *changes)), everything(trained("naive", *changes)))


def test_the_new_rows_compete_with_classes_that_only_memory_has_unlike_in_er_ace():
    masked, ace = batches(ready("er + group_mask"))[-1], batches(ready("er_ace"))[-1]
    for batch in (masked, ace):
        n = len(batch.stream)
        own, all_of_it = set(batch.y[:n].tolist()), set(batch.y.tolist())
        assert own < all_of_it
        compete = set(batch.class_mask.competes[0].nonzero()[:, 0].tolist())
        assert compete == (all_of_it if batch is masked else own)


def test_task_labels_and_the_mask_narrow_together():
    run = ready("er + group_mask", "stream.setting=task")
    for batch in batches(run):
        present = torch.zeros(10, dtype=torch.bool)
        present[batch.y] = True
        assert torch.equal(batch.class_mask.competes, run.learner.classes._by_task[batch.task] & present)


def test_predictions_are_the_logits_of_all_classes():
    run = trained("group_mask")
    logits = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(run.trainer.readout.predict(Output(logits, logits), None), logits)


@pytest.mark.parametrize("strategy", ["agem + group_mask", "mir + group_mask"])
def test_gradients_beside_the_step_do_not_see_the_mask(strategy):
    run = ready(strategy)
    asked, plain = [], run.learner.side_work.gradient
    run.learner.side_work.gradient = lambda batch: (asked.append(batch.class_mask.competes), plain(batch))[1]
    run.train()
    assert len(asked) > 5
    assert asked[-1] is None  # all ten classes have been seen by then, and all compete
    assert all(allowed is None or allowed.dim() == 1 for allowed in asked)  # a narrowed batch has a mask per row
