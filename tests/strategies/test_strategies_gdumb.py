"""GDumb: its training against plain torch, its schedule, CutMix by hand, and that the stream itself teaches nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import Disturbable, ready, trained
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.families.class_mask import ALL, ClassMask
from clbench.models import make
from clbench.models.output import Output
from clbench.running.prepare import Skip
from clbench.strategies.gdumb import cutmix_loss, warm_restarts
from clbench.training.batch import Batch


def test_the_schedule_is_that_of_torch_with_a_warm_start():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.05)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=2, eta_min=0.0005)
    optimizer.step()
    assert warm_restarts(0, 0.01) == 0.1
    for number in range(1, 40):
        if number > 1:
            scheduler.step()
        assert 0.05 * warm_restarts(number, 0.01) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9)


def test_training_on_memory_equals_a_plain_torch_loop():
    run = ready("gdumb(passes=7, when=stream, cutmix=0, batch_size=12, clip_norm=0.8)", "memory.size=50", seed=3)
    model = make({"name": "mlp", "hidden": [16]}, (1, 8, 8), 10)
    model.load_state_dict(run.learner.model.state_dict())
    run.train()
    rows = run.learner.memory.all().index
    dice = Generator(3, "part/GDumb/0")
    rows = rows[:, torch.from_numpy(dice.sample(50, 50))]
    x = torch.from_numpy(run.stream.dataset.train.x)[rows[0]] / 16
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-6)
    clipped = 0
    for number in range(7):
        optimizer.param_groups[0]["lr"] = 0.05 * warm_restarts(number, 0.01)
        for chosen in torch.from_numpy(dice.permutation(50)).split(12):
            optimizer.zero_grad()
            F.cross_entropy(model(x[chosen]).logits, rows[1, chosen]).backward()
            clipped += float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.8)) > 0.8
            optimizer.step()
    flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    assert clipped > 3
    torch.testing.assert_close(run.learner.w.detach(), flat, rtol=0, atol=2e-6)


def test_every_training_begins_at_the_initial_model_and_the_stream_teaches_nothing():
    run = ready("gdumb(passes=2)", "training.epochs=2", model=Disturbable)
    learner = run.learner
    initial, buffers = learner.w.detach().clone(), [b.clone() for b in learner.model.buffers()]
    inner, begun = learner.side_work.fit, []

    def fit(rows, **settings):
        assert torch.equal(learner.w, initial)
        assert all(torch.equal(a, b) for a, b in zip(learner.model.buffers(), buffers, strict=True))
        begun.append(set(rows.index[0].tolist()))
        assert begun[-1] == set(learner.memory.all().index[0].tolist())
        inner(rows, **settings)
        assert not torch.equal(learner.w, initial)

    learner.side_work.fit = fit  # type: ignore[method-assign]
    run.train()
    assert len(begun) == 5
    assert learner.cost.stream_rows == learner.cost.replay_rows == 0
    assert learner.cost.steps == 2 * sum(-(-len(rows) // 16) for rows in begun)


@pytest.mark.parametrize(("written", "hidden"), [("gdumb(when=stream)", False), ("gdumb", True)])
def test_the_model_is_untrained_until_the_end_where_it_is_trained_once(written, hidden):
    run = ready(written, f"stream.boundaries={'false' if hidden else 'true'}")
    initial, same = run.learner.w.detach().clone(), []
    run.train(lambda *_: same.append(torch.equal(run.learner.w, initial)))
    assert all(same)
    assert run.learner.cost.steps == 16 * 3
    shown = trained("gdumb(when=stream)")
    assert torch.equal(run.learner.w, shown.learner.w)


def test_memory_is_balanced_over_the_classes_seen():
    run = trained("gdumb(passes=1)", "memory.size=40", "memory.policy=reservoir", "memory.admit=every_pass")
    assert run.learner.memory.all().index[1].bincount(minlength=10).tolist() == [4] * 10
    assert run.cell.config["memory"] == {"size": 40, "policy": "greedy_balanced", "admit": "first_pass"}


def test_how_the_benchmark_would_train_on_the_stream_does_not_matter():
    one, two = trained("gdumb"), trained("gdumb", "training.optimizer=adam", "training.lr=0.7")
    assert torch.equal(one.learner.w, two.learner.w)


class Scripted:
    """A generator that says what it is told to."""

    def __init__(self, uniform: list[float], permutation: list[int]) -> None:
        self._uniform, self._permutation = np.array(uniform), np.array(permutation)

    def uniform(self, n):
        assert n == len(self._uniform)
        return self._uniform

    def permutation(self, n):
        assert n == len(self._permutation)
        return self._permutation


@pytest.mark.parametrize(
    ("uniform", "box", "area"),
    [
        ([0.75, 0.5, 0.5], (slice(1, 3), slice(1, 3)), 4 / 16),  # λ = 3/4: side 2 around (2, 2)
        ([0.75, 0.0, 0.75], (slice(0, 1), slice(2, 4)), 2 / 16),  # around (0, 3), cut at the border
        ([1.0, 0.5, 0.5], (slice(0, 0), slice(0, 0)), 0.0),
        ([0.0, 0.5, 0.5], (slice(0, 4), slice(0, 4)), 1.0),
    ],
)
def test_cutmix_pastes_the_box_worked_out_by_hand_and_weighs_labels_by_its_area(uniform, box, area):
    x = torch.arange(2 * 16, dtype=torch.float32).reshape(2, 1, 4, 4)
    index = torch.zeros((5, 2), dtype=torch.int64)
    index[1] = torch.tensor([0, 2])
    batch = Batch(index, gather=lambda _: x, class_mask=lambda _: ALL)
    logits, given = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.5, 2.0]]), []
    loss = cutmix_loss(
        lambda mixed: (given.append(mixed), Output(logits, logits))[1], batch, 1.0, Scripted(uniform, [1, 0])
    )
    expected = x.clone()
    expected[0, 0][box], expected[1, 0][box] = x[1, 0][box], x[0, 0][box]
    assert torch.equal(given[0], expected)
    assert torch.equal(x, torch.arange(2 * 16, dtype=torch.float32).reshape(2, 1, 4, 4))
    own, other = (F.cross_entropy(logits, torch.tensor(y)) for y in ([0, 2], [2, 0]))
    assert float(loss) == pytest.approx(float((1 - area) * own + area * other), rel=1e-6)


def test_cutmix_lets_the_classes_of_both_images_compete():
    allowed = torch.tensor([[True, True, False, False], [False, False, True, True]])
    index = torch.tensor([[0, 0], [0, 3], [0, 1], [0, 0], [0, 0]])
    batch = Batch(index, gather=lambda _: torch.zeros(2, 1, 4, 4), class_mask=lambda _: ClassMask(allowed))
    logits = torch.zeros(2, 4)
    loss = cutmix_loss(lambda _: Output(logits, logits), batch, 1.0, Scripted([0.75, 0.5, 0.5], [1, 0]))
    assert float(loss) == pytest.approx(np.log(4))


def test_the_share_of_cutmix_follows_a_beta_distribution():
    """With uneven parameters the area of the box has another spread: Beta(a, a) has variance 1 / (4 (2a + 1))."""
    from scipy.special import betaincinv

    u = Generator(0, "test").uniform(4000)
    for alpha in (0.5, 1.0, 4.0):
        assert np.var(betaincinv(alpha, alpha, u)) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


def test_vectors_cannot_be_mixed_and_the_sentence_says_what_to_do():
    class Vectors(torch.nn.Module):
        def __init__(self, shape, n_outputs):
            super().__init__()
            self.head = torch.nn.Linear(int(np.prod(shape)), n_outputs)

        def forward(self, x):
            return self.head(x.flatten(1))

    index = torch.zeros((5, 2), dtype=torch.int64)
    batch = Batch(index, gather=lambda _: torch.zeros(2, 7), class_mask=lambda _: ALL)
    with pytest.raises(Refused, match=r"samples of shape \(7,\) are not images.*set cutmix=0"):
        cutmix_loss(Vectors((7,), 2), batch, 1.0, Generator(0, "test"))


def test_passes_and_a_memory_are_needed_and_nothing_else_may_learn_from_the_stream():
    with pytest.raises(Refused, match="needs a value for 'passes'"):
        ready("gdumb", "defaults={}")
    with pytest.raises(Skip, match="needs a replay buffer"):
        ready("gdumb", "memory.size=0")
    with pytest.raises(Refused, match="both set the stream coefficient"):
        ready("gdumb + er")


def test_it_learns_what_its_memory_holds():
    score = trained("gdumb(passes=64)", "memory.size=100", "evaluation.every=0").evaluator.trace().score
    assert score[-1].mean() > 0.75
