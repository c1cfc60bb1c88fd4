"""The form of a loss as a control: weights of sources and competing classes, by hand and against ``er``."""

from __future__ import annotations

import pytest
import torch
from support import assert_same, everything, ready, trained
from torch.nn import functional as F

from clbench.core.errors import Refused


def losses(strategy, *changes):
    """The loss of every step, and by hand: CE of stream and rehearsed samples, over the mask and over all classes."""
    run, found = ready(strategy, *changes), []
    learner = run.learner
    made = learner.loss

    def loss(batch, output):
        value, n = made(batch, output), len(batch.stream)
        mask = learner.classes.mask(batch.index)
        masked = F.cross_entropy(mask.masked(output.logits), batch.y, reduction="none").detach()
        unmasked = F.cross_entropy(output.logits, batch.y, reduction="none").detach()
        parts = [masked[:n], masked[n:], unmasked[:n], unmasked[n:]]
        found.append([value.item(), *(each.mean().item() for each in parts)])
        return value

    learner.loss = loss
    run.train()
    return torch.tensor(found, dtype=torch.float64).T


def test_with_weights_of_one_it_is_the_sum_of_er_bit_for_bit():
    assert_same(everything(trained("er(loss=sum)")), everything(trained("er + loss_form(new=1, old=1)")))


def test_the_loss_is_the_weighted_sum_with_all_classes_on_rehearsed_samples():
    loss, masked_new, _, _, open_old = losses("er + loss_form(alone=3, new=0.5, old=2, old_classes=all)")
    rehearses = ~open_old.isnan()
    assert 10 < int(rehearses.sum()) < len(loss)
    torch.testing.assert_close(loss[~rehearses], 3 * masked_new[~rehearses], rtol=1e-5, atol=1e-6)
    expected = (0.5 * masked_new + 2 * open_old)[rehearses]
    torch.testing.assert_close(loss[rehearses], expected, rtol=1e-5, atol=1e-6)


def test_classes_of_the_stream_are_opened_alone():
    loss, _, masked_old, open_new, _ = losses("er(loss=sum) + loss_form(new_classes=all)")
    rehearses = ~masked_old.isnan()
    torch.testing.assert_close(loss[rehearses], (open_new + masked_old)[rehearses], rtol=1e-5, atol=1e-6)


def test_two_draws_share_the_weight_by_their_samples():
    run = ready("derpp(alpha=0.5, beta=0.5, rows=4) + loss_form(old=1)")
    seen = []
    run.chain.after_step = (*run.chain.after_step, lambda _, batch: seen.append([s.coefficient for s in batch.sources]))
    run.train()
    assert seen[-1] == [1.0, 0.5, 0.5]


def test_under_output_all_open_classes_change_nothing():
    ours = trained("er + loss_form(old_classes=all, new_classes=all)", "stream.output=all")
    assert torch.equal(ours.learner.w, trained("er", "stream.output=all").learner.w)


def test_a_negative_weight_is_refused():
    with pytest.raises(Refused, match="old"):
        ready("er + loss_form(old=-1)")
