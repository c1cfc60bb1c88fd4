"""Methods on numbers: runs against plain loops over torch parameters, which share the orders of rows alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numbers_data import ready, trained
from torch import Tensor
from torch.nn import functional as F

from clbench.core.rng import Generator
from clbench.models import make
from clbench.running.prepared_run import Run

SEED, LR, SIZE = 3, 0.05, 30


class Plain:
    """A copy of a run's model, its rows, and standardised targets."""

    def __init__(self, run: Run) -> None:
        self.model = make({"name": "mlp", "hidden": [8]}, (5,), 2)
        self.model.load_state_dict(run.learner.model.state_dict())
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, lr=LR)
        train = run.stream.dataset.train
        target = train.target.astype(np.float64)
        self.x = torch.from_numpy(train.x)
        self.t = torch.from_numpy(((target - target.mean(0)) / target.std(0)).astype(np.float32))
        self.stream, self.order = run.stream, Generator(SEED, "order")

    def loss(self, rows: list[int]) -> Tensor:
        return F.mse_loss(self.model(self.x[rows]).logits, self.t[rows])

    def step(self, loss: Tensor, bend: Callable[[], None] = lambda: None) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        bend()
        self.optimizer.step()

    def batches(self):
        """(experience, pass, rows of the batch), for two passes over each experience."""
        for experience in self.stream:
            for epoch in range(2):
                permuted = experience.rows[self.order.permutation(len(experience))].tolist()
                for start in range(0, len(permuted), 16):
                    yield experience, epoch, permuted[start : start + 16]

    def gradient(self, rows: list[int]) -> list[Tensor]:
        return list(torch.autograd.grad(self.loss(rows), self.parameters))

    @property
    def w(self) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in self.parameters])


class Reservoir:
    """Algorithm R, from the memory's own randomness."""

    def __init__(self) -> None:
        self.kept: list = []
        self._offered, self._generator = 0, Generator(SEED, "memory/admit")

    def offer(self, items: list) -> None:
        for item in items:
            if len(self.kept) < SIZE:
                self.kept.append(item)
            elif (j := int(self._generator.uniform(1)[0] * (self._offered + 1))) < SIZE:
                self.kept[j] = item
            self._offered += 1


def same(run: Run, plain: Plain) -> None:
    run.train()
    torch.testing.assert_close(run.learner.w.detach(), plain.w, rtol=0, atol=2e-6)
    assert float((plain.w - trained("naive", seed=SEED).learner.w.detach()).abs().max()) > 1e-4


def test_er_equals_a_plain_loop():
    run = ready("er", seed=SEED)
    plain, memory, draw = Plain(run), Reservoir(), Generator(SEED, "part/Replay/0")
    for experience, epoch, rows in plain.batches():
        kept = memory.kept
        old = [kept[i] for i in draw.sample(len(kept), min(len(rows), len(kept)))] if experience.id else []
        plain.step(plain.loss(rows + old))
        if epoch == 0:
            memory.offer(rows)
    same(run, plain)


def test_derpp_equals_a_plain_loop():
    run = ready("derpp(alpha=0.3, beta=0.7)", seed=SEED)
    plain, memory, draw = Plain(run), Reservoir(), Generator(SEED, "part/DarkExperience/0")
    for _, _, rows in plain.batches():
        now = plain.model(plain.x[rows]).logits
        loss, kept = F.mse_loss(now, plain.t[rows]), list(memory.kept)
        if kept:
            dark = [kept[i] for i in draw.sample(len(kept), min(len(rows), len(kept)))]
            again = [kept[i][0] for i in draw.sample(len(kept), min(len(rows), len(kept)))]
            then = torch.stack([outputs for _, outputs in dark])
            loss = loss + 0.3 * F.mse_loss(plain.model(plain.x[[row for row, _ in dark]]).logits, then)
            loss = loss + 0.7 * plain.loss(again)
        plain.step(loss)
        memory.offer(list(zip(rows, now.detach(), strict=True)))
    same(run, plain)


def test_ewc_equals_a_plain_loop_with_the_penalty_in_the_loss():
    run = ready("ewc(strength=3)", seed=SEED)
    plain = Plain(run)
    quadratics: list[tuple[list[Tensor], list[Tensor]]] = []
    running = None
    for experience, _, rows in plain.batches():
        if running is not None and experience.id != running.id:
            quadratics.append(jacobians(plain, running.rows))
        running = experience
        loss = plain.loss(rows)
        for importances, anchors in quadratics:
            for p, f, a in zip(plain.parameters, importances, anchors, strict=True):
                loss = loss + 3 / 2 * (f * (p - a).square()).sum()
        plain.step(loss)
    same(run, plain)


def jacobians(plain: Plain, rows: np.ndarray) -> tuple[list[Tensor], list[Tensor]]:
    """Mean over rows of the summed squared gradients of both outputs, and the weights there."""
    total = [torch.zeros_like(p) for p in plain.parameters]
    for row in rows:
        for output in plain.model(plain.x[[row]]).logits[0]:
            gradients = torch.autograd.grad(output, plain.parameters, retain_graph=True)
            for f, g in zip(total, gradients, strict=True):
                f += g.square() / len(rows)
    return total, [p.detach().clone() for p in plain.parameters]


def test_agem_equals_a_plain_loop():
    run = ready("agem", seed=SEED)
    plain, memory, draw = Plain(run), Reservoir(), Generator(SEED, "part/AGEM/0")
    for experience, epoch, rows in plain.batches():
        earlier = [row for row, origin in memory.kept if origin < experience.id]

        def project(earlier=earlier, rows=rows) -> None:
            if not earlier:
                return
            reference = plain.gradient([earlier[i] for i in draw.sample(len(earlier), min(len(rows), len(earlier)))])
            dot = sum((p.grad * r).sum() for p, r in zip(plain.parameters, reference, strict=True))
            if dot < 0:
                length = sum((r * r).sum() for r in reference)
                for p, r in zip(plain.parameters, reference, strict=True):
                    p.grad -= dot / length * r

        plain.step(plain.loss(rows), project)
        if epoch == 0:
            memory.offer([(row, experience.id) for row in rows])
    same(run, plain)


ALL = ["joint", "cumulative", "er", "derpp(alpha=0.5, beta=0.5)", "ewc(strength=1)", "mas(strength=0.1)",
       "l2(strength=0.1)", "si(strength=0.01)", "agem", "gem", "gpm(threshold=0.5)", "mir", "l2m",
       "refresh(strength=1e-6)", "hft", "fpf(iters=20)", "k_fpf(iters=5, every=8)", "der(alpha=0.5)"]  # fmt: skip


@pytest.mark.parametrize("strategy", ALL)
def test_every_method_that_is_defined_for_numbers_learns_them(strategy):
    run = trained(strategy, "training.epochs=4", "stream.scenario=online", "stream.kind=iid", "stream.experiences=3")
    score = run.trace().score[:, 0]
    assert np.isfinite(score).all()
    assert score[-1] > score[0] + 0.2
    assert not [alarm for alarm in run.alarms() if "never" in alarm]


def test_mir_ranks_rows_by_the_rise_of_their_squared_error():
    from clbench.strategies.mir import interference

    run = trained("er")
    learner = run.learner
    index, draw = learner.memory.all().index[:, :8], learner.memory.all()
    rise = interference(learner, index, draw)
    g, w = learner.side_work.gradient(learner.batch(index)), learner.w.detach().clone()
    x, t = learner.raw(draw.index), learner.batch(draw.index).target

    def each() -> Tensor:
        with torch.no_grad():
            return (learner.model(x).logits - t).square().mean(1)

    before = each()
    learner.w.data.copy_(w - learner.lr * g)
    torch.testing.assert_close(rise, each() - before, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strategy", ["derpp(alpha=0.5, beta=0.5)", "ewc(strength=1, fisher=sampled)"])
def test_a_run_on_numbers_resumes_in_the_middle_of_an_experience_with_the_same_bits(strategy):
    whole, kept = ready(strategy, seed=SEED), []
    whole.train(lambda step, _: kept.append(whole.snapshot()) if step == 9 else None)
    resumed = ready(strategy, seed=SEED)
    resumed.restore(kept[0])
    resumed.train()
    assert torch.equal(resumed.learner.w, whole.learner.w)
    ours, theirs = resumed.evaluator.trace(), whole.evaluator.trace()
    for name in ("score", "spread", "further"):
        assert getattr(ours, name).tobytes() == getattr(theirs, name).tobytes()


def test_evaluations_change_nothing_of_what_is_learned_of_numbers():
    often, ends = (trained("er", f"evaluation.every={every}", seed=SEED).learner.w for every in (1, 0))
    assert torch.equal(often, ends)
