"""The learner: one vector of weights behind a module, freezing, heads, and side work that leaves no trace."""

from __future__ import annotations

import copy

import pytest
import torch
from support import Disturbable, assert_same, batches, everything, joined, numerical, ready, trained
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.core.rng import Generator
from clbench.training.batch import Y

# --------------------------------------------------------------------------------------------------- flat views


@pytest.mark.parametrize("model", [None, Disturbable])
def test_parameters_and_gradients_are_still_views_after_training_side_work_and_looks(model):
    run = trained("agem + ewc", "training.momentum=0.9", "training.epochs=2", model=model)
    learner = run.learner
    learner._flat.check(learner.model)
    for (name, place), p in zip(learner.slices.items(), learner._flat.parameters, strict=True):
        assert dict(learner.model.named_parameters())[name] is p
        learner.w.data[place.start] = 123.0
        learner.g[place.start] = 321.0
        assert p.data.reshape(-1)[0] == 123.0
        assert p.grad.reshape(-1)[0] == 321.0
    assert sum(p.numel() for p in learner.model.parameters()) == learner.w.numel()


def sever_module_gradients(learner):
    learner.model.zero_grad(set_to_none=True)


def sever_flat_gradient(learner):
    learner._steps.optimizer.zero_grad()


def sever_dtype(learner):
    learner.model.to(torch.float64)


def sever_by_copy(learner):
    learner.model = copy.deepcopy(learner.model)


def sever_a_layer(learner):
    learner.model.layers[0] = copy.deepcopy(learner.model.layers[0])


def sever_by_assignment(learner):
    learner.model.head.bias = torch.nn.Parameter(torch.zeros(10))


@pytest.mark.parametrize(
    "sever",
    [
        sever_module_gradients,
        sever_flat_gradient,
        sever_dtype,
        sever_by_copy,
        sever_a_layer,
        sever_by_assignment,
    ],
)
def test_a_severed_view_is_noticed_at_the_next_experience(sever):
    run = ready("naive")
    run.trainer.enter(run.stream[0])
    sever(run.learner)
    with pytest.raises(Refused, match="no longer shares storage"):
        run.trainer.enter(run.stream[1])


def test_zeroing_gradients_in_place_severs_nothing():
    run = ready("naive")
    run.chain.end_experience = (lambda learner, _: learner.model.zero_grad(set_to_none=False),)
    run.train()
    assert torch.equal(run.learner.w, trained("naive").learner.w)


# --------------------------------------------------------------------------------------------------- loss terms in w


def test_a_loss_term_written_in_the_flat_weights_adds_its_gradient():
    run = ready("naive")
    anchor = torch.randn(run.learner.w.shape, generator=torch.Generator().manual_seed(0))
    gradients, weights, seen = [], [], []
    run.chain.before_step = (lambda learner, batch: (weights.append(learner.w.detach().clone()), seen.append(batch)),)
    run.chain.loss = (lambda learner, batch, output: 0.25 * (learner.w - anchor).square().sum(),)
    run.chain.gradient = (lambda learner, batch: gradients.append(learner.g.clone()),)
    run.train()
    for at in (0, len(weights) // 2):
        w, batch = weights[at], seen[at]
        run.learner.w.data.copy_(w)
        task = run.learner.side_work.gradient(batch)
        penalty = numerical(lambda v: 0.25 * (v - anchor).square().sum(), w)
        torch.testing.assert_close(gradients[at], task + penalty, rtol=1e-5, atol=1e-6)


# --------------------------------------------------------------------------------------------------- freezing


@pytest.mark.parametrize("optimizer", ["training.momentum=0.9", "training.optimizer=adam", "training.optimizer=adamw"])
@pytest.mark.parametrize("since", [1, 5])
def test_freezing_holds_weights_momentum_and_moments_while_the_rest_goes_on(optimizer, since):
    run = ready("naive", optimizer, "training.weight_decay=0.01", "model.dropout=0.2")
    mask = torch.zeros_like(run.learner.g, dtype=torch.bool)
    mask[::3] = True
    run.learner.g.zero_()
    state: list[dict[str, torch.Tensor]] = []

    def hold(learner, _):
        if len(state) + 1 == since:
            learner.freeze("test", mask)
        state.append({k: v for k, v in everything(run).items() if v.shape == mask.shape})

    run.chain.before_step = (hold,)
    run.train()
    at, end = state[since - 1], {k: v for k, v in everything(run).items() if v.shape == mask.shape}
    for name, tensor in end.items():
        before = at.get(name, torch.zeros_like(tensor))  # a moment that did not exist is zero
        assert torch.equal(tensor[mask], before[mask]), name
        assert not torch.equal(tensor[~mask], before[~mask]), name


def test_masks_of_several_names_add_up_and_each_is_lifted_alone():
    learner = ready("naive").learner
    one, two = (torch.arange(learner.w.numel()) % n == 0 for n in (2, 3))
    learner.freeze("one", one)
    learner.freeze("two", two)
    assert torch.equal(learner.frozen, one | two)
    learner.freeze("one", None)
    assert torch.equal(learner.frozen, two)
    learner.freeze("two", None)
    assert learner.frozen is None


def test_frozen_weights_are_held_in_inner_loops_with_another_optimiser_too():
    run = ready("naive")
    learner = run.learner
    mask = torch.arange(learner.w.numel()) % 2 == 0
    learner.freeze("test", mask)
    before = learner.w.detach().clone()
    learner.g.fill_(1.0)
    run.trainer.steps.step(torch.optim.SGD([learner.w], lr=0.5))
    assert torch.equal(learner.w.detach()[mask], before[mask])
    assert torch.equal(learner.w.detach()[~mask], before[~mask] - 0.5)


def test_a_mask_that_changes_in_place_or_gives_way_to_another_holds_what_it_says_now():
    run = ready("naive")
    learner = run.learner
    even = torch.arange(learner.w.numel()) % 2 == 0
    mask = even.clone()
    learner.freeze("test", mask)
    held = []
    for change in (lambda: None, mask.logical_not_, lambda: learner.freeze("test", even)):
        change()
        before = learner.w.detach().clone()
        learner.g.fill_(1.0)
        run.trainer.steps.step()
        held.append(learner.w.detach() == before)
    assert torch.equal(held[0], even)
    assert torch.equal(held[1], ~even)
    assert torch.equal(held[2], even)


# --------------------------------------------------------------------------------------------------- heads


def head_units(learner) -> torch.Tensor:
    """(C, H + 1) weights and bias of each output unit."""
    return torch.cat([learner.model.head.weight, learner.model.head.bias[:, None]], 1).detach().clone()


def test_the_head_mask_names_the_weights_and_bias_of_the_last_layer():
    learner = ready("naive").learner
    learner.w.data[learner.head_mask] = 7.0
    assert bool((head_units(learner) == 7.0).all())
    assert int(learner.head_mask.sum()) == 170
    assert not bool((learner.model.layers[0].weight == 7.0).any())


@pytest.mark.parametrize("optimizer", ["training.momentum=0.9", "training.optimizer=adam", "training.optimizer=adamw"])
def test_weight_decay_does_not_drift_heads_of_classes_not_seen_yet(optimizer):
    run = ready("er", optimizer, "training.weight_decay=0.1")
    initial, moved = head_units(run.learner), []

    def watch(learner, _):
        now = head_units(learner)
        unseen = ~learner.classes.seen
        assert torch.equal(now[unseen], initial[unseen])
        moved.append(bool((now[~unseen] != initial[~unseen]).all()))

    run.chain.after_step = (watch,)
    run.train()
    assert any(moved)


def test_where_all_outputs_compete_unseen_heads_are_pushed_down_from_the_start():
    run = ready("naive", "stream.output=all")
    initial = head_units(run.learner)
    biases = []
    run.chain.after_step = (lambda learner, _: biases.append(head_units(learner)[:, -1] - initial[:, -1]),)
    run.train()
    unseen = [c for c in range(10) if c not in run.stream[0].classes]
    assert bool((biases[0][unseen] < 0).all())


def heads_while_others_are_learned(*changes: str) -> tuple[list[torch.Tensor], list[list[int]]]:
    run = ready("naive", "stream.setting=task", "training.momentum=0.9", "training.weight_decay=0.01", *changes)
    after: list[torch.Tensor] = []
    run.chain.end_experience = (lambda learner, _: after.append(head_units(learner)),)
    run.train()
    return after, [list(e.classes) for e in run.stream]


def test_separate_heads_stand_still_while_other_tasks_are_learned_despite_momentum_and_decay():
    after, classes = heads_while_others_are_learned("model.heads=separate")
    for number in range(4):
        for later in range(number + 1, 5):
            assert torch.equal(after[later][classes[number]], after[number][classes[number]])
        assert not torch.equal(after[number + 1][classes[number + 1]], after[number][classes[number + 1]])


def test_one_shared_head_drifts_on_momentum():
    after, classes = heads_while_others_are_learned("model.heads=shared")
    assert not torch.equal(after[1][classes[0]], after[0][classes[0]])


def test_without_momentum_and_decay_separate_heads_are_the_shared_head():
    one, other = (trained("er", "stream.setting=task", f"model.heads={h}") for h in ("shared", "separate"))
    assert torch.equal(one.learner.w, other.learner.w)


def test_separate_heads_let_every_head_learn_where_task_labels_are_hidden():
    one, other = (trained("naive", f"model.heads={h}") for h in ("shared", "separate"))
    assert torch.equal(one.learner.w, other.learner.w)


# --------------------------------------------------------------------------------------------------- side work


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_and_fisher_on_the_side_leave_no_trace(training, augment):
    run = ready("naive", f"training.augment={augment}", "training.momentum=0.9", model=Disturbable)
    run.train()
    learner = run.learner
    shown = run.trainer.enter(run.stream[1])
    learner.model.train(training)
    list(learner.model.modules())[4].eval()  # one layer was frozen by its user
    learner.g.normal_(generator=torch.Generator().manual_seed(0))

    def state():
        return {
            **everything(run),
            "g": learner.g.clone(),
            "torch": torch.random.get_rng_state(),
            "augment": learner._rows.generator.get_state(),
        }

    before, modes, order = state(), [m.training for m in learner.model.modules()], run.trainer._order.state
    gradient = learner.side_work.gradient(learner.batch(shown.index[:, :20]))
    fisher = learner.side_work.fisher(shown.index[:, :20], estimator="empirical")
    assert_same(state(), before)
    assert [m.training for m in learner.model.modules()] == modes
    assert run.trainer._order.state == order
    learner._flat.check(learner.model)
    assert gradient.data_ptr() != learner.g.data_ptr()
    assert float(gradient.norm()) > 0
    assert float(fisher.sum()) > 0


def test_the_gradient_on_the_side_is_the_loops_own():
    run = ready("er")
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    run.chain.gradient = (lambda learner, batch: pairs.append((learner.g.clone(), learner.side_work.gradient(batch))),)
    run.train()
    for ours, side in pairs:
        assert torch.equal(ours, side)


def test_the_gradient_of_a_plain_batch_is_automatic_differentiation_of_the_masked_cross_entropy():
    run = ready("naive")
    index = run.trainer.enter(run.stream[0]).index[:, :12]
    batch = run.learner.batch(index)
    logits = run.learner.model(batch.x).logits.masked_fill(~run.learner.classes.seen, -torch.inf)
    expected = torch.autograd.grad(F.cross_entropy(logits, index[Y]), run.learner._flat.parameters)
    flat = torch.cat([g.reshape(-1) for g in expected])
    torch.testing.assert_close(run.learner.side_work.gradient(batch), flat)


def test_side_work_does_not_move_the_augmentation_of_the_stream():
    plain, beside = ready("naive", "training.augment=crop-flip"), ready("naive", "training.augment=crop-flip")
    beside.chain.gradient = (lambda learner, batch: learner.side_work.gradient(learner.batch(batch.index)),)
    plain.train()
    beside.train()
    assert torch.equal(plain.learner.w, beside.learner.w)


# --------------------------------------------------------------------------------------------------- what competes


@pytest.mark.parametrize("output", ["seen", "all"])
def test_the_classes_that_compete_are_the_ones_the_benchmark_names(output):
    run = ready("naive", f"stream.output={output}")
    sofar: set[int] = set()
    for experience in run.stream:
        shown = run.trainer.enter(experience)
        sofar |= set(experience.classes)
        allowed = run.learner.classes.mask(shown.index).competes
        wide = torch.ones(10, dtype=torch.bool) if allowed is None else allowed
        assert set(wide.nonzero()[:, 0].tolist()) == (sofar if output == "seen" else set(range(10)))


def test_hidden_things_are_absent():
    run = ready("naive", "stream.boundaries=false")
    shown = run.trainer.enter(run.stream[2])
    assert shown.id is None
    assert run.learner.experience is None
    with pytest.raises(AttributeError, match="hides task labels"):
        _ = run.learner.batch(shown.index).task


def test_narrowing_keeps_to_what_competed_before_and_to_its_own_rows():
    run = ready("naive")
    run.trainer.enter(run.stream[0])
    shown = run.trainer.enter(run.stream[1])
    batch = run.learner.batch(shown.index[:, :4])
    old = batch.append(shown.index[:, 4:7])
    only = torch.zeros(10, dtype=torch.bool)
    only[list(run.stream[0].classes)] = True
    only[run.stream[4].classes[0]] = True  # unseen: must stay out
    batch.mask_classes(old, only)
    first, second = set(run.stream[0].classes), set(run.stream[1].classes)
    competes = batch.class_mask.competes
    assert [set(row.nonzero()[:, 0].tolist()) for row in competes] == [first | second] * 4 + [first] * 3


def test_rows_cannot_be_appended_once_inputs_were_made():
    run = ready("naive")
    batch = run.learner.batch(run.trainer.enter(run.stream[0]).index[:, :4])
    _ = batch.x
    with pytest.raises(AssertionError, match="before inputs"):
        batch.append(batch.index[:, :1])


def test_the_order_of_rows_is_the_run_seeds_own_stream():
    run = ready("naive", "training.epochs=2", seed=9)
    order = Generator(9, "order")
    expected = [e.rows[order.permutation(len(e))].tolist() for e in run.stream for _ in range(2)]
    assert [row for b in batches(run) for row in b.rows.tolist()] == joined(expected)
