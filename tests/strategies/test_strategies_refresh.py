"""Refresh learning: the moves of both forms in plain torch, their noise and Fisher information, and what stays put."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from support import Disturbable, batches, ready, same_trace, trained
from torch.nn import functional as F

from clbench.core.rng import Generator
from clbench.running.plan import plan
from clbench.strategies.refresh import weighted_fisher
from clbench.strategies.strategy import Strategy
from clbench.training.batch import Y

LINEAR = "model={name: mlp, hidden: []}"


def at_second_experience(strategy: str, *changes: str, model: object = None):
    """A run in its second experience with rows of the first in memory, and a batch of it that parts have extended."""
    run = ready(strategy, *changes, model=model)
    learner = run.learner
    run.trainer.hooks = run.chain
    learner.model.train()
    first = run.trainer.enter(run.stream[0])
    learner.memory.offer(first.index[:, :20])
    for end in run.chain.end_experience:
        end(learner, first)
    second = run.trainer.enter(run.stream[1])
    batch = learner.batch(second.index[:, :16])
    for extend in run.chain.batch:
        extend(learner, batch)
    return run, batch


def moved(run, batch) -> torch.Tensor:
    """What the before_step hooks add to the weights, (P,)."""
    before = run.learner.w.detach().clone()
    for move in run.chain.before_step:
        move(run.learner, batch)
    return run.learner.w.detach() - before


def weight_and_bias(run, vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The two tensors of a linear model in a flat vector."""
    return vector[run.learner.slices["head.weight"]].reshape(10, 64), vector[run.learner.slices["head.bias"]]


def softmax_gradient(run, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """By hand: the gradient of the mean cross-entropy of a linear model over the classes seen is (p - 1_y) xᵀ."""
    weight, bias = weight_and_bias(run, run.learner.w.detach().double())
    x = x.flatten(1).double()
    scores = (x @ weight.T + bias).masked_fill(~run.learner.classes.seen, -torch.inf)
    error = scores.softmax(1) - F.one_hot(y, 10)
    return error.T @ x / len(x), error.mean(0)


# ------------------------------------------------------------------------- the paper's form


def test_one_move_of_the_papers_form_is_plain_ascent_where_nothing_else_acts():
    run, batch = at_second_experience("refresh(strength=0.5, noise=0, damping=0)", LINEAR)
    weight, bias = softmax_gradient(run, batch.x, batch.y)
    w, b = weight_and_bias(run, moved(run, batch))
    torch.testing.assert_close(w, (0.5 * weight).float(), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(b, (0.5 * bias).float(), rtol=1e-4, atol=1e-7)


def test_the_papers_form_climbs_the_whole_loss_with_rehearsed_rows_and_penalties():
    run, batch = at_second_experience(
        "er + l2(strength=0.3, head=true) + refresh(strength=0.5, noise=0, damping=0)", LINEAR
    )
    assert len(batch) == 32
    run.learner.w.data += 0.1  # the anchor of l2 is 0.1 away
    weight, bias = softmax_gradient(run, batch.x, batch.y)
    w, b = weight_and_bias(run, moved(run, batch))
    torch.testing.assert_close(w, (0.5 * (weight + 2 * 0.3 * 0.1)).float(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(b, (0.5 * (bias + 2 * 0.3 * 0.1)).float(), rtol=1e-4, atol=1e-6)


def test_every_one_of_several_moves_sees_the_weights_that_the_one_before_left():
    once, batch = at_second_experience("refresh(strength=0.5, noise=0, damping=0)", LINEAR)
    for _ in range(3):
        moved(once, batch)
    thrice, batch = at_second_experience("refresh(strength=0.5, noise=0, damping=0, steps=3)", LINEAR)
    moved(thrice, batch)
    assert torch.equal(once.learner.w, thrice.learner.w)


@pytest.mark.parametrize(("damping", "unit"), [(0.01, "one"), (1.5, "mean")])  # the mean of 0 to 300 is 150
def test_weights_of_large_fisher_information_move_less(damping, unit):
    plain, batch = at_second_experience("refresh(strength=0.5, noise=0, damping=0)")
    straight = moved(plain, batch)
    run, batch = at_second_experience(f"refresh(strength=0.5, noise=0, damping={damping}, unit={unit})")
    run.chain.parts[0].keep(torch.linspace(0, 300, len(run.learner.w)))  # D from 1 to 1/4
    torch.testing.assert_close(moved(run, batch), straight / torch.linspace(1, 4, len(straight)), rtol=1e-4, atol=1e-7)


def test_the_papers_noise_is_normal_with_variance_two_strength_over_fisher():
    quiet, batch = at_second_experience("refresh(strength=0.02, noise=0, damping=1.5)", "model.hidden=[64]")
    loud, again = at_second_experience("refresh(strength=0.02, damping=1.5)", "model.hidden=[64]")
    for run in (quiet, loud):
        run.chain.parts[0].keep(torch.linspace(0, 300, len(run.learner.w)))
    noise = moved(loud, again) - moved(quiet, batch)
    standard = (noise / (2 * 0.02 / torch.linspace(1, 4, len(noise))).sqrt()).numpy()
    assert stats.kstest(standard, "norm").pvalue > 0.01
    assert abs(standard[:2000].std() - 1) < 0.05  # at either end of the information
    assert abs(standard[-2000:].std() - 1) < 0.05
    half, batch = at_second_experience("refresh(strength=0.02, damping=1.5, noise=0.5)", "model.hidden=[64]")
    half.chain.parts[0].keep(torch.linspace(0, 300, len(noise)))
    quiet, other = at_second_experience("refresh(strength=0.02, noise=0, damping=1.5)", "model.hidden=[64]")
    quiet.chain.parts[0].keep(torch.linspace(0, 300, len(noise)))
    torch.testing.assert_close(moved(half, batch) - moved(quiet, other), noise / 2, rtol=1e-3, atol=1e-5)


# ------------------------------------------------------------------------- the code's form


def test_the_codes_form_moves_every_tensor_by_a_fraction_of_its_norm_along_its_own_gradient():
    run, batch = at_second_experience("er + refresh(strength=0.01, form=code, noise=0, damping=0)", LINEAR)
    stream = slice(0, 16)
    gradients = softmax_gradient(run, batch.x[stream], batch.y[stream])  # the batch's own rows only
    tensors = weight_and_bias(run, run.learner.w.detach().clone())
    for step, tensor, gradient in zip(weight_and_bias(run, moved(run, batch)), tensors, gradients, strict=True):
        assert float(step.norm()) == pytest.approx(0.01 * float(tensor.norm()), rel=1e-4)
        torch.testing.assert_close(step / step.norm(), (gradient / gradient.norm()).float(), rtol=1e-3, atol=1e-5)


def test_the_codes_form_leaves_terms_and_penalties_out():
    alone, first = at_second_experience("refresh(strength=0.01, form=code, noise=0, damping=0)")
    joined, second = at_second_experience("l2(strength=5) + refresh(strength=0.01, form=code, noise=0, damping=0)")
    for run in (alone, joined):
        run.learner.w.data += 0.01
    assert torch.equal(moved(joined, second), moved(alone, first))


def test_the_codes_form_unlearns_the_very_inputs_of_the_step():
    run, batch = at_second_experience("er + refresh(strength=0.01, form=code)", "training.augment=crop-flip")
    asked, inner = [], run.learner.side_work.gradient
    run.learner.side_work.gradient = lambda own: (asked.append(own.x), inner(own))[1]
    moved(run, batch)
    assert torch.equal(asked[0], batch.x[:16])


def test_a_tensor_of_zeros_never_moves_in_the_codes_form_but_by_its_noise():
    for noise, largest in ((0, 0.0), (1, 1e-5)):
        run, batch = at_second_experience(f"refresh(strength=0.001, form=code, noise={noise})", LINEAR)
        run.learner.w.data[run.learner.slices["head.bias"]] = 0
        weight, bias = weight_and_bias(run, moved(run, batch))
        assert float(weight.norm()) > 1e-4
        assert float(bias.abs().max()) <= largest
        assert bool(bias.any()) == bool(noise)


def test_the_codes_noise_has_a_thousandth_of_the_strength_whatever_the_weights():
    def run_and_batch(noise: int):
        return at_second_experience(f"refresh(strength=1, form=code, damping=0, noise={noise})", "model.hidden=[64]")

    loud, quiet = (moved(*run_and_batch(noise)) for noise in (1, 0))
    noise = ((loud - quiet) / 1e-3).numpy()
    assert stats.kstest(noise, "norm").pvalue > 0.01


def test_a_batch_of_merged_rows_alone_is_not_unlearned_in_the_codes_form():
    run, batch = at_second_experience("refresh(strength=0.01, form=code)")
    merged = run.learner.batch(batch.index[:, :0])
    merged.append(batch.index)
    assert not moved(run, merged).any()


# ------------------------------------------------------------------------- direction


@pytest.mark.parametrize("form", ["paper", "code"])
def test_up_raises_the_loss_of_the_batch_and_down_lowers_it(form):
    change = {}
    for direction in ("up", "down"):
        run, batch = at_second_experience(f"refresh(strength=0.02, form={form}, noise=0, direction={direction})")

        def loss(run=run, batch=batch) -> float:
            with torch.no_grad():
                return float(run.learner.loss(batch, run.learner.model(batch.x)))

        before = loss()
        moved(run, batch)
        change[direction] = loss() - before
    assert change["up"] > 1e-4
    assert change["down"] < -1e-4


@pytest.mark.parametrize("form", ["paper", "code"])
def test_down_is_up_with_the_sign_turned_and_random_has_its_norm_in_every_tensor(form):
    moves = {}
    for direction in ("up", "down", "random"):
        run, batch = at_second_experience(f"refresh(strength=0.02, form={form}, noise=0, direction={direction})")
        moves[direction] = moved(run, batch)
    torch.testing.assert_close(moves["down"], -moves["up"], rtol=1e-3, atol=1e-7)
    for place in run.learner.slices.values():
        ours, theirs = moves["random"][place], moves["up"][place]
        assert float(ours.norm()) == pytest.approx(float(theirs.norm()), rel=1e-3)
        if len(ours) > 100:
            assert abs(float(ours @ theirs / theirs.norm() ** 2)) < 0.3


# ------------------------------------------------------------------------- the Fisher information


def test_the_codes_fisher_weighs_every_rows_squared_gradient_by_the_probability_of_its_label():
    run, batch = at_second_experience("refresh(strength=0.1, form=code)")
    learner, index = run.learner, batch.index[:, :12]
    expected = torch.zeros_like(learner.w)
    for column in range(12):
        row = learner.batch(index[:, column : column + 1])
        log_p = learner.model(row.x).logits.masked_fill(~learner.classes.seen, -torch.inf).log_softmax(1)[0, row.y[0]]
        pieces = torch.autograd.grad(log_p, learner._flat.parameters)
        expected += log_p.detach().exp() * torch.cat([p.reshape(-1) for p in pieces]).square() / 12
    torch.testing.assert_close(weighted_fisher(learner, index), expected, rtol=1e-4, atol=1e-8)


def test_the_codes_fisher_masks_every_row_as_its_task_label_says():
    run = ready("refresh(strength=0.1, form=code)", "stream.setting=task", "model.heads=separate", LINEAR)
    learner = run.learner
    shown = run.trainer.enter(run.stream[1])
    rows, own = shown.index[:, :8], torch.zeros(10, dtype=torch.bool)
    own[list(run.stream[1].classes)] = True
    expected = torch.zeros(10, 65)
    x = learner.batch(rows).x.flatten(1)
    p = learner.model(x).logits.detach().masked_fill(~own, -torch.inf).softmax(1)
    for n in range(8):
        error = F.one_hot(rows[Y, n], 10) - p[n]
        expected += p[n, rows[Y, n]] * torch.outer(error, torch.cat([x[n], torch.ones(1)])).square() / 8
    weight, bias = weight_and_bias(run, weighted_fisher(learner, rows))
    torch.testing.assert_close(torch.cat([weight, bias[:, None]], dim=1), expected, rtol=1e-4, atol=1e-9)


def test_the_fisher_information_is_a_running_sum_taken_at_every_visible_boundary():
    run = ready("refresh(strength=1e-6, form=code, decay=0.25)")
    (part,) = run.chain.parts
    seen: list[torch.Tensor] = []

    def note(learner, experience):
        seen.append(weighted_fisher(learner, experience.index))

    run.chain.end_experience = (note, *run.chain.end_experience)
    run.train()
    expected = torch.zeros_like(seen[0])
    for new in seen:
        expected = 0.25 * expected + new
    torch.testing.assert_close(part.state["fisher"], expected)


def test_the_papers_form_samples_labels_with_the_parts_own_generator():
    run, _ = at_second_experience("refresh(strength=1e-6, noise=0)")
    learner, (part,) = run.learner, run.chain.parts
    other = ready("refresh(strength=1e-6, noise=0)")
    first = other.trainer.enter(other.stream[0])
    expected = other.learner.side_work.fisher(
        first.index, estimator="sampled", generator=Generator(0, "part/Refresh/0")
    )
    assert torch.equal(part.state["fisher"], expected)
    assert learner.cost.extra_backward_rows == len(first)


def test_without_damping_or_without_visible_boundaries_there_is_no_fisher_information():
    assert trained("refresh(strength=1e-6, damping=0)").chain.parts[0].state == {}
    hidden = trained("er + refresh(strength=1e-6)", "stream.boundaries=false")
    assert hidden.chain.parts[1].state == {}


def settings(strategy):
    return Strategy.parse(strategy).items[0]["parameters"]


def test_each_form_has_its_own_damping_and_unit_and_old_cells_of_the_code_their_keys():
    paper, code = (settings(f"refresh(strength=0.1, form={form})") for form in ("paper", "code"))
    assert (paper["damping"], paper["unit"]) == (1.0, "mean")
    assert code == {
        "strength": 0.1, "form": "code", "steps": 1, "noise": 1.0, "damping": 0.001, "decay": 1e-5, "direction": "up",
    }  # fmt: skip
    assert settings("refresh(strength=0.1, form=code, unit=mean)")["unit"] == "mean"
    assert settings("refresh(strength=0.1, unit=one, damping=0.001)")["unit"] == "one"


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_in_the_papers_form_the_scale_of_the_fisher_information_changes_nothing(scale):
    moves = []
    for factor in (1.0, scale):
        run, batch = at_second_experience("refresh(strength=0.5, noise=0)")
        run.chain.parts[0].keep(factor * torch.linspace(0, 300, len(run.learner.w)))
        moves.append(moved(run, batch))
    torch.testing.assert_close(moves[1], moves[0], rtol=1e-4, atol=1e-9)
    half = len(moves[0]) // 2  # a weight of mean information moves half as far as it would without
    run, batch = at_second_experience("refresh(strength=0.5, noise=0, damping=0)")
    straight = moved(run, batch)
    near = slice(half - 20, half + 20)
    torch.testing.assert_close(moves[0][near], straight[near] / 2, rtol=0.05, atol=1e-9)


def test_a_fisher_information_of_zero_leaves_the_moves_as_they_are():
    run, batch = at_second_experience("refresh(strength=0.5, noise=0)")
    run.chain.parts[0].keep(torch.zeros_like(run.learner.w))
    plain, other = at_second_experience("refresh(strength=0.5, noise=0, damping=0)")
    assert torch.equal(moved(run, batch), moved(plain, other))


def test_a_fisher_information_that_cannot_matter_raises_an_alarm():
    idle = trained("er + refresh(strength=1e-5, unit=one, damping=0.001)")
    (alarm,) = (text for text in idle.alarms() if "Fisher" in text)
    part = idle.chain.parts[1]
    assert alarm.startswith("refresh left D above 0.99 at every weight")
    assert 0.99 < part.state["least"] < 1
    least = 1 / (1 + 0.001 * float(part.state["fisher"].max()))  # of the last one, which no move has seen
    assert part.state["least"] == pytest.approx(least, abs=1e-3)
    for silent in ("er + refresh(strength=1e-5)", "er + refresh(strength=1e-5, damping=0)", "er + refresh(strength=0)"):
        assert not any("Fisher" in text for text in trained(silent).alarms())


def test_where_boundaries_are_hidden_the_alarm_says_that_there_is_no_fisher_information():
    run = trained("er + refresh(strength=1e-5)", "stream.boundaries=false")
    assert any("refresh never had a Fisher information to move by" in text for text in run.alarms())


# ------------------------------------------------------------------------- what stays as it is


@pytest.mark.parametrize("form", ["paper", "code"])
@pytest.mark.parametrize("base", ["naive", "er", "icarl"])
def test_strength_zero_changes_nothing_bit_for_bit(base, form):
    joined = f"refresh(strength=0, form={form})" if base == "naive" else f"{base} + refresh(strength=0, form={form})"
    ours, theirs = (trained(s, "model.dropout=0.2", "training.momentum=0.9") for s in (joined, base))
    assert torch.equal(ours.learner.w, theirs.learner.w)
    assert same_trace(ours, theirs)
    assert ours.learner.cost.extra_forward_rows == theirs.learner.cost.extra_forward_rows


@pytest.mark.parametrize("form", ["paper", "code"])
def test_it_does_something_and_never_moves_another_parts_draws(form):
    alone, more = batches(ready("er")), batches(ready(f"er + refresh(strength=0.001, form={form})"))
    assert [b.rows.tolist() for b in more] == [b.rows.tolist() for b in alone]
    assert not torch.equal(trained(f"er + refresh(strength=0.001, form={form})").learner.w, trained("er").learner.w)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_frozen_weights_momentum_and_running_statistics_stay(form):
    run, batch = at_second_experience(
        f"refresh(strength=0.01, form={form})", "training.momentum=0.9", model=Disturbable
    )
    learner = run.learner
    learner.g.normal_()
    run.trainer.steps.step()
    frozen = torch.arange(len(learner.w)) % 2 == 0
    learner.freeze("half", frozen)
    buffers = [b.clone() for b in learner.model.buffers()]
    momentum = run.trainer.steps.optimizer.state[learner.w]["momentum_buffer"].clone()
    move = moved(run, batch)
    assert not move[frozen].any()
    assert move[~frozen].count_nonzero() > len(move) / 3
    assert torch.equal(run.trainer.steps.optimizer.state[learner.w]["momentum_buffer"], momentum)
    assert all(torch.equal(b, old) for b, old in zip(learner.model.buffers(), buffers, strict=True))


def test_separate_heads_that_no_row_of_the_batch_may_use_do_not_drift_by_noise():
    run, batch = at_second_experience("refresh(strength=0.01)", LINEAR, "stream.setting=task", "model.heads=separate")
    weight, _ = weight_and_bias(run, moved(run, batch))
    own = sorted(run.stream[1].classes)
    assert weight.any(1).nonzero()[:, 0].tolist() == own


def test_noise_goes_on_from_a_snapshot():
    run, batch = at_second_experience("refresh(strength=0.01, direction=random)")
    snapshot, w = run.chain.snapshot(), run.learner.w.detach().clone()
    first = moved(run, batch)
    run.chain.restore(snapshot)
    run.learner.w.data.copy_(w)
    assert torch.equal(moved(run, batch), first)
    assert not torch.equal(moved(run, batch), first)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_two_moves_a_step_send_the_rows_that_they_unlearn_through_twice_more(form):
    run, base = trained(f"er + refresh(strength=1e-6, form={form}, damping=0, steps=2)"), trained("er")
    cost = base.learner.cost
    rows = cost.stream_rows + (cost.replay_rows if form == "paper" else 0)
    assert run.learner.cost.extra_forward_rows == run.learner.cost.extra_backward_rows == 2 * rows


def test_the_base_with_the_codes_weight_decay_is_a_strategy_of_the_same_matrix():
    cells = plan(
        "split-digits", strategies=["er", {"strategy": "er", "training": {"weight_decay": 1e-4}}], seeds=1
    ).cells
    assert [cell.config["training"]["weight_decay"] for cell in cells] == [0.0, 1e-4]
    assert [cell.label for cell in cells] == ["er", "er [weight_decay=0.0001]"]


def test_a_strength_is_needed_and_may_not_be_negative():
    with pytest.raises(ValueError, match="needs a value for 'strength'"):
        plan("split-digits", strategies=["er + refresh"], seeds=1)
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        ready("refresh(strength=-1)")


def test_at_the_codes_strength_an_er_run_ends_where_er_does_to_a_few_rows():
    # a null result, as a figure: relative moves of 1e-5 over 60 steps
    ours, theirs = trained("er + refresh(strength=1e-5, form=code)"), trained("er")
    a, b = (run.evaluator.trace().score[-1] for run in (ours, theirs))
    assert np.abs(a - b).max() <= 0.1
