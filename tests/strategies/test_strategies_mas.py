"""MAS: importances by hand and row by row, no labels, and a run against a plain loop."""

from __future__ import annotations

import pytest
import torch
from plain_loop import SMALLER, learned_plainly
from support import numerical, ready, trained
from torch import nn
from torch.nn import functional as F


class OneLayer(nn.Module):
    """f(x) = W x without bias, on flattened digits."""

    def __init__(self, shape, n_outputs):
        super().__init__()
        self.head = nn.Linear(int(torch.tensor(shape).prod()), n_outputs, bias=False)

    def forward(self, x):
        return self.head(x.flatten(1))


def test_the_importance_of_a_linear_model_is_twice_the_mean_of_output_times_input_in_absolute_value():
    # ‖Wx‖² = Σ_c f_c², so ∂/∂W_ci = 2 f_c x_i, and |2 f_c x_i| has its mean over rows taken after the absolute value
    run = ready("mas", model=OneLayer)
    learner, shown = run.learner, run.trainer.enter(run.stream[0])
    run.chain.end_experience[0](learner, shown)
    x = (torch.from_numpy(run.stream.dataset.train.x)[run.stream[0].rows] / 16).flatten(1)
    f = (x @ learner.w.detach().view(10, 64).T) * learner.classes.seen  # classes not seen yet are no output so far
    by_hand = 2 * (f[:, :, None] * x[:, None, :]).abs().mean(0)
    importance = run.chain.parts[0].state["importance"]
    torch.testing.assert_close(importance.view(10, 64), by_hand)
    batch_first = 2 * (f[:, :, None] * x[:, None, :]).mean(0).abs()
    assert float(by_hand.sum()) > 1.05 * float(batch_first.sum())  # rows would have cancelled


@pytest.mark.parametrize("decay", [None, 0.0, 0.3, 1.0])
def test_importances_of_experiences_are_summed_or_averaged_with_decay(decay):
    run = ready(f"mas(strength=7, decay={decay})")
    learner, shown, generator = run.learner, run.trainer.enter(run.stream[0]), torch.Generator().manual_seed(0)
    news = [torch.rand(learner.w.shape, generator=generator) for _ in range(3)]
    for new in news:
        learner.side_work.per_row = lambda *_, new=new, **__: new.clone()
        learner.w.data.copy_(torch.randn(learner.w.shape, generator=generator))
        run.chain.end_experience[0](learner, shown)
    anchor = learner.w.detach().clone()
    learner.w.data.copy_(torch.randn(learner.w.shape, generator=generator))
    a, b, c = news
    omega = a + b + c if decay is None else decay**2 * a + decay * (1 - decay) * b + (1 - decay) * c
    learner.g.zero_()
    run.chain.gradient[0](learner, learner.batch(shown.index[:, :4]))
    penalty = numerical(lambda w: 7 * (omega * (w - anchor) ** 2).sum(), learner.w)
    torch.testing.assert_close(learner.g, penalty, rtol=1e-4, atol=1e-5)


def test_a_run_of_mas_equals_a_plain_loop_with_the_penalty_in_the_loss():
    run = ready("mas(strength=0.5)", *SMALLER, seed=2)
    seen, kept = torch.zeros(10, dtype=torch.bool), []

    def loss(model, x, y, experience):
        seen[list(experience.classes)] = True
        value = F.cross_entropy(model(x).logits.masked_fill(~seen, -torch.inf), y)
        for p, omega, anchor in zip(model.parameters(), *kept[-1], strict=True) if kept else ():
            value = value + 0.5 * (omega * (p - anchor) ** 2).sum()
        return value

    def end(model, x, experience):
        omegas = [torch.zeros_like(p) for p in model.parameters()] if not kept else kept[-1][0]
        for row in x:
            norm = (model(row[None]).logits[0][seen] ** 2).sum()
            gradients = torch.autograd.grad(norm, list(model.parameters()))
            omegas = [o + g.abs() / len(x) for o, g in zip(omegas, gradients, strict=True)]
        kept.append((omegas, [p.detach().clone() for p in model.parameters()]))

    plain = learned_plainly(run, seed=2, loss=loss, end=end)
    run.train()
    torch.testing.assert_close(run.learner.w.detach(), plain, rtol=0, atol=1e-5)
    assert float((plain - trained("naive", *SMALLER, seed=2).learner.w.detach()).abs().max()) > 1e-3


def test_labels_do_not_matter():
    run = ready("mas")
    learner, shown = run.learner, run.trainer.enter(run.stream[0])
    importances = []
    for y in (shown.index[1].clone(), shown.index[1].flip(0)):
        shown.index[1] = y
        run.chain.end_experience[0](learner, shown)
        importances.append(run.chain.parts[0].state.pop("importance"))
    assert torch.equal(*importances)


def test_the_importance_is_measured_on_some_rows_of_the_experience_that_ends(monkeypatch):
    run, asked = ready("mas(rows=7)"), []
    inner = run.learner.side_work.per_row
    run.learner.side_work.per_row = lambda index, *a, **k: (asked.append(index[0].tolist()), inner(index, *a, **k))[1]
    run.train()
    for rows, experience in zip(asked, run.stream, strict=True):
        assert len(set(rows)) == 7
        assert set(rows) <= set(experience.rows.tolist())


@pytest.mark.parametrize("optimizer", ["training.momentum=0.9", "training.optimizer=adam"])
def test_strength_zero_is_the_identity_bit_for_bit(optimizer):
    ours = trained("mas(strength=0)", "model.dropout=0.2", optimizer)
    assert torch.equal(ours.learner.w, trained("naive", "model.dropout=0.2", optimizer).learner.w)


def test_mas_is_skipped_where_boundaries_are_hidden():
    from clbench.running.prepare import Skip

    with pytest.raises(Skip, match="needs visible boundaries"):
        ready("mas", "stream.boundaries=false")
