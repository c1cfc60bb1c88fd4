"""Distillation of predictions and features: targets by hand, runs against plain loops, and how the terms join."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from plain_loop import SMALLER, learned_plainly
from support import Disturbable, ready, trained
from torch.func import functional_call
from torch.nn import functional as F

import clbench
from clbench.core.errors import Refused
from clbench.strategies.chain import check
from clbench.strategies.pred_kd import PredKD

SIZES = {"small": (), "output all": ("stream.output=all",)}


def in_the_third(written, *changes):
    """A run at the first step of its third experience, moved a little from the boundary, and that step's batch."""
    run = ready(written, *changes)
    learner = run.learner
    for number in range(3):
        shown = run.trainer.enter(run.stream[number])
        for begin in run.chain.begin_experience:
            begin(learner, shown)
        noise = torch.randn(learner.w.shape, generator=torch.Generator().manual_seed(number))
        learner.w.data.add_(0.3 * noise)
        if number < 2:
            for end in run.chain.end_experience:
                end(learner, shown)
    run.trainer.hooks = run.chain
    return run, learner.batch(shown.index[:, :8])


def gradient(learner, scalar):
    """Of a scalar made by the model, (P,)."""
    parts = torch.autograd.grad(scalar, learner._flat.parameters, materialize_grads=True)
    return torch.cat([p.reshape(-1) for p in parts])


# ------------------------------------------------------------------------------------------------------- pred_kd


@pytest.mark.parametrize("strength", [0.0, 1.0, 2.5])
def test_the_gradient_in_the_logits_is_sigmoid_less_target_and_old_targets_are_the_teachers(strength):
    run, batch = in_the_third(f"pred_kd(strength={strength})")
    learner, part = run.learner, run.chain.parts[0]
    output = learner.model(batch.x)
    (got,) = torch.autograd.grad(part.objective(learner, batch, output), output.logits)
    present = learner.w.detach().clone()
    learner.w.data.copy_(part.state["previous"]["w"])
    taught = learner.model(batch.x).logits.detach().sigmoid()
    learner.w.data.copy_(present)
    said = output.logits.detach().sigmoid()
    for row in range(8):
        for c in range(10):
            if c in run.stream[0].classes + run.stream[1].classes:
                expected = strength * float(said[row, c] - taught[row, c]) / 8
            elif c in run.stream[2].classes:
                expected = float(said[row, c] - float(batch.y[row] == c)) / 8
            else:
                expected = 0.0  # not seen yet
            assert float(got[row, c]) == pytest.approx(expected, abs=1e-6)


def test_new_rows_push_old_logits_down_under_softmax_and_not_under_distilled_sigmoids():
    def pushed(written):
        run = trained(written)  # at a boundary the teacher is the learner itself
        learner = run.learner
        batch = learner.batch(run.trainer.enter(run.stream[4]).index[:, :8])
        output = learner.model(batch.x)
        run.trainer.hooks = run.chain
        (g,) = torch.autograd.grad(learner.loss(batch, output), output.logits)
        return g[:, [c for e in run.stream[:4] for c in e.classes]]

    assert bool((pushed("naive") > 0).all())
    run = trained("pred_kd")
    learner, part = run.learner, run.chain.parts[0]
    shown = run.trainer.enter(run.stream[4])
    part.begin_experience(learner, shown)
    batch = learner.batch(shown.index[:, :8])
    output = learner.model(batch.x)
    (g,) = torch.autograd.grad(part.objective(learner, batch, output), output.logits)
    assert float(g[:, [c for e in run.stream[:4] for c in e.classes]].abs().max()) < 1e-6


@pytest.mark.parametrize("changes", SIZES)
@pytest.mark.parametrize(("over_classes", "scale"), [("sum", 1.0), ("mean", 5.0)])
def test_a_run_of_pred_kd_equals_a_plain_loop(over_classes, scale, changes):
    run = ready(f"pred_kd(over_classes={over_classes}, scale={scale})", *SMALLER, *SIZES[changes], seed=2)
    seen, previous = [], []

    def loss(model, x, y, experience):
        seen.extend(c for c in experience.classes if c not in seen)
        logits, value = model(x).logits, 0.0
        live = list(range(10)) if changes == "output all" else seen
        with torch.no_grad():
            taught = functional_call(model, previous[-1], (x,)).logits if previous else None
        for c in live:
            old = c in seen and c not in experience.classes
            target = torch.sigmoid(taught[:, c]) if old else (y == c).float()
            p = torch.sigmoid(logits[:, c])
            value = value - (target * p.log() + (1 - target) * (1 - p).log()).mean()
        return scale * value / (len(live) if over_classes == "mean" else 1)

    def end(model, x, experience):
        previous.append({name: p.detach().clone() for name, p in model.named_parameters()})

    plain = learned_plainly(run, seed=2, loss=loss, end=end)
    run.train()
    torch.testing.assert_close(run.learner.w.detach(), plain, rtol=0, atol=1e-5)


def test_the_first_experience_has_no_teacher_and_rehearsed_rows_keep_their_coefficients():
    run = ready("pred_kd")
    learner, part = run.learner, run.chain.parts[0]
    shown = run.trainer.enter(run.stream[0])
    part.begin_experience(learner, shown)
    batch = learner.batch(shown.index[:, :6])
    batch.append(shown.index[:, 6:10], coefficient=0.25)
    batch.append(shown.index[:, 10:12], coefficient=0.0)
    batch.stream.coefficient = 3.0
    output = learner.model(batch.x)
    live, rows = [int(c) for c in learner.classes.seen.nonzero()], []
    for f, y in zip(output.logits.tolist(), batch.y.tolist(), strict=True):
        rows.append(sum(math.log1p(math.exp(-f[c] if c == y else f[c])) for c in live))
    by_hand = 3 * sum(rows[:6]) / 6 + 0.25 * sum(rows[6:10]) / 4
    assert part.objective(learner, batch, output).item() == pytest.approx(by_hand, rel=1e-5)


def test_rehearsed_rows_are_taught_like_those_of_the_stream():
    run, batch = in_the_third("pred_kd + er")
    learner, part = run.learner, run.chain.parts[0]
    replayed = run.trainer.enter(run.stream[0]).index[:, :4]
    run.trainer.enter(run.stream[2])
    batch.append(replayed)
    output = learner.model(batch.x)
    (got,) = torch.autograd.grad(part.objective(learner, batch, output), output.logits)
    taught = learner.side_work.forward(batch.x, **part.state["previous"]).logits.sigmoid()
    old = [c for e in run.stream[:2] for c in e.classes]
    torch.testing.assert_close(got[8:, old], ((output.logits.sigmoid() - taught) / 12)[8:, old])


def test_where_every_experience_holds_every_class_nothing_is_distilled():
    ours = trained("pred_kd", "stream.setting=domain")
    theirs = trained("pred_kd(strength=0)", "stream.setting=domain")
    assert not bool(ours.chain.parts[0].state["old"].any())
    assert torch.equal(ours.learner.w, theirs.learner.w)


def test_old_heads_are_taught_where_task_labels_hide_them_from_the_objective():
    run, batch = in_the_third("pred_kd", "stream.setting=task")
    learner, part = run.learner, run.chain.parts[0]
    output = learner.model(batch.x)
    (got,) = torch.autograd.grad(part.objective(learner, batch, output), output.logits)
    touched = [c for e in run.stream[:3] for c in e.classes]
    assert bool((got[:, touched] != 0).all())
    assert bool((got[:, [c for c in range(10) if c not in touched]] == 0).all())


def test_a_second_owner_of_the_objective_is_refused():
    @dataclass(kw_only=True)
    class Other(clbench.Part):
        owns = frozenset({"objective"})

    with pytest.raises(Refused, match="both set the objective"):
        check([PredKD(), Other()])


# ------------------------------------------------------------------------------------------------------- feat_kd


@pytest.mark.parametrize("over_features", ["mean", "sum"])
def test_a_run_of_feat_kd_equals_a_plain_loop(over_features):
    run = ready(f"feat_kd(strength=0.7, over_features={over_features})", *SMALLER, seed=2)
    seen, previous = torch.zeros(10, dtype=torch.bool), []

    def loss(model, x, y, experience):
        seen[list(experience.classes)] = True
        value = F.cross_entropy(model(x).logits.masked_fill(~seen, -torch.inf), y)
        if previous:
            with torch.no_grad():
                taught = functional_call(model, previous[-1], (x,)).features
            distances = ((model(x).features - taught) ** 2).sum(1)  # 8 features
            value = value + 0.7 * distances.mean() / (8 if over_features == "mean" else 1)
        return value

    def end(model, x, experience):
        previous.append({name: p.detach().clone() for name, p in model.named_parameters()})

    plain = learned_plainly(run, seed=2, loss=loss, end=end)
    run.train()
    torch.testing.assert_close(run.learner.w.detach(), plain, rtol=0, atol=1e-5)
    assert float((plain - trained("naive", *SMALLER, seed=2).learner.w.detach()).abs().max()) > 1e-3


def test_features_of_the_last_layer_alone_feel_no_pull():
    run, batch = in_the_third("feat_kd")
    learner, part = run.learner, run.chain.parts[0]
    pull = gradient(learner, part.loss(learner, batch, learner.model(batch.x)))
    assert bool((pull[learner.head_mask] == 0).all())
    assert float(pull.norm()) > 0


@pytest.mark.parametrize("optimizer", ["training.momentum=0.9", "training.optimizer=adam"])
@pytest.mark.parametrize(
    ("method", "without"), [("feat_kd(strength=0)", "naive"), ("pred_kd + feat_kd(strength=0)", "pred_kd")]
)
def test_strength_zero_is_the_identity_bit_for_bit(method, without, optimizer):
    ours, theirs = (trained(s, "model.dropout=0.2", optimizer) for s in (method, without))
    assert torch.equal(ours.learner.w, theirs.learner.w)


# ------------------------------------------------------------------------------------------------------- joined


@pytest.mark.parametrize("other", ["ewc(strength=3)", "l2(strength=0.2)", "feat_kd(strength=0.4)"])
def test_the_gradient_of_joined_parts_is_the_sum_of_their_gradients(other):
    run, batch = in_the_third(f"pred_kd + {other}")
    learner, (distil, second) = run.learner, run.chain.parts
    objective = gradient(learner, distil.objective(learner, batch, learner.model(batch.x)))
    if other.startswith("feat_kd"):
        term = gradient(learner, second.loss(learner, batch, learner.model(batch.x)))
    else:
        importance = 3 * second.state["importance"] if other.startswith("ewc") else 0.4 * second.state["held"]
        term = importance * (learner.w.detach() - second.state["anchor"])
    assert float(term.norm()) > 1e-3
    torch.testing.assert_close(learner.side_work.whole_gradient(batch), objective + term, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("other", ["ewc(strength=3)", "l2(strength=0.2)", "feat_kd(strength=0.4)", "freeze_norm"])
def test_the_order_in_which_parts_are_joined_does_not_matter(other):
    ours, theirs = (trained(s, model=Disturbable) for s in (f"pred_kd + {other}", f"{other} + pred_kd"))
    assert torch.equal(ours.learner.w, theirs.learner.w)
    assert not torch.equal(ours.learner.w, trained("pred_kd", model=Disturbable).learner.w)


@pytest.mark.parametrize("method", ["pred_kd", "feat_kd"])
def test_both_need_boundaries_and_no_memory(method):
    from clbench.running.prepare import Skip

    with pytest.raises(Skip, match="needs visible boundaries"):
        ready(method, "stream.boundaries=false")
    assert not torch.equal(trained(method, "memory.size=0").learner.w, trained("naive", "memory.size=0").learner.w)
