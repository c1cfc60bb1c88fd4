"""GEM: the projection by hand and against general solvers, and what the past gradients are taken on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import LinearConstraint, minimize
from support import ready, trained

from clbench.running.alarms import alarms
from clbench.running.prepare import Skip
from clbench.strategies.gem import dual
from clbench.training.batch import EXPERIENCE, ROW


def projected(g: list[float], *past: list[float], margin: float = 0.0, damping: float = 0.0) -> torch.Tensor:
    """What the part makes of a gradient, given the gradients on past experiences."""
    run = ready(f"gem(margin={margin}, damping={damping})")
    learner, (part,) = run.learner, run.chain.parts
    shown = [run.trainer.enter(run.stream[number]) for number in range(len(past) + 1)]
    for each in shown[:-1]:
        learner.memory.offer(each.index[:, :4])
    learner.g = torch.tensor(g)
    learner.side_work.gradient = lambda batch: torch.tensor(past[int(batch.index[EXPERIENCE, 0])])
    part.gradient(learner, learner.batch(shown[-1].index[:, :2]))
    return learner.g


def test_one_opposed_experience_is_projected_as_by_agem():
    # g·r = -1, r·r = 2: g + r / 2
    assert projected([1.0, 0.0], [-1.0, 1.0]).tolist() == pytest.approx([0.5, 0.5])


def test_two_opposed_experiences_leave_what_neither_of_them_minds():
    # both constraints hold with equality: along (1, 0, 0) and (0, 1, 0) nothing is left
    assert projected([-1.0, -2.0, 3.0], [1.0, 0.0, 0.0], [0.0, 5.0, 0.0]).tolist() == pytest.approx([0, 0, 3], abs=1e-6)


def test_an_experience_that_agrees_is_not_used_although_another_is_opposed():
    # agreeing alone would be no reason; with margin 0 its v is 0
    assert projected([-1.0, 2.0], [1.0, 0.0], [0.0, 1.0]).tolist() == pytest.approx([0.0, 2.0])


def test_the_margin_is_the_least_weight_of_every_past_gradient_once_one_is_opposed():
    # v_1: |-1 + 2 v|² is least at 1/2, v_2: |2 + v|² grows with v, so that it is at the margin
    assert projected([-1.0, 2.0], [2.0, 0.0], [0.0, 1.0], margin=0.25).tolist() == pytest.approx([0.0, 2.25])
    # a margin above the projection's own weight turns the gradient: -1 + 2 · 0.75
    assert projected([-1.0, 2.0], [2.0, 0.0], [0.0, 1.0], margin=0.75).tolist() == pytest.approx([0.5, 2.75])


def test_damping_holds_the_projection_back():
    # v = -g·r / (r·r + damping) = 4 / (4 + 4)
    assert projected([-2.0, 0.0], [2.0, 0.0], damping=4.0).tolist() == pytest.approx([-1.0, 0.0])


@pytest.mark.parametrize("past", [[[5.0, 2.0]], [[-4.0, -2.0], [0.0, -7.0]], [[0.0, 0.0]], [[0.0, 0.0], [4.0, 2.0]]])
def test_gem_leaves_gradient_alone_bit_for_bit_when_it_agrees_with_every_experience(past):
    assert projected([0.25, -0.5], *past, margin=0.5, damping=1e-3).tolist() == [0.25, -0.5]


@pytest.mark.parametrize("damping", [0.0, 1e-3])
def test_a_past_gradient_of_zero_does_not_disturb_the_projection_onto_another(damping):
    result = projected([1.0, 0.0], [0.0, 0.0], [-1.0, 1.0], damping=damping)
    assert result.tolist() == pytest.approx([0.5, 0.5], abs=damping)


def test_a_past_gradient_that_is_not_finite_is_left_to_the_loop_to_notice():
    assert projected([1.0, 0.0], [-1.0, 0.0], [float("inf"), -1.0]).tolist() == [1.0, 0.0]


def general(g: np.ndarray, past: np.ndarray, margin: float, damping: float) -> np.ndarray:
    """The dual by a general solver, from a feasible start; an independent implementation."""
    gram = past @ past.T + damping * np.eye(len(past))
    scale = np.trace(gram) / len(past)
    linear = past @ g / scale
    gram = gram / scale
    found = minimize(
        lambda v: 0.5 * v @ gram @ v + linear @ v,
        np.full(len(past), margin + 1.0),
        jac=lambda v: gram @ v + linear,
        bounds=[(margin, None)] * len(past),
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 2000},
    )
    assert found.success
    return found.x


@pytest.mark.parametrize("damping", [0.0, 1e-3])
@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("tasks", [2, 5, 19])
def test_the_dual_agrees_with_a_general_solver(tasks, margin, damping):
    random = np.random.default_rng(tasks)
    for weights in (40, 400):
        past, g = random.normal(size=(tasks, weights)), random.normal(size=weights)
        past -= 2 * g / np.sqrt(weights)  # most of them opposed
        ours = dual(torch.from_numpy(g), torch.from_numpy(past), margin=margin, damping=damping).numpy()
        theirs = general(g, past, margin, damping)
        assert np.allclose(ours, theirs, atol=1e-5)
        assert ours.min() >= margin
        residual = past @ (g + ours @ past) + damping * ours  # the gradient of the dual
        assert np.all(residual > -1e-9)  # the optimality conditions, to rounding
        assert np.abs(residual * (ours - margin)).max() < 1e-9


def test_the_projected_gradient_is_the_nearest_that_meets_every_constraint():
    random = np.random.default_rng(3)
    past, g = random.normal(size=(3, 6)), random.normal(size=6)
    past -= 2 * g
    ours = g + dual(torch.from_numpy(g), torch.from_numpy(past), margin=0.0, damping=0.0).numpy() @ past
    primal = minimize(
        lambda z: 0.5 * (z - g) @ (z - g),
        np.zeros(6),
        jac=lambda z: z - g,
        constraints=[LinearConstraint(past, 0, np.inf)],
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    assert np.allclose(ours, primal.x, atol=1e-6)
    assert (past @ ours).min() > -1e-9


def test_more_experiences_than_weights_are_no_hindrance():
    random = np.random.default_rng(0)
    past, g = random.normal(size=(9, 4)), random.normal(size=4)
    v = dual(torch.from_numpy(g), torch.from_numpy(past), margin=0.0, damping=1e-3).numpy()
    assert np.all(past @ (g + v @ past) + 1e-3 * v > -1e-9)


def references(run) -> list[tuple[torch.Tensor, int]]:
    """The index matrix of every past gradient, and the experience that was running."""
    asked: list[tuple[torch.Tensor, int]] = []
    inner = run.learner.side_work.gradient
    run.learner.side_work.gradient = lambda batch: (asked.append((batch.index, run.cursor.experience)), inner(batch))[1]
    run.train()
    return asked


def test_every_step_takes_one_gradient_on_all_that_is_kept_of_each_past_experience():
    run = ready("gem")
    asked = references(run)
    steps = [-(-len(e) // 16) for e in run.stream]
    assert [running for _, running in asked] == [e for e in range(5) for _ in range(steps[e] * e)]
    for index, running in asked:
        (number,) = set(index[EXPERIENCE].tolist())
        assert number < running
        assert index[ROW].unique().numel() == index.shape[1]
    # 40 slots shared by the experiences met so far; the running one takes its share row by row
    last = [index for index, running in asked if running == 4][-4:]
    assert [int(index[EXPERIENCE, 0]) for index in last] == [0, 1, 2, 3]
    assert all(index.shape[1] == 8 for index in last)
    rows = sum(index.shape[1] for index, _ in asked)
    cost = run.learner.cost
    assert cost.extra_forward_rows == cost.extra_backward_rows == rows
    assert cost.replay_rows == 0


def test_after_the_projection_a_small_step_raises_the_loss_of_no_past_experience():
    run = ready("gem(margin=0, damping=0)")
    inner, drawn, least, bent = run.learner.side_work.gradient, [], [], []
    run.learner.side_work.gradient = lambda batch: (drawn.append(inner(batch)), drawn[-1])[1]
    before: list[torch.Tensor] = []

    def watch(learner, _):
        if drawn:
            least.append(min(float(learner.g @ r / (learner.g.norm() * r.norm()).clamp(min=1e-12)) for r in drawn))
            bent.append(not torch.equal(learner.g, before[-1]))
        drawn.clear()

    run.chain.gradient = (lambda learner, _: before.append(learner.g.clone()), *run.chain.gradient, watch)
    run.train()
    assert len(least) > 10
    assert min(least) > -1e-4
    assert sum(bent) > 3


def test_gem_is_skipped_with_a_reason_where_boundaries_are_hidden_or_there_is_no_memory():
    with pytest.raises(Skip, match="visible boundaries"):
        ready("gem", "stream.boundaries=false")
    with pytest.raises(Skip, match="memory"):
        ready("gem", "memory.size=0")


def test_gem_and_agem_cannot_be_joined():
    with pytest.raises(ValueError, match="both set the projection"):
        ready("gem + agem")


def test_gem_raises_no_alarm_and_its_memory_counts_as_drawn_from():
    run = trained("gem", "training.epochs=2")
    assert run.learner.memory.draws > 0
    assert alarms(run.chain, run.trainer, run.stream, run.evaluator.trace()) == ()


def test_gem_composes_with_replay_under_its_own_policy():
    run = trained("er + gem")
    assert run.cell.config["memory"]["policy"] == "per_experience"
    assert run.learner.cost.replay_rows > 0


@pytest.mark.parametrize(
    ("joined", "changes"),
    [
        ("hft(granularity=element)", ()),
        ("hft(granularity=unit, start_experience=1)", ("training.momentum=0.9",)),
        ("naive", ("stream.setting=task", "model.heads=separate", "training.momentum=0.9")),
        ("hft", ("stream.setting=task", "model.heads=separate")),
    ],
)
def test_every_past_experience_is_kept_inside_the_weights_that_move(joined, changes):
    run, seen = ready(f"gem(margin=0, damping=0) + {joined}", *changes), []
    inner, past = run.learner.side_work.gradient, []
    run.learner.side_work.gradient = lambda batch: (past.append(inner(batch)), past[-1].clone())[1]

    def watch(learner, _):
        if not past:
            return
        held = learner.frozen
        moving = torch.ones_like(learner.g, dtype=torch.bool) if held is None else ~held
        g, references = learner.g[moving].double(), torch.stack(past)[:, moving].double()
        past.clear()
        worst = float((references @ g / (references.norm(dim=1) * g.norm()).clamp(min=1e-12)).min())
        seen.append((worst, int((~moving).sum())))

    run.chain.gradient = (*run.chain.gradient, watch)
    run.train()
    assert min(worst for worst, _ in seen) > -1e-4
    assert sum(still > 0 for _, still in seen) > 10
    assert any(abs(worst) < 1e-5 for worst, _ in seen)  # it did project


def test_a_held_weight_is_neither_read_nor_bent_by_gem():
    run = ready("gem(margin=0, damping=0)")
    learner, (part,) = run.learner, run.chain.parts
    first, second = run.trainer.enter(run.stream[0]), run.trainer.enter(run.stream[1])
    learner.memory.offer(first.index[:, :4])
    learner.g = torch.tensor([1.0, 0.0, 9.0])
    learner.side_work.gradient = lambda batch: torch.tensor([-1.0, 1.0, 9.0])
    learner.freeze("mine", torch.tensor([False, False, True]))
    part.gradient(learner, learner.batch(second.index[:, :2]))
    assert learner.g.tolist() == pytest.approx([0.5, 0.5, 9.0])
