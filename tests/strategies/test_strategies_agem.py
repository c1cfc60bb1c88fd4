"""A-GEM: the projection by hand and against Avalanche, and what the reference gradient is taken on."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch
from support import batches, ready
from torch import nn

from clbench.training.batch import EXPERIENCE, ROW


def projected(g: list[float], reference: list[float]) -> torch.Tensor:
    """What the part makes of a gradient, given the gradient on memory."""
    run = ready("agem")
    learner, (part,) = run.learner, run.chain.parts
    first, second = run.trainer.enter(run.stream[0]), run.trainer.enter(run.stream[1])
    learner.memory.offer(first.index[:, :4])
    learner.g = torch.tensor(g)
    learner.side_work.gradient = lambda batch: torch.tensor(reference)
    part.gradient(learner, learner.batch(second.index[:, :2]))
    return learner.g


def test_a_gradient_that_would_raise_the_loss_on_memory_is_projected_onto_the_plane_where_it_does_not():
    # g·r = -1, r·r = 2: g + r / 2
    assert projected([1.0, 0.0], [-1.0, 1.0]).tolist() == [0.5, 0.5]
    # opposite directions: nothing is left
    assert projected([3.0, 4.0], [-3.0, -4.0]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("reference", [[5.0, 2.0], [-4.0, -2.0], [4.0, 2.0], [0.0, -7.0], [0.0, 0.0], [1e-25, 0.0]])
def test_agem_leaves_gradient_alone_when_it_agrees_with_memory_or_memory_has_none(reference):
    assert projected([0.25, -0.5], reference).tolist() == [0.25, -0.5]


def test_a_tiny_opposing_reference_does_not_blow_the_gradient_up():
    result = projected([1.0, 1.0], [-1e-20, 0.0])
    assert torch.isfinite(result).all()
    assert float(result.norm()) <= 2**0.5


def test_the_projection_is_avalanches():
    from clbench.core.compat import import_torchvision

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_torchvision()
        from avalanche.training.plugins.agem import AGEMPlugin
    generator = torch.Generator().manual_seed(0)
    opposed = 0
    for _ in range(20):
        g, reference = torch.randn(2, 7, generator=generator)
        plugin = AGEMPlugin(patterns_per_experience=1, sample_size=1)
        plugin.buffers, plugin.reference_gradients = [None], reference
        module = nn.Linear(6, 1)
        for p, piece in zip(module.parameters(), (g[:6].reshape(1, 6), g[6:]), strict=True):
            p.grad = piece.clone()
        plugin.after_backward(SimpleNamespace(model=module, device="cpu"))
        theirs = torch.cat([p.grad.reshape(-1) for p in module.parameters()])
        torch.testing.assert_close(projected(g.tolist(), reference.tolist()), theirs, rtol=1e-5, atol=1e-6)
        opposed += bool(g @ reference < 0)
    assert 5 < opposed < 15


def references(run) -> list[tuple[torch.Tensor, int | None]]:
    """The index matrix of every reference batch, and the experience that was running."""
    asked: list[tuple[torch.Tensor, int | None]] = []
    inner = run.learner.side_work.gradient
    run.learner.side_work.gradient = lambda batch: (asked.append((batch.index, run.cursor.experience)), inner(batch))[1]
    run.train()
    return asked


def test_the_reference_is_taken_on_different_rows_of_earlier_experiences_only():
    run = ready("agem", "training.epochs=2")
    steps = sum(-(-len(e) // 16) for e in run.stream) * 2 - -(-len(run.stream[0]) // 16) * 2
    asked = references(run)
    assert len(asked) == steps
    for index, running in asked:
        assert int(index[EXPERIENCE].max()) < running
        assert index[0].unique().numel() == index.shape[1]


@pytest.mark.parametrize(("written", "rows"), [("agem(rows=5)", 5), ("agem(rows=100)", None)])
def test_the_reference_has_as_many_rows_as_asked_for_where_there_are(written, rows):
    sizes = [index.shape[1] for index, running in references(ready(written, "memory.size=60"))]
    assert set(sizes) == {5} if rows else max(sizes) <= 60 and max(sizes) > 16


def test_where_boundaries_are_hidden_the_running_experience_may_be_drawn_too():
    run = ready("agem", "stream.boundaries=false")
    number_of = {int(row): e.id for e in run.stream for row in e.rows}
    asked = references(run)
    assert any(max(number_of[int(row)] for row in index[ROW]) == running for index, running in asked)


def test_after_the_projection_a_small_step_does_not_raise_the_loss_on_the_drawn_rows():
    run = ready("agem")
    inner, drawn, dots = run.learner.side_work.gradient, [], []
    run.learner.side_work.gradient = lambda batch: (drawn.append(inner(batch)), drawn[-1])[1]

    def watch(learner, _):
        if drawn:
            reference = drawn.pop()
            dots.append(float(learner.g @ reference / (learner.g.norm() * reference.norm()).clamp(min=1e-12)))

    before: list[float] = []

    def count(learner, _):
        before.append(float(learner.g.norm()))

    run.chain.gradient = (count, *run.chain.gradient, watch)
    run.train()
    assert len(dots) > 10
    assert min(dots) > -1e-4
    assert sum(abs(d) < 1e-4 for d in dots) > 3  # it did project now and then


def test_agem_does_not_rehearse_in_the_loss_and_counts_its_side_work():
    run = ready("agem")
    learned = batches(run)
    assert all(len(b.sources) == 1 for b in learned)
    cost = run.learner.cost
    assert cost.replay_rows == 0
    assert cost.extra_backward_rows == cost.extra_forward_rows == 300 - len(run.stream[0])


@pytest.mark.parametrize(
    ("strategy", "changes"),
    [
        ("agem + hft(granularity=element)", ()),
        ("hft(granularity=unit, start_experience=1) + agem", ("training.momentum=0.9",)),
        ("agem + l2(strength=0.3) + hft", ()),
        ("agem", ("stream.setting=task", "model.heads=separate", "training.momentum=0.9")),
        ("agem + hft", ("stream.setting=task", "model.heads=separate", "memory.policy=class_balanced")),
    ],
)
def test_the_step_that_is_taken_keeps_the_constraint_whatever_is_held_still(strategy, changes):
    run, seen = ready(strategy, *changes), []
    inner, drawn = run.learner.side_work.gradient, []
    run.learner.side_work.gradient = lambda batch: (drawn.append(inner(batch)), drawn[-1].clone())[1]

    def watch(learner, _):
        if not drawn:
            return
        reference, held = drawn.pop(), learner.frozen
        moving = torch.ones_like(learner.g, dtype=torch.bool) if held is None else ~held
        g, r = learner.g[moving], reference[moving]
        inside = float(g @ r / (g.norm() * r.norm()).clamp(min=1e-12))
        seen.append((inside, int((~moving).sum())))

    run.chain.gradient = (*run.chain.gradient, watch)
    run.train()
    assert len(seen) > 10
    assert min(inside for inside, _ in seen) > -1e-4
    held = [inside for inside, still in seen if still]
    assert len(held) > 10
    assert any(abs(inside) < 1e-5 for inside in held)  # it did project


def test_a_held_weight_is_neither_read_nor_bent():
    run = ready("agem")
    learner, (part,) = run.learner, run.chain.parts
    first, second = run.trainer.enter(run.stream[0]), run.trainer.enter(run.stream[1])
    learner.memory.offer(first.index[:, :4])
    learner.g = torch.tensor([1.0, 0.0, 9.0])
    learner.side_work.gradient = lambda batch: torch.tensor([-1.0, 1.0, 9.0])
    learner.freeze("mine", torch.tensor([False, False, True]))
    part.gradient(learner, learner.batch(second.index[:, :2]))
    # over all three g·r = 80; over those that move g·r = -1, r·r = 2: g + r / 2
    assert learner.g.tolist() == [0.5, 0.5, 9.0]


def test_a_weight_that_is_held_never_moves_under_the_projection():
    run = ready("agem")
    held = torch.zeros_like(run.learner.w, dtype=torch.bool)
    held[::3] = True
    run.learner.freeze("mine", held)
    before = run.learner.w.detach().clone()
    run.train()
    assert torch.equal(run.learner.w.detach()[held], before[held])
    assert not torch.equal(run.learner.w.detach()[~held], before[~held])
