"""SI: two parameters by hand, a run against a plain loop, and what its path integral may see of other penalties."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from plain_loop import SMALLER, learned_plainly
from support import everything, numerical, ready, trained
from torch.nn import functional as F

from clbench.strategies.si import SI
from clbench.training.batch import Batch


def walked(part, steps):
    """A learner of two weights after steps of (task gradient, new weights), and the boundary behind them."""
    two = SimpleNamespace(w=torch.zeros(2), g=torch.zeros(2))
    part.begin_experience(two, None)
    for g, w in steps:
        batch = Batch(torch.zeros(5, 1, dtype=torch.int64), gather=None, class_mask=None)
        two.g = torch.tensor(g)
        part.gradient(two, batch)
        two.w = torch.tensor(w)
        part.after_step(two, batch)
    part.end_experience(two, None)
    return two


def test_two_parameters_by_hand():
    # ω = -(2·1 + 1·2, 4·(-1) + (-3)·(-1)) = (-4, 1); moved by (3, -2): Ω = (-4 / (9 + 1), 1 / (4 + 1))
    part = SI(strength=10, damping=1)
    two = walked(part, [([2.0, 4.0], [1.0, -1.0]), ([1.0, -3.0], [3.0, -2.0])])
    assert part.state["importance"].tolist() == pytest.approx([-0.4, 0.2])
    part.begin_experience(two, None)
    assert part.state["anchor"].tolist() == [3.0, -2.0]
    assert part.state["path"].tolist() == [0.0, 0.0]
    # at (4, 0) the penalty's gradient is 2 · 10 · Ω · (1, 2) = (-8, 8)
    two.w, two.g = torch.tensor([4.0, 0.0]), torch.tensor([0.5, 0.5])
    part.gradient(two, Batch(torch.zeros(5, 1, dtype=torch.int64), gather=None, class_mask=None))
    assert two.g.tolist() == pytest.approx([-7.5, 8.5])


def test_a_negative_importance_is_kept_or_set_to_zero_at_the_boundary():
    part = SI(strength=10, damping=1, negative="clamp")
    walked(part, [([2.0, 4.0], [1.0, -1.0]), ([1.0, -3.0], [3.0, -2.0])])
    assert part.state["importance"].tolist() == pytest.approx([0.0, 0.2])


def test_a_run_of_si_equals_a_plain_loop_with_the_penalty_in_the_loss():
    run = ready("si(strength=0.2, damping=0.01)", *SMALLER, seed=2)
    seen = torch.zeros(10, dtype=torch.bool)
    start = run.learner.w.detach().clone()
    memory = {"anchor": start, "omega": torch.zeros_like(start), "path": torch.zeros_like(start), "task": None}

    def flat(tensors):
        return torch.cat([t.reshape(-1) for t in tensors])

    def loss(model, x, y, experience):
        seen[list(experience.classes)] = True
        task = F.cross_entropy(model(x).logits.masked_fill(~seen, -torch.inf), y)
        memory["task"] = flat(torch.autograd.grad(task, list(model.parameters()), retain_graph=True))
        return task + 0.2 * (memory["omega"] * (flat(model.parameters()) - memory["anchor"]) ** 2).sum()

    def stepped(before, after):
        memory["path"] = memory["path"] - memory["task"] * (flat(after) - flat(before))

    def end(model, x, experience):
        w = flat(model.parameters()).detach()
        memory["omega"] = memory["omega"] + memory["path"] / ((w - memory["anchor"]) ** 2 + 0.01)
        memory["anchor"], memory["path"] = w, torch.zeros_like(w)

    plain = learned_plainly(run, seed=2, loss=loss, end=end, stepped=stepped)
    run.train()
    torch.testing.assert_close(run.learner.w.detach(), plain, rtol=0, atol=1e-5)
    torch.testing.assert_close(run.chain.parts[0].state["importance"], memory["omega"], rtol=1e-2, atol=1e-3)
    assert float((plain - trained("naive", *SMALLER, seed=2).learner.w.detach()).abs().max()) > 1e-3


@pytest.mark.parametrize("chain", ["si(strength=0.1)", "si(strength=0.1) + ewc", "ewc + l2 + si(strength=0.1)"])
def test_the_path_is_that_of_the_tasks_gradient_whatever_penalties_there_are(chain):
    run = ready(chain, "training.momentum=0.9", "training.lr=0.02")
    part = next(p for p in run.chain.parts if isinstance(p, SI))
    path, now, compared = torch.zeros_like(run.learner.g), {}, []

    def before(learner, batch):
        now.update(w=learner.w.detach().clone(), g=learner.side_work.gradient(batch))

    def after(learner, batch):
        path.add_(now["g"] * (now["w"] - learner.w.detach()))
        now["penalty"] = float((learner.g - now["g"]).norm())

    def compare(learner, _):
        torch.testing.assert_close(part.state["path"], path, rtol=1e-4, atol=1e-7)
        compared.append(now["penalty"])
        path.zero_()

    run.chain.before_step += (before,)
    run.chain.after_step += (after,)
    run.chain.end_experience = (compare, *run.chain.end_experience)
    run.train()
    assert len(compared) == 5
    assert min(compared[1:]) > 1e-3  # there was a penalty that could have been read by mistake


def test_the_penalty_has_no_half():
    run = trained("si(strength=0.3)")
    learner, state = run.learner, run.chain.parts[0].state
    learner.w.data.add_(torch.linspace(-1, 1, learner.w.numel()))
    learner.g.zero_()
    run.chain.gradient[0](learner, learner.batch(run.trainer.enter(run.stream[4]).index[:, :4]))
    penalty = numerical(lambda w: 0.3 * (state["importance"] * (w - state["anchor"]) ** 2).sum(), learner.w)
    torch.testing.assert_close(learner.g, penalty, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["training.momentum=0.9", "training.optimizer=adam"])
def test_strength_zero_is_the_identity_bit_for_bit_and_still_measures(optimizer):
    ours = trained("si(strength=0)", "model.dropout=0.2", optimizer)
    assert torch.equal(ours.learner.w, trained("naive", "model.dropout=0.2", optimizer).learner.w)
    assert float(everything(ours)["SI importance"].abs().sum()) > 0


def test_the_first_experience_feels_no_penalty_and_later_ones_do():
    ends = []
    for strategy in ("si(strength=0.1)", "naive"):
        run, kept = ready(strategy), []
        run.chain.end_experience += (lambda learner, _, kept=kept: kept.append(learner.w.detach().clone()),)
        run.train()
        ends.append(kept)
    assert torch.equal(ends[0][0], ends[1][0])
    assert not torch.equal(ends[0][1], ends[1][1])


def test_si_is_skipped_where_boundaries_are_hidden():
    from clbench.running.prepare import Skip

    with pytest.raises(Skip, match="needs visible boundaries"):
        ready("si", "stream.boundaries=false")


def test_paths_hold_the_stream_s_steps_alone_whatever_the_order_of_the_parts():
    first, last = (trained(s, "stream.experiences=2") for s in ("si + k_fpf", "k_fpf + si"))
    ours, theirs = (next(p for p in run.chain.parts if isinstance(p, SI)).state["importance"] for run in (first, last))
    assert torch.equal(ours, theirs)
