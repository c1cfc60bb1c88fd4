"""Consolidation strengths of single weights: their sums by hand, what is frozen, and elastic weight consolidation."""

from __future__ import annotations

import pytest
import torch
from support import assert_same, everything, numerical, ready, same_trace, trained

from clbench.core.errors import Refused
from clbench.running.prepare import Skip


def bounded(run, news):
    """The weights (P,) of each boundary of a run that is given these importances there."""
    shown, generator, anchors = run.trainer.enter(run.stream[0]), torch.Generator().manual_seed(0), []
    for new in news:
        run.learner.side_work.fisher = lambda *_, new=new, **__: new.clone()
        run.learner.w.data.copy_(torch.randn(run.learner.w.shape, generator=generator))
        anchors.append(run.learner.w.detach().clone())
        run.chain.end_experience[0](run.learner, shown)
        run.chain.begin_experience[0](run.learner, shown)
    return anchors


@pytest.mark.parametrize("decay", [0.0, 0.3, 1.0])
def test_the_gradient_is_that_of_the_penalty_on_decayed_sums(decay):
    run = ready(f"consolidation(strength=7, frozen=0, decay={decay})")
    a, b, c = (torch.rand(run.learner.w.shape, generator=torch.Generator().manual_seed(i)) for i in range(3))
    anchor = bounded(run, (a, b, c))[-1]
    run.learner.w.data.add_(torch.rand(run.learner.w.shape))
    run.learner.g.zero_()
    run.chain.gradient[0](run.learner, run.learner.batch(run.trainer.enter(run.stream[0]).index[:, :4]))
    sums = decay**2 * a + decay * b + c
    penalty = numerical(lambda w: 3.5 * (sums * (w - anchor) ** 2).sum(), run.learner.w)
    torch.testing.assert_close(run.learner.g, penalty, rtol=1e-4, atol=1e-5)


def test_the_strongest_weights_are_frozen_until_others_are_stronger():
    run = ready("consolidation(strength=0, frozen=0.25, decay=0.5)")
    size = run.learner.w.numel()
    early, late = torch.arange(size) / size, torch.arange(size).flip(0) / size
    bounded(run, (early,))
    assert torch.equal(run.learner.frozen, early >= early.sort().values[-round(size / 4)])
    bounded(run, (late,))
    assert torch.equal(run.learner.frozen, late >= late.sort().values[-round(size / 4)])  # half of early counts less


@pytest.mark.parametrize("optimizer", ["training.momentum=0.9", "training.optimizer=adam"])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_frozen_weights_do_not_move_and_others_do(optimizer, share):
    run, kept = ready(f"consolidation(strength=0, frozen={share})", optimizer, "training.lr=0.01"), []
    begin = run.chain.begin_experience[0]

    def keep(learner, shown):
        begin(learner, shown)
        frozen = learner.frozen
        kept.append((learner.w.detach().clone(), None if frozen is None else frozen.clone()))

    run.chain.begin_experience = (keep,)
    run.train()
    assert kept[0][1] is None
    for (before, held), (after, _) in zip(kept[1:], [*kept[2:], (run.learner.w.detach(), None)], strict=True):
        assert int(held.sum()) == round(share * len(held))
        assert torch.equal(before[held], after[held])
        assert share == 1 or not torch.equal(before, after)


def test_without_frozen_weights_it_is_online_elastic_weight_consolidation():
    ours, theirs = trained("consolidation(strength=20, frozen=0)"), trained("ewc(strength=20, mode=online)")
    assert torch.equal(ours.learner.w, theirs.learner.w)
    assert same_trace(ours, theirs)
    assert not torch.equal(ours.learner.w, trained("naive").learner.w)


def test_without_strength_and_share_it_is_naive_bit_for_bit():
    ours, naive = trained("consolidation(strength=0, frozen=0)", "training.momentum=0.9"), trained(
        "naive", "training.momentum=0.9"
    )  # fmt: skip
    assert torch.equal(ours.learner.w, naive.learner.w)
    assert same_trace(ours, naive)
    joined, replay = trained("er + consolidation(strength=0, frozen=0)"), trained("er")
    assert torch.equal(joined.learner.w, replay.learner.w)


def test_it_joins_replay_and_other_penalties():
    joined = trained("er + consolidation(strength=1, frozen=0.3) + l2(strength=0.1)")
    assert int(joined.learner.frozen.sum()) == round(0.3 * joined.learner.w.numel())
    other_way = trained("er + l2(strength=0.1) + consolidation(strength=1, frozen=0.3)")
    torch.testing.assert_close(joined.learner.w, other_way.learner.w, rtol=1e-3, atol=1e-5)


def test_settings_without_a_published_value_have_to_be_given_and_boundaries_visible():
    for wrong in ("consolidation(frozen=0.5)", "consolidation(strength=-1)", "consolidation(frozen=1.5)"):
        with pytest.raises(Refused, match=r"strength|frozen"):
            ready(wrong, "defaults={}")
    with pytest.raises(Skip, match="visible boundaries"):
        ready("consolidation", "stream.boundaries=false")
    assert_same(everything(trained("consolidation", seed=1)), everything(trained("consolidation", seed=1)))
