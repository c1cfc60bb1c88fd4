"""Parts whose answer replaces the model in training: the step and all side work run it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from support import ready, trained
from torch import nn
from torch.func import functional_call

from clbench.models.output import Output
from clbench.strategies.part import Part
from clbench.training.batch import TASK


@dataclass(kw_only=True)
class Own(Part):
    """Answers as the model does."""

    answers_in_training = True

    def answer(self, learner, x, task):
        return learner.model(x)


class Tasked(nn.Module):
    """A model and a factor of the features for each of five tasks."""

    def __init__(self, model):
        super().__init__()
        self.model, self.scale = model, nn.Parameter(1 + 0.3 * torch.randn(5, 16))

    @property
    def head(self):
        return self.model.head

    def forward(self, x):
        return self.model(x)


@dataclass(kw_only=True)
class PerTask(Part):
    answers_in_training = True

    def build(self, model, shape, n_outputs):
        return Tasked(model)

    def answer(self, learner, x, task):
        own = learner.model
        features = own.model.features(x) * own.scale[task]
        return Output(own.model.head(features), features)


def with_part(part):
    return lambda own: [*own, part]


TASKS = ("stream.setting=task",)


@pytest.mark.parametrize("strategy", ["naive", "er + ewc", "mas", "er + refresh", "lwf", "fpf", "mir", "der", "icarl"])
def test_an_answer_that_is_the_model_changes_no_bit(strategy):
    if strategy == "icarl":  # it answers itself
        return
    plain = trained(strategy)
    own = trained(strategy, alter=with_part(Own()))
    assert torch.allclose(plain.learner.w, own.learner.w, rtol=0, atol=1e-5)
    if strategy in ("naive", "lwf", "fpf", "mir", "der"):  # importances are summed in another order
        assert torch.equal(plain.learner.w, own.learner.w)


def test_weights_that_only_the_answer_uses_are_learned_for_their_task_alone():
    run = trained("naive", *TASKS, "stream.experiences=5", alter=with_part(PerTask()))
    begun = ready("naive", *TASKS, alter=with_part(PerTask()))
    before, after = (each.learner.model.scale.detach() for each in (begun, run))
    assert (before - after).abs().amax(1).gt(1e-4).all()
    first = run.stream[0]
    half = ready("naive", *TASKS, alter=with_part(PerTask()))
    half.shorten([0], 3, half.evaluator)
    half.train()
    moved = (half.learner.model.scale.detach() - before).abs().amax(1) > 0
    assert moved.tolist() == [task == int(first.task) for task in range(5)]


def answered_by_hand(learner, w, x, task):
    named = {name: w[place].view(p.shape) for (name, place), p in zip(
        learner.slices.items(), learner._flat.parameters, strict=True)}  # fmt: skip

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = learner.model

        def forward(self, x, task):
            features = self.net.model.features(x) * self.net.scale[task]
            return self.net.model.head(features)

    return functional_call(Whole(), {f"net.{name}": each for name, each in named.items()}, (x, task))


@pytest.fixture
def mixed():
    """A run of two tasks so far, with samples of both."""
    run = ready("er", *TASKS, alter=with_part(PerTask()))
    first, second = (run.trainer.enter(run.stream[number]) for number in (0, 1))
    index = torch.cat([first.index[:, :9], second.index[:, :7]], dim=1)
    return run.learner, index[:, torch.randperm(16, generator=torch.Generator().manual_seed(0))]


def test_side_work_runs_the_answer_with_the_task_of_each_sample(mixed):
    learner, index = mixed
    x, w = learner.raw(index), learner.w.detach()
    expected = answered_by_hand(learner, w, x, index[TASK])
    assert torch.allclose(learner.side_work.features(index).logits, expected, atol=1e-6)
    other = w + 0.01 * torch.randn(w.shape, generator=torch.Generator().manual_seed(1))
    expected = answered_by_hand(learner, other, x, index[TASK])
    assert torch.allclose(learner.side_work.features(index, w=other).logits, expected, atol=1e-6)
    forward = learner.side_work.forward(x, task=index[TASK], w=other)
    assert torch.allclose(forward.logits, expected, atol=1e-6)
    batch = learner.batch(index)
    assert torch.allclose(learner.run(batch).logits, answered_by_hand(learner, w, batch.x, index[TASK]), atol=1e-6)


@pytest.mark.parametrize("estimator", ["exact", "empirical"])
def test_importances_are_those_of_the_answer_sample_by_sample(mixed, estimator):
    learner, index = mixed
    w = learner.w.detach().clone().requires_grad_()
    masks = learner.classes.mask(index).competes
    total = torch.zeros_like(w)
    for n in range(index.shape[1]):
        logits = answered_by_hand(learner, w, learner.raw(index[:, n : n + 1]), index[TASK, n : n + 1])
        log_p = logits.masked_fill(~masks[n : n + 1], -torch.inf).log_softmax(1)[0]
        for unit in masks[n].nonzero().flatten().tolist() if estimator == "exact" else [int(index[1, n])]:
            (g,) = torch.autograd.grad(log_p[unit], w, retain_graph=True)
            total += g.square() * (log_p[unit].exp().detach() if estimator == "exact" else 1.0)
    found = learner.side_work.fisher(index, estimator=estimator)
    assert torch.allclose(found, total.detach() / index.shape[1], atol=1e-6)
    assert found[learner.slices["scale"]].view(5, 16).amax(1).gt(0).tolist() == [True, True, False, False, False]
    norms = learner.side_work.per_row(index, lambda logits: logits.square().sum(1), power="absolute")
    expected = torch.zeros_like(w)
    for n in range(index.shape[1]):
        logits = answered_by_hand(learner, w, learner.raw(index[:, n : n + 1]), index[TASK, n : n + 1])
        (g,) = torch.autograd.grad(logits[masks[n : n + 1]].square().sum(), w)
        expected += g.abs()
    assert torch.allclose(norms, expected / index.shape[1], atol=1e-5)


def test_the_gradient_on_the_side_is_that_of_the_answer(mixed):
    learner, index = mixed
    batch, w = learner.batch(index), learner.w.detach().clone().requires_grad_()
    logits = answered_by_hand(learner, w, batch.x, index[TASK])
    masked = logits.masked_fill(~batch.class_mask.competes, -torch.inf)
    (g,) = torch.autograd.grad(nn.functional.cross_entropy(masked, batch.y), w)
    assert torch.allclose(learner.side_work.gradient(batch), g, atol=1e-6)
