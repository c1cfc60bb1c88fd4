"""Frozen batch normalisation: statistics that stay, gradients that follow, and everything else left alone."""

from __future__ import annotations

import pytest
import torch
from support import Disturbable, assert_same, everything, ready, train_until, trained
from torch import nn


def at_boundaries(run):
    """Buffers and weights at the end of every experience, by name."""
    ends = []

    def keep(learner, _):
        ends.append({n[n.index("layers") :]: t.clone() for n, t in learner.model.state_dict().items() if "layers" in n})

    run.chain.end_experience += (keep,)
    run.train()
    return ends


def test_the_first_experience_is_plain_and_the_statistics_never_move_after_it():
    ours, naive = (at_boundaries(ready(s, model=Disturbable)) for s in ("freeze_norm", "naive"))
    statistics = ("layers.2.running_mean", "layers.2.running_var", "layers.2.num_batches_tracked")
    assert_same(ours[0], naive[0])
    for end in ours[1:]:
        for name in statistics:
            assert torch.equal(end[name], ours[0][name])
        assert not torch.equal(end["layers.2.weight"], ours[0]["layers.2.weight"])
    assert not torch.equal(naive[1][statistics[0]], naive[0][statistics[0]])


def test_affine_weights_stay_too_where_asked_for_under_momentum_and_decay():
    changes = ("training.momentum=0.9", "training.weight_decay=0.01")
    ends = at_boundaries(ready("freeze_norm(affine=true)", *changes, model=Disturbable))
    for end in ends[1:]:
        for name in ("layers.2.weight", "layers.2.bias"):
            assert torch.equal(end[name], ends[0][name])
        assert not torch.equal(end["layers.1.weight"], ends[0]["layers.1.weight"])


class Normalised(Disturbable):
    """Without dropout, so that a gradient can be worked out again."""

    def __init__(self, shape, n_outputs):
        super().__init__(shape, n_outputs)
        self.layers[4] = nn.Identity()


def test_side_gradients_use_the_held_statistics_as_the_step_does():
    run = train_until(ready("freeze_norm", model=Normalised), 6)
    learner = run.learner
    batch = learner.batch(run.trainer.enter(run.stream[1]).index[:, :8])
    assert [m.training for m in learner.model.modules() if isinstance(m, nn.BatchNorm1d)] == [False]
    side = learner.side_work.gradient(batch)
    learner.model.eval()
    logits = learner.model(batch.x).logits.masked_fill(~learner.classes.seen, -torch.inf)
    parts = torch.autograd.grad(nn.functional.cross_entropy(logits, batch.y), learner._flat.parameters)
    torch.testing.assert_close(side, torch.cat([p.reshape(-1) for p in parts]))


@pytest.mark.parametrize("step", [6, 13])
def test_a_resumed_run_holds_the_statistics_from_its_first_step(step):
    changes = ("training.momentum=0.9",)
    whole = trained("freeze_norm", *changes, model=Disturbable)
    stopped = train_until(ready("freeze_norm", *changes, model=Disturbable), step)
    resumed = ready("freeze_norm", *changes, model=Disturbable)
    resumed.restore(stopped.snapshot())
    resumed.train()
    assert_same(everything(resumed), everything(whole))


def test_a_model_without_batch_normalisation_is_left_alone_bit_for_bit():
    assert torch.equal(trained("freeze_norm(affine=true)").learner.w, trained("naive").learner.w)


def test_a_resnet_with_batch_normalisation_keeps_all_its_statistics():
    run = ready("freeze_norm", "model={name: resnet, width: 2, norm: batch}", "stream.dataset.train_rows=50")
    ends = []
    run.chain.end_experience += (lambda learner, _: ends.append([b.clone() for b in learner.model.buffers()]),)
    run.train()
    assert len(ends[0]) > 30
    assert all(torch.equal(a, b) for a, b in zip(ends[0], ends[-1], strict=True))


def test_freeze_norm_needs_boundaries():
    from clbench.running.prepare import Skip

    with pytest.raises(Skip, match="needs visible boundaries"):
        ready("freeze_norm", "stream.boundaries=false")
