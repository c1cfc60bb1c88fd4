"""First-session adaptation: the loop of the adaptation, means by hand, and nothing learned without epochs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, trained
from torch.func import functional_call
from torch.nn import functional as F

from clbench.adapters.run_setup import Skip
from clbench.training.batch import Y

SMALL = "first_task(epochs=3, batch_size=16{})"
ENDS = ("evaluation.schedule=ends",)


@pytest.mark.parametrize("concatenate", ["true", "false"])
def test_without_epochs_it_is_the_nearest_class_mean_by_cosines(concatenate):
    wide = "model={name: vit, width: 8, depth: 2, attention_heads: 2}"
    ours = trained(f"first_task(epochs=0, concatenate={concatenate})", wide).evaluator.trace()
    theirs = trained("ncm(features=model, metric=cosine)", wide).evaluator.trace()
    assert np.array_equal(ours.score, theirs.score, equal_nan=True)


def test_the_adaptation_is_a_loop_of_its_own_on_the_first_experience_alone():
    run, drawn = ready(SMALL.format(""), *ENDS, "stream.order=fixed"), []
    part, learner = run.chain.parts[0], run.learner
    names, start = list(learner.slices), {n: p.detach().clone() for n, p in learner.model.named_parameters()}
    order = part.generator.permutation
    part.generator.permutation = lambda n: drawn.append(order(n)) or drawn[-1]
    index = run.trainer.enter(run.stream[0]).index
    run.train()
    theirs = {name: start[name].clone().requires_grad_() for name in names}
    optimizer = torch.optim.SGD(theirs.values(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    assert len(drawn) == 3
    for epoch, positions in enumerate(drawn):
        optimizer.param_groups[0]["lr"] = 0.01 * (1 + math.cos(math.pi * epoch / 3)) / 2
        for chosen in torch.from_numpy(positions).split(16):
            rows = index[:, chosen]
            logits = functional_call(learner.model, {**start, **theirs}, (learner.raw(rows),)).logits
            optimizer.zero_grad()
            F.cross_entropy(logits[:, :2], rows[Y]).backward()
            optimizer.step()
    for name in names:
        ours = dict(learner.model.named_parameters())[name].detach()
        if "head" not in name:
            torch.testing.assert_close(ours, theirs[name].detach(), atol=1e-6, rtol=1e-4)
            assert not torch.equal(ours, start[name]), name


def test_means_are_of_features_before_and_after_side_by_side():
    run = trained(SMALL.format(""), *ENDS, "stream.order=fixed")
    part, learner = run.chain.parts[0], run.learner
    index = run.trainer.enter(run.stream[2]).index
    x = learner.raw(index)
    with torch.no_grad():
        after = learner.model.eval()(x).features
    before = learner.side_work.forward(x, **part.state["before"]).features
    both = torch.cat([before, after], dim=1).double()
    assert not torch.allclose(before, after)
    for c in index[Y].unique().tolist():
        torch.testing.assert_close(part.state["mean"][c], both[index[Y] == c].mean(0), atol=1e-5, rtol=1e-5)
    alone = trained(SMALL.format(", concatenate=false"), *ENDS).chain.parts[0]
    assert alone.state["mean"].shape == (10, 8)


def test_later_experiences_and_further_passes_change_no_weight():
    run, kept = ready(SMALL.format(""), *ENDS, "training.epochs=2", "training.weight_decay=0.1"), []
    run.chain.begin_experience += (lambda learner, _: kept.append(learner.w.detach().clone()),)
    run.train()
    assert all(torch.equal(kept[0], w) for w in [*kept, run.learner.w.detach()])


@pytest.mark.parametrize("what", ["all", "norm+bias"])
def test_other_weights_can_be_adapted_and_no_others_move(what):
    run = ready(
        f"first_task(what='{what}', epochs=2, batch_size=16)", *ENDS, "model={name: resnet, width: 4, norm: batch}"
    )
    learner = run.learner
    start = {n: p.detach().clone() for n, p in learner.model.named_parameters()}
    run.train()
    moved = {n for n, p in learner.model.named_parameters() if not torch.equal(p.detach(), start[n])}
    assert moved <= set(learner.slices)
    assert any("head" not in name for name in moved)
    assert (len(moved) == len(start)) == (what == "all")


def test_it_resumes_after_the_adaptation():
    run, kept = ready(SMALL.format("")), []
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 10 else None)
    resumed = ready(SMALL.format(""))
    resumed.restore(kept[0])
    resumed.train()
    assert_same(everything(resumed), everything(run))


def test_adapters_need_a_transformer_and_other_weights_do_not():
    with pytest.raises(Skip, match="needs a vision transformer, and the benchmark's model is none"):
        ready("first_task", "model={name: mlp}")
    trained("first_task(what=all, epochs=1)", "model={name: mlp, hidden: [8]}", *ENDS)
