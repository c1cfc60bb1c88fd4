"""MIR: which rows it retrieves, against a plain loop; that choosing leaves no trace; and its reduction to ER."""

from __future__ import annotations

import pytest
import torch
from support import Disturbable, batches, ready, same_trace, train_until, trained
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.models import make
from clbench.running.prepare import Skip
from clbench.strategies.mir import interference
from clbench.training.batch import EXPERIENCE
from clbench.training.replay_buffer import Draw


def test_interference_of_a_linear_model_is_the_one_worked_out_by_hand():
    """Two inputs, two classes, no bias, weights 0: p = 1/2 everywhere, so that the step on (x, class 0) moves the
    difference of the logits on any x' by lr · (x · x')."""

    class Linear(torch.nn.Module):
        def __init__(self, shape, n_outputs):
            super().__init__()
            self.head = torch.nn.Linear(64, n_outputs, bias=False)
            torch.nn.init.zeros_(self.head.weight)

        def forward(self, x):
            return self.head(x.flatten(1))

    run = ready("mir", "training.lr=0.5", model=Linear)
    learner = run.learner
    index = run.trainer.enter(run.stream[0]).index
    first, others = index[:, :1], index[:, 1:9]
    found = interference(learner, first, Draw(torch.arange(8), others))
    x = torch.from_numpy(run.stream.dataset.train.x)[index[0]].flatten(1) / 16
    moved = 0.5 * (x[1:9] @ x[0])
    against = torch.where(others[1] == first[1], -1.0, 1.0)
    torch.testing.assert_close(found, torch.log1p(torch.exp(against * moved)) - torch.log(torch.tensor(2.0)))


def test_a_run_equals_a_plain_loop_over_torch_parameters():
    run = ready("mir", "training.epochs=2", "training.batch_size=8", seed=4)
    model, ahead = (make({"name": "mlp", "hidden": [16]}, (1, 8, 8), 10) for _ in range(2))
    model.load_state_dict(run.learner.model.state_dict())
    train = run.stream.dataset.train
    x, y = torch.from_numpy(train.x) / 16, torch.from_numpy(train.y)
    order, draw, dice = (Generator(4, p) for p in ("order", "part/InterferedRetrieval/0", "memory/admit"))
    kept: list[int] = []
    offered, seen = 0, torch.zeros(10, dtype=torch.bool)

    def step(network, rows, lr):
        loss = F.cross_entropy(network(x[rows]).logits.masked_fill(~seen, -torch.inf), y[rows])
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter -= lr * gradient

    for experience in run.stream:
        seen[list(experience.classes)] = True
        for epoch in range(2):
            permuted = experience.rows[order.permutation(len(experience))].tolist()
            for start in range(0, len(permuted), 8):
                new = permuted[start : start + 8]
                old = []
                if experience.id:
                    pool = [kept[i] for i in draw.sample(len(kept), min(5 * len(new), len(kept)))]
                    ahead.load_state_dict(model.state_dict())
                    step(ahead, new, 0.1)
                    with torch.no_grad():
                        before, after = (
                            F.cross_entropy(m(x[pool]).logits.masked_fill(~seen, -torch.inf), y[pool], reduction="none")
                            for m in (model, ahead)
                        )
                    worst = sorted(range(len(pool)), key=lambda i: -float(after[i] - before[i]))[: len(new)]
                    old = [pool[i] for i in worst]
                step(model, new + old, 0.1)
                if epoch == 0:
                    for row in new:
                        if len(kept) < 40:
                            kept.append(row)
                        elif (j := int(dice.uniform(1)[0] * (offered + 1))) < 40:
                            kept[j] = row
                        offered += 1
    run.train()
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    torch.testing.assert_close(run.learner.w.detach(), flat, rtol=0, atol=2e-6)


def test_with_as_many_candidates_as_rows_it_is_er_bit_for_bit():
    theirs = trained("er(rows=12)", "training.momentum=0.9", "model.dropout=0.3")
    ours = ready("mir(rows=12, candidates=12)", "training.momentum=0.9", "model.dropout=0.3")
    ours.chain.parts[0].generator = Generator(0, "part/Replay/0")
    ours.train()
    assert torch.equal(ours.learner.w, theirs.learner.w)
    assert same_trace(ours, theirs)


def test_choosing_leaves_weights_gradients_buffers_and_generators_as_they_were():
    run = train_until(ready("mir", "training.augment=crop", model=Disturbable), 9)
    learner = run.learner
    batch = learner.batch(run.trainer.enter(run.stream[2]).index[:, :16])
    learner.g.fill_(3.0)

    def everything():
        buffers = [b.clone() for b in learner.model.buffers()]
        return [learner.w.detach().clone(), learner.g.clone(), torch.get_rng_state(), *buffers], [
            m.training for m in learner.model.modules()
        ]

    before, modes = everything()
    augment = learner._rows.generator.get_state()
    run.chain.batch[0](learner, batch)
    after, modes_after = everything()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert modes == modes_after
    assert torch.equal(augment, learner._rows.generator.get_state())
    assert len(batch.sources[1]) == 16


def test_the_first_experience_draws_nothing_and_pool_earlier_leaves_out_the_running_one():
    for written, own in (("mir(rows=50)", True), ("mir(rows=50, pool=earlier)", False)):
        shares = []
        for batch in batches(ready(written, "memory.size=60", "training.epochs=2")):
            running = int(batch.index[EXPERIENCE, 0])
            replayed = batch.index[EXPERIENCE, len(batch.stream) :]
            assert len(replayed) == 0 or running > 0
            shares += (replayed == running).tolist()
        assert any(shares) == own


def test_the_summed_loss_has_two_coefficients_of_1():
    later = [b for b in batches(ready("mir(loss=sum)")) if len(b.sources) == 2]
    assert {tuple(s.coefficient for s in b.sources) for b in later} == {(1.0, 1.0)}


def test_hidden_boundaries_draw_from_all_of_memory():
    learned = batches(ready("mir(pool=earlier)", "stream.boundaries=false"))
    assert len(learned[0].sources) == 1
    assert all(len(b.sources) == 2 for b in learned[1:])


def test_it_needs_a_memory_and_at_least_as_many_candidates_as_rows():
    with pytest.raises(Skip, match="needs a replay buffer"):
        ready("mir", "memory.size=0")
    with pytest.raises(Refused, match="10 samples cannot be chosen among 5 candidates"):
        ready("mir(rows=10, candidates=5)")


def test_choosing_is_counted_in_the_cost():
    cost = trained("mir(candidates=32, rows=16)", "memory.size=40").learner.cost
    later = [b for b in batches(ready("mir(candidates=32, rows=16)")) if len(b.sources) == 2]
    assert cost.extra_forward_rows == sum(len(b.stream) + 2 * 32 for b in later)
    assert cost.extra_backward_rows == sum(len(b.stream) for b in later)


def test_the_step_that_is_imagined_leaves_alone_what_is_held_still():
    run = ready("mir")
    learner = run.learner
    first, second = run.trainer.enter(run.stream[0]), run.trainer.enter(run.stream[1])
    learner.memory.offer(first.index[:, :20])
    learner.freeze("mine", torch.ones_like(learner.w, dtype=torch.bool))
    rise = interference(learner, second.index[:, :16], learner.memory.all())
    assert rise.tolist() == [0.0] * 20
    learner.freeze("mine", None)
    assert float(interference(learner, second.index[:, :16], learner.memory.all()).abs().min()) > 0
