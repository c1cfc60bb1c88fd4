"""L2: its penalty's gradient against automatic differentiation, its extent and its anchor."""

from __future__ import annotations

import pytest
import torch
from support import numerical, ready, trained

HEAD = {"small": 16 * 10 + 10, "cnn": 8 * 10 + 10}
MODELS = {"small": (), "cnn": ("model={name: cnn, width: 2, hidden: 8}",)}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("head", [False, True])
def test_the_penalty_is_strength_times_the_squared_distance_without_the_head(head, model):
    run = ready(f"l2(strength=0.7, head={head})", *MODELS[model])
    learner, shown = run.learner, run.trainer.enter(run.stream[0])
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):  # only the last anchor counts
        learner.w.data.copy_(torch.randn(learner.w.shape, generator=generator))
        run.chain.end_experience[0](learner, shown)
    anchor = learner.w.detach().clone()
    learner.w.data.copy_(torch.randn(learner.w.shape, generator=generator))
    held = anchor.numel() if head else anchor.numel() - HEAD[model]  # the head's weights are the last ones

    def penalty(w):
        return 0.7 * (w - anchor)[:held].square().sum()

    learner.g.zero_()
    run.chain.gradient[0](learner, learner.batch(shown.index[:, :4]))
    torch.testing.assert_close(learner.g, numerical(penalty, learner.w))
    assert bool((learner.g[held:] == 0).all())


def test_the_first_experience_feels_no_penalty_and_later_ones_stay_nearer():
    moves = {}
    for strategy in ("l2(strength=1)", "naive"):
        run = ready(strategy, "training.epochs=3")
        ends: list[torch.Tensor] = []
        run.chain.end_experience = (
            *run.chain.end_experience,
            lambda learner, _, ends=ends: ends.append(learner.w.detach()[: -HEAD["small"]].clone()),
        )
        run.train()
        moves[strategy] = ends
    held, free = moves["l2(strength=1)"], moves["naive"]
    assert torch.equal(held[0], free[0])
    assert all(float((held[i] - held[i - 1]).norm()) < float((free[i] - free[i - 1]).norm()) for i in range(1, 5))


def test_a_huge_strength_with_a_small_step_pins_the_encoder():
    run = trained("l2(strength=500)", "training.lr=0.001")
    anchor = run.chain.parts[0].state["anchor"]
    drift = (run.learner.w.detach() - anchor)[: -HEAD["small"]].norm()
    assert float(drift) < 1e-3


def test_a_penalty_written_into_the_loss_gives_the_same_run():
    ours = trained("l2(strength=0.3, head=True)")
    theirs = ready("naive")
    anchors: list[torch.Tensor] = []
    theirs.chain.end_experience = (lambda learner, _: anchors.append(learner.w.detach().clone()),)
    theirs.chain.loss = (
        lambda learner, batch, output: 0.3 * (learner.w - anchors[-1]).square().sum() if anchors else None,
    )
    theirs.train()
    torch.testing.assert_close(ours.learner.w, theirs.learner.w, rtol=0, atol=2e-6)
    assert not torch.equal(ours.learner.w, trained("naive").learner.w)


def test_from_the_start_the_first_experience_is_held_near_the_initial_weights():
    run = ready("l2(strength=0.4, head=True, from_start=True)")
    start = run.learner.w.detach().clone()
    theirs, ends = ready("naive"), []
    theirs.chain.end_experience = (lambda learner, _: ends.append(learner.w.detach().clone()),)
    theirs.chain.loss = (lambda learner, *_: 0.4 * (learner.w - (ends[-1] if ends else start)).square().sum(),)
    run.train()
    theirs.train()
    torch.testing.assert_close(run.learner.w, theirs.learner.w, rtol=0, atol=2e-6)
    assert not torch.equal(run.learner.w, trained("l2(strength=0.4, head=True)").learner.w)
