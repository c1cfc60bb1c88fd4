"""EWC: its penalty's gradient against automatic differentiation of the formula, and a run against a plain loop."""

from __future__ import annotations

import pytest
import torch
from support import everything, numerical, ready, trained
from torch.nn import functional as F

from clbench.core.rng import Generator
from clbench.models import make
from clbench.training.side_work import SideWork


def at_three_boundaries(written: str):
    """A run after three experiences with known importances (P,) and anchors (P,), at new weights."""
    run = ready(written)
    learner, generator = run.learner, torch.Generator().manual_seed(0)
    shape = learner.w.shape
    importances = [torch.rand(shape, generator=generator).square() for _ in range(3)]
    importances[1][:50] = 0.0  # where one task does not care
    for fisher in importances:
        fisher[:10] = 0.0  # where none does
    anchors = [torch.randn(shape, generator=generator) for _ in range(3)]
    shown = run.trainer.enter(run.stream[0])
    for fisher, anchor in zip(importances, anchors, strict=True):
        learner.side_work.fisher = lambda index, fisher=fisher, **_: fisher.clone()
        learner.w.data.copy_(anchor)
        run.chain.end_experience[0](learner, shown)
    learner.w.data.copy_(torch.randn(shape, generator=generator))
    return run, importances, anchors


def penalty_gradient(run) -> torch.Tensor:
    run.learner.g.zero_()
    run.chain.gradient[0](run.learner, run.learner.batch(run.trainer.enter(run.stream[1]).index[:, :4]))
    return run.learner.g.clone()


def test_the_penalty_is_half_the_strength_times_the_sum_of_separate_quadratics():
    run, importances, anchors = at_three_boundaries("ewc(strength=7)")

    def penalty(w):
        terms = [(f * (w - a).square()).sum() for f, a in zip(importances, anchors, strict=True)]
        return 7 / 2 * sum(terms)

    torch.testing.assert_close(penalty_gradient(run), numerical(penalty, run.learner.w), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gamma", [1.0, 0.6, 0.0])
def test_the_online_penalty_has_one_anchor_and_decays_old_importance(gamma):
    run, (first, second, third), anchors = at_three_boundaries(f"ewc(strength=7, mode=online, gamma={gamma})")
    importance = gamma * (gamma * first + second) + third

    def penalty(w):
        return 7 / 2 * gamma * (importance * (w - anchors[2]).square()).sum()

    torch.testing.assert_close(penalty_gradient(run), numerical(penalty, run.learner.w), rtol=1e-4, atol=1e-5)


def test_separate_and_online_agree_after_one_boundary_and_differ_after_two():
    separate, online = (ready(f"ewc(strength=7, mode={mode})") for mode in ("separate", "online"))
    weights = []
    for run in (separate, online):
        kept: list[torch.Tensor] = []
        run.chain.after_step = (lambda learner, _, kept=kept: kept.append(learner.w.detach().clone()),)
        run.train()
        weights.append(kept)
    switch = sum(-(-len(e) // 16) for e in separate.stream[:2])
    assert torch.equal(weights[0][switch - 1], weights[1][switch - 1])
    assert not torch.equal(weights[0][-1], weights[1][-1])


def test_two_parameters_by_hand():
    # F_1 = (1, 4) at (0, 0), F_2 = (3, 0) at (2, 9); at w = (1, 1): 10 (1·1 + 3·(1 - 2), 4·1) = (-20, 40)
    run = ready("ewc(strength=10)")
    part = run.chain.parts[0]

    class Two:
        w, g = torch.zeros(2), torch.zeros(2)

        @property
        def side_work(self):
            return self

        def fisher(self, *_, **__):
            return self.importance

    two, shown = Two(), run.trainer.enter(run.stream[0])
    for importance, anchor in (([1.0, 4.0], [0.0, 0.0]), ([3.0, 0.0], [2.0, 9.0])):
        two.importance, two.w = torch.tensor(importance), torch.tensor(anchor)
        part.end_experience(two, shown)
    two.w = torch.tensor([1.0, 1.0])
    part.gradient(two, None)
    assert two.g.tolist() == pytest.approx([-20.0, 40.0])


def test_the_first_experience_feels_no_penalty():
    kept = []
    for strategy in ("ewc(strength=10)", "naive"):
        run = ready(strategy)
        w: list[torch.Tensor] = []
        run.chain.after_step = (lambda learner, _, w=w: w.append(learner.w.detach().clone()),)
        run.train()
        kept.append(w)
    first = -(-len(run.stream[0]) // 16)
    assert torch.equal(kept[0][first - 1], kept[1][first - 1])
    # the first step of the second experience starts at the anchor, where the penalty has no gradient
    assert torch.equal(kept[0][first], kept[1][first])
    assert not torch.equal(kept[0][first + 1], kept[1][first + 1])


@pytest.mark.parametrize("estimator", ["exact", "empirical"])
def test_a_run_of_ewc_equals_a_plain_loop_with_the_penalty_in_the_loss(estimator):
    written = f"ewc(strength=3, fisher={estimator})"
    run = ready(written, "model.hidden=[8]", "stream.dataset.train_rows=100", "training.epochs=2", seed=2)
    model = make({"name": "mlp", "hidden": [8]}, (1, 8, 8), 10)
    model.load_state_dict(run.learner.model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train = run.stream.dataset.train
    x, y = torch.from_numpy(train.x) / 16, torch.from_numpy(train.y)
    order, seen = Generator(2, "order"), torch.zeros(10, dtype=torch.bool)
    quadratics: list[tuple[list[torch.Tensor], list[torch.Tensor]]] = []
    parameters = list(model.parameters())

    def log_p(rows):
        return model(x[rows]).logits.masked_fill(~seen, -torch.inf).log_softmax(1)

    for experience in run.stream:
        seen[list(experience.classes)] = True
        for _ in range(2):
            permuted = experience.rows[order.permutation(len(experience))]
            for start in range(0, len(permuted), 16):
                rows = permuted[start : start + 16]
                loss = F.nll_loss(log_p(rows), y[rows])
                for importances, anchors in quadratics:
                    for p, f, a in zip(parameters, importances, anchors, strict=True):
                        loss = loss + 3 / 2 * (f * (p - a).square()).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        importances = [torch.zeros_like(p) for p in parameters]
        for row in experience.rows:
            each = log_p([row])[0]
            labels = [int(y[row])] if estimator == "empirical" else experience_classes(seen)
            for c in labels:
                share = 1.0 if estimator == "empirical" else each[c].exp().detach()
                gradients = torch.autograd.grad(each[c], parameters, retain_graph=True)
                for f, g in zip(importances, gradients, strict=True):
                    f += share * g.square() / len(experience)
        quadratics.append((importances, [p.detach().clone() for p in parameters]))
    run.train()
    flat = torch.cat([p.detach().reshape(-1) for p in parameters])
    torch.testing.assert_close(run.learner.w.detach(), flat, rtol=0, atol=1e-5)
    assert float((flat - trained("naive", *CHANGES, seed=2).learner.w.detach()).abs().max()) > 1e-3


CHANGES = ("model.hidden=[8]", "stream.dataset.train_rows=100", "training.epochs=2")


def experience_classes(seen: torch.Tensor) -> list[int]:
    return seen.nonzero()[:, 0].tolist()


def test_the_fisher_is_estimated_on_rows_of_the_experience_that_ends(monkeypatch):
    asked: list[torch.Tensor] = []
    inner = SideWork.fisher
    monkeypatch.setattr(
        SideWork, "fisher", lambda self, index, **options: (asked.append(index[0]), inner(self, index, **options))[1]
    )
    run = trained("ewc(rows=7)")
    for rows, experience in zip(asked, run.stream, strict=True):
        assert rows.unique().numel() == 7
        assert set(rows.tolist()) <= set(experience.rows.tolist())
    asked.clear()
    run = trained("ewc")
    assert [sorted(rows.tolist()) for rows in asked] == [sorted(e.rows.tolist()) for e in run.stream]


def test_the_estimators_give_importances_of_different_scale():
    total = {}
    for estimator in ("exact", "sampled", "empirical", "batch"):
        run = trained(f"ewc(strength=0, fisher={estimator})", "training.epochs=5")
        total[estimator] = float(everything(run)["EWC importance"].sum())
    assert total["sampled"] == pytest.approx(total["exact"], rel=0.3)
    assert total["batch"] < 0.3 * total["empirical"]


def test_ewc_is_skipped_where_boundaries_are_hidden():
    from clbench.running.prepare import Skip

    with pytest.raises(Skip, match="needs visible boundaries"):
        ready("ewc", "stream.boundaries=false")
