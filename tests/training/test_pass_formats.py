"""Precision and memory format of a model's passes, against plain loops under ``torch.autocast``."""

from __future__ import annotations

import re

import pytest
import torch
from support import EVERY_STRATEGY, assert_same, everything, ready, trained
from torch import nn
from torch.nn import functional as F

from clbench.benchmark.schema import Training
from clbench.core.errors import Refused
from clbench.models.output import Output
from clbench.training.pass_formats import Autocast, set_formats

HALF = "training.precision=bfloat16"
STEPS = 12


class Conv(nn.Module):
    """A small network of convolutions that keeps the strides of what its layers read."""

    def __init__(self, shape, n_outputs):
        super().__init__()
        self.a, self.b = nn.Conv2d(shape[0], 6, 3, padding=1), nn.Conv2d(6, 4, 3)
        self.head = nn.Linear(4, n_outputs)
        self.strides = []

    def forward(self, x):
        self.strides = [x.stride()]
        features = F.relu(self.b(F.relu(self.a(x)))).mean((2, 3))
        return Output(self.head(features), features)


def conv(shape, n_outputs):
    return Conv(shape, n_outputs)


def batches(run, n=STEPS):
    """The first batches of a run's stream in its order, with augmentation left out."""
    experience = run.stream[0]
    shown = run.trainer.enter(experience)
    order = run.trainer.order(len(experience))
    size = run.learner.batch_size
    return [run.learner.batch(shown.index[:, order[k * size : (k + 1) * size]]) for k in range(n)]


def test_settings_at_their_defaults_stand_in_no_cell():
    options = {"precision", "channels_last", "accumulate", "compile"}
    assert not options & set(Training().canonical())
    written = Training(precision="bfloat16", channels_last=True, accumulate=2, compile=True).canonical()
    assert {name: written[name] for name in options} == {
        "precision": "bfloat16",
        "channels_last": True,
        "accumulate": 2,
        "compile": True,
    }


@pytest.mark.parametrize("precision", ["float16", "half"])
def test_another_precision_is_refused(precision):
    with pytest.raises(ValueError, match="precision"):
        Training(precision=precision)


def test_steps_are_those_of_a_plain_loop_under_autocast():
    run = ready("naive", HALF, "training.momentum=0.9")
    learner, model = run.learner, ready("naive", "training.momentum=0.9").learner.model
    optimizer = torch.optim.SGD(model.parameters(), lr=learner.lr, momentum=0.9)
    full = ready("naive", "training.momentum=0.9")
    for batch in batches(run):
        learner.g.zero_()
        learner.loss(batch, learner.run(batch)).backward()
        run.trainer.steps.step()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(batch.x).logits
        loss = F.cross_entropy(batch.class_mask.masked(logits.float()), batch.y)
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()
    theirs = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    torch.testing.assert_close(learner.w.detach(), theirs, rtol=1e-6, atol=1e-7)
    assert learner.w.dtype == learner.g.dtype == torch.float32
    for batch in batches(full):
        full.learner.g.zero_()
        full.learner.loss(batch, full.learner.run(batch)).backward()
        full.trainer.steps.step()
    gap = float((full.learner.w - learner.w).detach().abs().max())
    assert 1e-6 < gap < 0.05, "products are rounded, and only rounded"


def test_evaluations_compute_what_training_does():
    run, plain = ready("naive", HALF), ready("naive")
    x = batches(run, 1)[0].x.repeat(8, *(1 for _ in run.stream.dataset.shape))  # enough for faster kernels
    assert len(x) >= 64
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = plain.learner.model(x).logits.float()
    with torch.no_grad():
        shown = run.trainer.readout.output(x, None)
        whole = plain.trainer.readout.output(x, None).logits
    assert torch.equal(shown.logits, expected)
    assert shown.logits.dtype == shown.features.dtype == torch.float32
    assert not torch.equal(shown.logits, whole)


def test_a_failed_pass_leaves_no_context_open():
    model = nn.Linear(3, 2)
    cast = Autocast("cpu", torch.bfloat16)
    model.register_forward_pre_hook(cast.begin)
    model.register_forward_hook(cast.end, always_call=True)
    with pytest.raises(RuntimeError):
        model(torch.zeros(1, 5))
    assert not torch.is_autocast_enabled("cpu")
    assert not cast._open


@pytest.mark.parametrize("strategy", ["er + ewc + lwf", "mas(strength=0.1) + agem", "icarl", "slda", "gpm"])
def test_strategies_learn_in_bfloat16_and_are_the_same_twice(strategy):
    first, second = trained(strategy, HALF), trained(strategy, HALF)
    assert_same(everything(first), everything(second))
    assert first.learner.w.dtype == torch.float32
    assert torch.isfinite(first.learner.w).all()


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_every_strategy_learns_in_bfloat16(strategy):
    run = trained(strategy, HALF)
    assert torch.isfinite(run.learner.w).all()
    assert run.learner.w.dtype == torch.float32


def test_answers_of_a_part_are_computed_in_bfloat16_too():
    seen = []
    cast = Autocast("cpu", torch.bfloat16)

    def answer(learner, x, task):
        made = x @ x.T
        seen.append(made.dtype)
        return Output(made, x.bfloat16())

    output = cast.around(answer)(None, torch.ones(2, 3), None)
    assert seen == [torch.bfloat16]
    assert output.logits.dtype == output.features.dtype == torch.float32


def test_images_pass_the_model_channels_last_and_the_steps_are_those_of_a_plain_loop():
    run = ready("naive", "training.channels_last=true", model=conv)
    model = ready("naive", model=conv).learner.model
    learner = run.learner
    optimizer = torch.optim.SGD(model.parameters(), lr=learner.lr)
    for batch in batches(run):
        learner.g.zero_()
        learner.loss(batch, learner.run(batch)).backward()
        run.trainer.steps.step()
        optimizer.zero_grad(set_to_none=False)
        F.cross_entropy(batch.class_mask.masked(model(batch.x).logits), batch.y).backward()
        optimizer.step()
    theirs = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    torch.testing.assert_close(learner.w.detach(), theirs, rtol=1e-5, atol=1e-6)
    run.learner._flat.check(learner.model)


def test_channels_last_is_the_stride_that_layers_read():
    run = ready("naive", "training.channels_last=true", model=conv)
    x = torch.rand(4, 3, 8, 8)
    seen = []
    run.learner.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with pytest.raises(RuntimeError):  # the small benchmark has one channel, and these have three
        run.learner.model(x)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert not seen[0].is_contiguous()
    assert torch.equal(seen[0], x)


@pytest.mark.parametrize("strategy", ["er + ewc", "mas(strength=0.1)"])
def test_importances_are_computed_with_channels_last(strategy):
    last, first = trained(strategy, "training.channels_last=true", model=conv), trained(strategy, model=conv)
    torch.testing.assert_close(last.learner.w, first.learner.w, rtol=1e-3, atol=1e-4)


def test_channels_last_without_images_is_refused():
    with pytest.raises(Refused, match=re.escape("training.channels_last is for images")):
        set_formats(nn.Linear(3, 2), Training(channels_last=True), shape=(3,), device="cpu")
