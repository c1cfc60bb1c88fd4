"""LwF: its term by hand, runs against plain loops in the three settings, and which rows and classes it touches."""

from __future__ import annotations

import math

import pytest
import torch
from plain_loop import SMALLER, learned_plainly
from support import ready, trained
from torch.nn import functional as F

from clbench.strategies.lwf import distillation

TASK = ("stream.setting=task", "model.heads=shared")
DOMAIN = ("stream.setting=domain",)


def test_the_term_by_hand_on_two_old_classes_and_a_new_one():
    # teacher's softmax over the old two: (1/4, 3/4) by logits (0, ln 3); the learner's: (1/2, 1/2), the new logit aside
    head, everyone = torch.tensor([True, True, False]), torch.ones(3, dtype=torch.bool)
    taught, logits = torch.tensor([[0.0, math.log(3), 9.0]]), torch.tensor([[1.0, 1.0, 1 + math.log(2)]])
    assert float(distillation(logits, taught, head, head)) == pytest.approx(math.log(2))
    # over all three the learner says (1/4, 1/4, 1/2), and the new class has target 0
    assert float(distillation(logits, taught, head, everyone)) == pytest.approx(math.log(4))


def test_its_gradient_is_the_learners_softmax_less_the_teachers_and_leaves_new_classes_alone():
    generator = torch.Generator().manual_seed(0)
    head = torch.tensor([True, True, True, False, False])
    taught, logits = (torch.randn(6, 5, generator=generator) for _ in range(2))
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(distillation(logits, taught, head, head), logits)
    torch.testing.assert_close(gradient[:, :3], (logits[:, :3].softmax(1) - taught[:, :3].softmax(1)) / 6)
    assert bool((gradient[:, 3:] == 0).all())


@pytest.mark.parametrize(
    ("written", "setting", "options"),
    [
        ("lwf", (), {}),
        ("lwf(strength=3, temperature=5, squared=true)", (), {"strength": 3 * 25, "temperature": 5}),
        ("lwf(softmax=seen)", (), {"padded": True}),
        ("lwf(compete=experience)", (), {"compete": True}),
        ("lwf(strength=2)", TASK, {"strength": 2}),
        ("lwf(strength=2, softmax=seen)", TASK, {"strength": 2}),
        ("lwf(strength=2)", DOMAIN, {"strength": 2}),
    ],
)
def test_a_run_of_lwf_equals_a_plain_loop(written, setting, options):
    run = ready(written, *SMALLER, *setting, seed=2)
    strength, temperature = options.get("strength", 1), options.get("temperature", 2)
    seen, heads, previous = [], [], []
    if setting == TASK:
        rivals = lambda classes: list(classes)  # noqa: E731
    else:
        rivals = lambda classes: list(classes) if options.get("compete") else seen  # noqa: E731

    def loss(model, x, y, experience):
        seen.extend(c for c in experience.classes if c not in seen)
        logits, among = model(x).logits, rivals(experience.classes)
        value = F.cross_entropy(logits[:, among], torch.tensor([among.index(int(c)) for c in y]))
        if not previous:
            return value
        with torch.no_grad():
            taught = torch.func.functional_call(model, previous[-1], (x,)).logits / temperature
        logits = logits / temperature
        for head in heads:
            q, p = taught[:, head].softmax(1), logits[:, head].softmax(1)
            if options.get("padded"):
                new = [c for c in seen if c not in head]
                q = torch.cat([q, torch.zeros(len(x), len(new))], 1)
                p = logits[:, head + new].softmax(1)
            value = value + strength * F.kl_div(p.log(), q, reduction="batchmean")  # the same gradient
        return value

    def end(model, x, experience):
        previous.append({name: p.detach().clone() for name, p in model.named_parameters()})
        if setting == TASK:
            heads.append(list(experience.classes))
        else:
            heads[:] = [list(seen)]

    plain = learned_plainly(run, seed=2, loss=loss, end=end)
    run.train()
    torch.testing.assert_close(run.learner.w.detach(), plain, rtol=0, atol=1e-5)
    assert float((plain - trained("naive", *SMALLER, *setting, seed=2).learner.w.detach()).abs().max()) > 1e-3


def test_every_earlier_task_is_a_head_where_labels_are_revealed_and_one_head_holds_all_classes_elsewhere():
    for setting, heads in ((TASK, 5), ((), 1), (DOMAIN, 1)):
        run = trained("lwf", *setting)
        kept = run.chain.parts[0].state["heads"]
        assert kept.shape == (heads, run.stream.n_outputs)
        assert bool((kept.sum(0) == 1).all())  # no class in two heads, none left out


def test_only_rows_of_the_stream_are_distilled():
    run, taught = ready("er + lwf"), []
    inner = run.learner.side_work.forward
    run.learner.side_work.forward = lambda x, **k: (taught.append(len(x)), inner(x, **k))[1]
    sizes = []
    run.chain.after_step += (lambda _, batch: sizes.append((len(batch.stream), len(batch))),)
    run.train()
    later = sizes[len(sizes) - len(taught) :]
    assert taught == [stream for stream, _ in later]
    assert sum(all_rows for _, all_rows in later) > sum(taught)


def test_at_the_boundary_the_term_pulls_nowhere():
    run = trained("lwf", "training.batch_size=8")
    learner, part = run.learner, run.chain.parts[0]
    batch = learner.batch(run.trainer.enter(run.stream[4]).index[:, :8])
    learner.g.zero_()
    part.loss(learner, batch, learner.model(batch.x)).backward()
    assert float(learner.g.abs().max()) < 1e-6


@pytest.mark.parametrize("optimizer", ["training.momentum=0.9", "training.optimizer=adam"])
@pytest.mark.parametrize(("method", "without"), [("lwf(strength=0)", "naive"), ("er + lwf(strength=0)", "er")])
def test_strength_zero_is_the_identity_bit_for_bit(method, without, optimizer):
    ours, theirs = (trained(s, "model.dropout=0.2", optimizer) for s in (method, without))
    assert torch.equal(ours.learner.w, theirs.learner.w)


def test_lwf_needs_boundaries_and_no_memory():
    from clbench.running.prepare import Skip

    with pytest.raises(Skip, match="needs visible boundaries"):
        ready("lwf", "stream.boundaries=false")
    assert not torch.equal(trained("lwf", "memory.size=0").learner.w, trained("naive", "memory.size=0").learner.w)
