"""A factor of the learning rate for a kind of weights multiplies the change of its steps, whatever the optimiser."""

from __future__ import annotations

import pytest
import torch
from support import assert_same, everything, ready, train_until, trained

from clbench.benchmark.schema import Training
from clbench.core.errors import Refused

OPTIMIZERS = {
    "sgd": ("training.optimizer=sgd",),
    "decay": ("training.weight_decay=0.1",),
    "momentum": ("training.momentum=0.9", "training.weight_decay=0.1"),
    "nesterov": ("training.optimizer={sgd: {nesterov: true}}", "training.momentum=0.9"),
    "adam": ("training.optimizer=adam", "training.lr=0.01", "training.weight_decay=0.1"),
    "adamw": ("training.optimizer=adamw", "training.lr=0.01", "training.weight_decay=0.1"),
}


def change(*changes, warm=3):
    """The change of the weights by the fourth of four steps, whose weights and gradients are the same for all changes.

    Returned beside the learner.
    """
    run = ready("naive", *changes)
    learner, steps = run.learner, run.trainer.steps
    began = learner.w.detach().clone()
    generator = torch.Generator().manual_seed(0)
    for _ in range(warm + 1):
        learner.w.data.copy_(began)
        learner.g.normal_(generator=generator)
        steps.step()
    return (learner.w.detach() - began).double(), learner


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("factor", [0.01, 0.5, 3.0])
def test_the_body_moves_as_far_as_its_factor_says_and_the_head_as_before(optimizer, factor):
    whole, learner = change(*optimizer)
    part, _ = change(*optimizer, ("training.lr_scale", {"body": factor}))
    body = ~learner.head_mask
    assert whole[body].any()
    rounding = 2e-7 * float(learner.w.detach().abs().max())
    torch.testing.assert_close(part[body], factor * whole[body], rtol=1e-6, atol=(1 + factor) * rounding)
    assert torch.equal(part[~body], whole[~body])


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_factor_of_zero_leaves_bits_even_of_negative_zeros(optimizer):
    run = ready("er", *optimizer, ("training.lr_scale", {"body": 0}))
    learner = run.learner
    body = ~learner.head_mask
    learner.w.data[:3] = -0.0
    before = learner.w.detach().clone().view(torch.int32)
    run.train()
    after = learner.w.detach().view(torch.int32)
    assert torch.equal(before[body], after[body])
    assert not torch.equal(before[~body], after[~body])


def test_the_step_that_is_said_is_the_one_that_is_made_and_asking_changes_nothing():
    changes = ("training.optimizer=adam", "training.clip_norm=1", ("training.lr_scale", {"body": 0.1}))
    asking, pairs, kept = ready("er", *changes), [], {}

    def ask(learner, batch):
        kept.update(said=learner.would_be_step(), before=learner.w.detach().clone())

    def compare(learner, batch):
        pairs.append((kept["said"], learner.w.detach() - kept["before"]))

    asking.chain.gradient += (ask,)
    asking.chain.after_step += (compare,)
    asking.train()
    assert len(pairs) > 10
    assert all(torch.equal(said, made) for said, made in pairs)
    assert_same(everything(trained("er", *changes)), everything(asking))


def test_optimizers_over_single_parameters_make_the_same_steps():
    scale = ("training.lr_scale", {"body": 0.01, "fc1": 0.5})
    flat, single = ready("naive", "training.optimizer=adam", scale), ready("naive", "training.optimizer=adam", scale)
    other = single.learner.another_optimizer()
    for step in range(3):
        for learner in (flat.learner, single.learner):
            learner.g.normal_(generator=torch.Generator().manual_seed(step))
        flat.trainer.steps.step()
        other.step()
    torch.testing.assert_close(flat.learner.w, single.learner.w, rtol=0, atol=1e-9)


def test_kinds_count_before_the_body_and_factors_of_parts_multiply():
    run = ready("naive", "training.lr=1", "model.hidden=[8, 8]", ("training.lr_scale", {"body": 0.5, "fc1": 0.25}))
    learner = run.learner
    learner.scale_steps({"head": 0.5, "body": 0.5})
    learner.w.data.zero_()
    learner.g.fill_(-16.0)
    run.trainer.steps.step()
    first, second, head = (learner.w[place] for place in list(learner.slices.values())[::2])
    assert [part.unique().tolist() for part in (first, second, head)] == [[2.0], [4.0], [8.0]]


def test_frozen_weights_stay_and_the_others_are_scaled():
    run = ready("naive", "training.lr=1", ("training.lr_scale", {"body": 0.5}))
    learner = run.learner
    frozen = torch.zeros_like(learner.g, dtype=torch.bool)
    frozen[:5] = True
    learner.freeze("first", frozen)
    learner.w.data.fill_(-0.0)
    learner.g.fill_(-2.0)
    run.trainer.steps.step()
    assert learner.w[:5].detach().view(torch.int32).unique().tolist() == [-(2**31)]
    assert learner.w[5:10].unique().tolist() == [1.0]


def test_a_run_goes_on_from_its_middle_bit_for_bit():
    changes = ("training.optimizer=adam", ("training.lr_scale", {"body": 0.1}))
    whole = trained("er", *changes)
    stopped = train_until(ready("er", *changes), 7)
    resumed = ready("er", *changes)
    resumed.restore(stopped.snapshot())
    resumed.train()
    assert_same(everything(whole), everything(resumed))


def test_factors_stand_in_a_cell_only_where_one_is_not_1():
    assert "lr_scale" not in Training().canonical()
    assert "lr_scale" not in Training(lr_scale={"body": 1, "norm": 1.0}).canonical()
    assert Training(lr_scale={"norm, bias": 1, "body": 0.01}).canonical()["lr_scale"] == {
        "body": 0.01,
        "norm+bias": 1.0,
    }


@pytest.mark.parametrize(
    ("factors", "says"),
    [
        ({"body": -1}, "at least 0"),
        ({"body": float("nan")}, "at least 0"),
        ({"body": "small"}, "at least 0"),
        (0.01, "a factor for each kind"),
        ({"attention": 0.1}, "names no modules of this model"),
        ({"fc": 0.1, "fc1": 0.2}, "overlap"),
    ],
)
def test_a_wrong_factor_is_refused_before_training(factors, says):
    with pytest.raises(Refused, match=says):
        ready("naive", ("training.lr_scale", factors))
