"""Variational binary weights: the KL divergence against autograd, whole runs against a plain loop, and a teacher."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, same_trace, train_until, trained
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.metrics.binary_perceptron import error_of_overlap, typical_error
from clbench.models.binary_layers import STRIDE, binary_layers
from clbench.running.prepare import Skip
from clbench.strategies.binary import joined

TOLD = "reveal=[length]"
FORM = "anneal=tanh, beta=10"
"""The defaults, written out because the small benchmark has others."""


def divergence(theta, anchor, beta):
    """KL(p_θ ‖ p_anchor), summed over weights, from the two probabilities of each."""
    up, old = torch.sigmoid(2 * beta * theta), torch.sigmoid(2 * beta * anchor)
    return (up * (up / old).log() + (1 - up) * ((1 - up) / (1 - old)).log()).sum()


@pytest.mark.parametrize(("beta", "strength"), [(0.5, 1.0), (3.0, 0.2)])
@pytest.mark.parametrize("kind", ["task", "step"])
def test_the_added_gradient_is_that_of_the_kl_divergence_over_the_number_of_samples(beta, strength, kind):
    run = ready(f"binary(anneal=constant, beta={beta}, strength={strength}, anchor={kind})")
    part, learner = run.chain.parts[0], run.learner
    part.attach(learner)
    anchor = learner.w.detach() + 0.3 * torch.randn(len(learner.w))
    part.state["anchor"] = [anchor.clone()]
    view = run.trainer.enter(run.stream[0])
    part.begin_experience(learner, view)
    samples = len(run.stream[0]) if kind == "task" else 7
    batch = learner.batch(view.index[:, :7])
    learner.g.fill_(0.5)
    part.gradient(learner, batch)
    theta = learner.w.detach().double().requires_grad_()
    divergence(theta, anchor.double(), beta).backward()
    assert torch.allclose(learner.g - 0.5, (strength / samples * theta.grad).float(), atol=1e-7)


def plain(run, *, beta_at, anchor_kind):
    """Train the fields of a run's network on its batches, by formulas written out here; return the fields (P,)."""
    modules = [layer for _, layer in binary_layers(run.learner.model)]
    layers = [layer.weight.detach().clone().double() for layer in modules]
    seen = []
    run.chain.batch += (lambda learner, batch: seen.append(batch),)
    ends = []
    run.chain.end_experience += (lambda learner, experience: ends.append(len(seen)),)
    run.train()
    anchor, previous = None, None
    for number, batch in enumerate(seen):
        if anchor_kind == "task" and number in ends:
            anchor = [field.clone() for field in layers]
        beta, fields = beta_at(number), [field.clone().requires_grad_() for field in layers]
        a = batch.x.flatten(1).double()
        for depth, field in enumerate(fields):
            mu = torch.tanh(beta * field)
            mean = a @ mu.T / math.sqrt(field.shape[1])
            variance = a**2 @ (1 - mu**2).T / field.shape[1]
            draw = torch.Generator().manual_seed((modules[depth].seed + number * STRIDE) % 2**63)
            z = mean + variance.sqrt() * torch.empty(mean.shape).normal_(generator=draw).double()
            a = z.relu() if depth < len(fields) - 1 else z
        loss = F.cross_entropy(batch.class_mask.masked(a), batch.y)
        reference = previous if anchor_kind == "step" else anchor
        if reference is not None:
            old = zip(fields, reference, strict=True)
            samples = len(batch) if anchor_kind == "step" else len(run.stream[sum(end <= number for end in ends)])
            loss = loss + sum(divergence(field, each, beta) for field, each in old) / samples
        loss.backward()
        previous = layers
        layers = [(field - 0.1 * field.grad).detach() for field in fields]
    return torch.cat([field.reshape(-1) for field in layers])


@pytest.mark.parametrize("anchor", ["task", "step"])
def test_a_run_is_that_of_a_plain_loop(anchor):
    run = ready(f"binary(anneal=tanh, anchor={anchor}, beta=2)", TOLD, "training.epochs=2")
    total = run.learner.total_steps
    expected = plain(run, beta_at=lambda n: 2 * math.tanh(0.1 + 2 * n / total), anchor_kind=anchor)
    assert torch.allclose(run.learner.w.detach().double(), expected, atol=2e-4)


def test_beta_rises_with_the_stream_and_at_the_end_of_each_pass_it_is_that_of_the_authors_code():
    run = ready(f"binary({FORM})", TOLD, "training.epochs=3", "training.drop_last=true")
    layers = [layer for _, layer in binary_layers(run.learner.model)]
    per_pass = [len(experience) // 16 for experience in run.stream]
    found = []
    run.chain.after_step += (lambda learner, batch: found.append([float(layer.beta) for layer in layers]),)
    run.train()
    assert {len(set(each)) for each in found} == {1}
    assert found[-1][0] == pytest.approx(10 * math.tanh(2.1))
    assert len(set(per_pass)) == 1, "this stream was chosen to have passes of one length"
    for number in range(1, 16):  # of 5 experiences with 3 passes
        assert found[number * per_pass[0] - 1][0] == pytest.approx(10 * math.tanh(0.1 + 2 / 15 * number))


def test_the_first_experience_has_no_anchor_and_each_end_sets_it():
    run = ready(f"binary({FORM})", TOLD)
    part = run.chain.parts[0]
    at_ends = []
    run.chain.begin_experience += (lambda learner, experience: at_ends.append(learner.w.detach().clone()),)
    run.chain.end_experience += (lambda learner, experience: at_ends.append(part.state["anchor"][0].clone()),)
    run.train()
    starts, anchors = at_ends[::2], at_ends[1::2]
    assert all(torch.equal(anchor, start) for anchor, start in zip(anchors, starts[1:], strict=False))
    now = torch.tanh(10 * math.tanh(2.1) * run.learner.w.detach())
    assert part.state["settled"] == pytest.approx(float((now.abs() > 0.99).float().mean()), abs=0.002)


def test_a_strength_of_zero_adds_nothing():
    free, never = (
        trained(f"binary({FORM}, strength=0)", TOLD),
        trained(f"binary({FORM}, strength=0, anchor=step)", TOLD),
    )
    assert torch.equal(free.learner.w, never.learner.w)
    assert not torch.equal(free.learner.w, trained(f"binary({FORM})", TOLD).learner.w)


@pytest.mark.parametrize("read_out", ["mean", "sign", "sample"])
def test_read_outs_are_of_means_of_signs_or_drawn(read_out):
    run = trained(f"binary({FORM}, read_out={read_out})", TOLD)
    x = run.evaluator.panels.panel(run.trainer.readout, 2, 4).x[:20]
    first, second = (layer for _, layer in binary_layers(run.learner.model))

    def logits(weights):
        hidden = (x.flatten(1) @ weights(first).T / math.sqrt(first.fan_in)).relu()
        return hidden @ weights(second).T / math.sqrt(second.fan_in)

    ways = {"mean": logits(lambda layer: layer.mean), "sign": logits(lambda layer: layer.sign)}
    with run.trainer.readout.undisturbed(training=False), torch.no_grad():
        found, again = (run.trainer.readout.output(x, None).logits for _ in range(2))
    if read_out == "sample":
        assert not torch.equal(found, again)
    else:
        assert torch.allclose(found, ways[read_out], atol=1e-5)
    assert [layer.read_out for layer in (first, second)] == ["mean", "mean"]


@pytest.mark.parametrize("read_out", ["mean", "sample"])
def test_evaluation_draws_nothing_that_training_would_draw(read_out):
    strategy = f"er + binary({FORM}, read_out={read_out})"
    often, seldom = trained(strategy, TOLD), trained(strategy, TOLD, "evaluation.schedule=ends")
    assert_same(everything(often), everything(seldom))


@pytest.mark.parametrize(
    "strategy",
    [f"binary({FORM}, read_out=sample)", f"binary({FORM}, anchor=step)", f"er + binary({FORM}) + ewc(strength=1)"],
)
def test_a_run_resumes_within_an_experience_bit_for_bit(strategy):
    changes = (TOLD, "training.momentum=0.9", "training.epochs=2")
    whole = trained(strategy, *changes)
    stopped = train_until(ready(strategy, *changes), 25)
    resumed = ready(strategy, *changes)
    resumed.restore(stopped.snapshot())
    resumed.train()
    assert_same(everything(whole), everything(resumed))
    assert same_trace(whole, resumed)


def test_what_a_stream_hides_is_named():
    for strategy, change, why in (
        (f"binary({FORM})", ("reveal=[]",), "the length of the stream"),
        ("binary(anneal=constant)", ("stream.boundaries=false",), "visible boundaries"),
    ):
        with pytest.raises(Skip, match=why):
            ready(strategy, *change)
    hidden = trained("binary(anneal=constant, beta=1, anchor=step)", "stream.boundaries=false")
    assert "anchor" in hidden.chain.parts[0].state


def test_a_model_without_layers_that_can_be_binary_is_refused():
    with pytest.raises(Refused, match="no layer that can have binary weights"):
        ready(f"binary({FORM}) + binary({FORM})", TOLD)
    with pytest.raises(Refused, match="beta"):
        ready("binary(beta=0)", TOLD)


def test_convolutions_and_norms_are_trained_together():
    run = trained(f"binary({FORM})", TOLD, "model={name: cnn, width: 4, hidden: 8, norm: batch}")
    kinds = {type(layer).__name__ for _, layer in binary_layers(run.learner.model)}
    assert kinds == {"BinaryLinear", "BinaryConv2d"}
    part = run.chain.parts[0]
    held = sum(len(field) for field in part.state["anchor"])
    assert held == sum(layer.weight.numel() for _, layer in binary_layers(run.learner.model)) < len(run.learner.w)
    assert len(part.state["anchor"]) > 1


def test_adjacent_slices_are_joined():
    assert joined([slice(7, 9), slice(0, 3), slice(3, 5)]) == [slice(0, 5), slice(7, 9)]


TEACHER = (
    "model={name: perceptron}",
    "training={optimizer: adam, lr: 0.02, batch_size: 10000, epochs: 500}",
    "evaluation.schedule=ends",
    "memory.size=0",
)
SEEDS = range(2)


def errors_of_a_student(correlation, seed):
    """Errors on the first task after each of two tasks, by the overlap of the signs of the fields with the teacher."""
    data = "{name: patterns, size: 301}"
    stream = f"stream={{scenario: teacher, dataset: {data}, alpha: [2, 2], correlation: {correlation}}}"
    run = ready("binary(anneal=constant, beta=1, strength=0.1)", stream, *TEACHER, seed=seed)
    first, found = run.stream.tasks[0].teacher.weights, []

    def note(learner, experience):
        sign = np.where(learner.w.detach().numpy() >= 0, 1.0, -1.0)
        found.append(float(error_of_overlap(np.array(sign @ first / len(first)))))

    run.chain.end_experience += (note,)
    run.train()
    return found


@pytest.fixture(scope="module")
def students():
    """(correlation, seed) -> errors on the first task after the first and the second task."""
    return {(r0, seed): errors_of_a_student(r0, seed) for r0 in (0.5, 0.0, -0.5) for seed in SEEDS}


def test_with_twice_as_many_patterns_as_weights_a_student_has_the_error_of_the_theory(students):
    assert typical_error(2.0) == 0.0
    for error, _ in students.values():
        assert abs(error - typical_error(2.0)) <= 0.02


def test_the_first_task_is_forgotten_less_the_more_alike_the_teachers_are(students):
    half, none, opposed = (np.mean([students[r0, seed][1] for seed in SEEDS]) for r0 in (0.5, 0.0, -0.5))
    assert half + 0.02 < none
    assert none < opposed
