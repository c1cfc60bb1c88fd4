"""What the loop drives: checks of losses, predictions, frozen weights, and rows that move."""

import math

import pytest
import torch
from support import ready
from torch import nn

from clbench.benchmark.schema import Training
from clbench.core.cost import Cost
from clbench.models.flat_weights import flatten
from clbench.models.output import Output
from clbench.training.frozen_weights import FrozenWeights
from clbench.training.head_weights import HeadWeights
from clbench.training.loss_check import Diverged, LossCheck
from clbench.training.weight_steps import WeightSteps


def test_on_a_cpu_a_loss_that_is_not_finite_ends_the_run_at_its_step():
    losses = LossCheck(torch.device("cpu"))
    losses.note(torch.tensor(1.0), 6)
    with pytest.raises(Diverged, match="not finite at step 7") as caught:
        losses.note(torch.tensor(math.nan), 7)
    assert caught.value.step == 7


@pytest.mark.parametrize(
    ("loss", "found"),
    [(torch.zeros(64), r"has the shape \(64,\), and has to be one number"), (None, "is None"), (0.5, "is 0.5")],
)
def test_a_loss_that_is_no_scalar_tensor_is_answered_by_what_a_hook_has_to_return(loss, found):
    with pytest.raises(TypeError, match=f"the loss of a step {found}.*take the mean over samples"):
        LossCheck(torch.device("cpu")).note(loss, 1)


def test_on_a_gpu_losses_are_checked_later_and_the_first_wrong_one_is_named():
    losses = LossCheck(torch.device("cuda"))  # only its name is asked for
    for step, loss in enumerate((1.0, math.inf, 2.0, math.nan), start=5):
        losses.note(torch.tensor(loss), step)
    with pytest.raises(Diverged) as caught:
        losses.check()
    assert caught.value.step == 6
    losses.check()  # what was checked once is not checked again


class Two(nn.Module):
    """A body and a head of two weights each."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(1, 1), nn.Linear(1, 2, bias=False)


def steps(**settings):
    flat = flatten(Two())
    flat.w.data.zero_()
    frozen, cost = FrozenWeights(flat), Cost()
    return flat, frozen, cost, WeightSteps(flat, Training(lr=0.5, **settings), frozen=frozen, cost=cost)


def test_a_step_moves_the_weights_that_are_not_frozen_and_is_counted():
    flat, frozen, cost, made = steps()
    frozen.freeze("first", torch.tensor([True, False, False, False]))
    frozen.freeze("last", torch.tensor([False, False, False, True]))
    flat.g.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    made.step()
    assert flat.w.tolist() == [0.0, -1.0, -1.5, 0.0]
    frozen.freeze("last", None)
    made.step()
    assert flat.w.tolist() == [0.0, -2.0, -3.0, -2.0]
    assert cost.steps == 2


def test_the_norm_of_a_long_gradient_counts_the_weights_that_move():
    flat, frozen, _, made = steps(clip_norm=1.0)
    frozen.freeze("large", torch.tensor([True, False, False, False]))
    flat.g.copy_(torch.tensor([100.0, 3.0, 4.0, 0.0]))
    made.step()
    assert flat.w.tolist() == pytest.approx([0.0, -0.3, -0.4, 0.0])  # 0.5 times a gradient of norm 1


def test_the_learning_rate_of_all_optimisers_follows_the_schedule():
    _, _, _, made = steps(weight_decay=0.1)
    other = made.another_optimizer()
    made.scale_lr(0.25)
    assert (made.lr, made.base_lr, other.param_groups[0]["lr"]) == (0.125, 0.5, 0.125)
    assert made.decays
    assert not steps()[-1].decays


def test_momentum_goes_on_from_a_state_and_is_forgotten_by_a_reset():
    flat, _, _, made = steps(momentum=0.5)
    flat.g.fill_(1.0)
    made.step()
    state = made.state
    made.reset()
    made.step()
    assert flat.w[0].item() == -1.0  # two first steps
    made.state = state
    made.step()
    assert flat.w[0].item() == -1.75  # 0.5 · (1 + 0.5 · 1) further


def test_head_weights_are_those_of_the_output_units():
    model = Two()
    heads = HeadWeights(model, flatten(model))
    assert heads.serving(torch.tensor([False, True])).tolist() == [False, False, False, True]
    headless = nn.Linear(1, 2)
    assert not HeadWeights(headless, flatten(headless)).serving(torch.tensor([True, True])).any()


def test_parts_change_scores_one_after_another_behind_the_model_or_what_stands_in_its_place():
    run = ready("naive")
    readout, x = run.trainer.readout, torch.zeros(2, 1, 8, 8)
    assert readout.standing() is None
    assert torch.equal(readout.output(x, None).logits, run.learner.model(x).logits)
    readout.reader = lambda learner, x, task: Output(x.flatten(1)[:, :3] + 1, x)
    readout.predictors = (lambda learner, output, task, s: s + 2, lambda learner, output, task, s: s * 10)
    assert readout.predict(readout.output(x, None), None).tolist() == [[30.0] * 3] * 2
    run.trainer.enter(run.stream[1])
    assert readout.standing() == (1, tuple(c in run.stream[1].classes for c in range(10)))


def test_rows_that_lie_elsewhere_are_read_there_by_the_learner_and_its_side_work():
    run, other = ready("naive"), ready("naive", seed=1)
    index = run.trainer.enter(run.stream[0]).index[:, :3]
    run.trainer.go_on(run.stream, other.learner._rows)
    other.learner._rows.x = other.learner._rows.x.flip(0)
    flipped = other.learner.raw(index)
    assert not torch.equal(flipped, ready("naive").learner.raw(index))
    assert torch.equal(run.learner.raw(index), flipped)
    assert torch.equal(run.learner.batch(index).x, flipped)
    assert torch.equal(run.learner.side_work.features(index).logits, run.learner.side_work.forward(flipped).logits)
