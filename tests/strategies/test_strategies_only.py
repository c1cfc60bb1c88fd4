"""Training of a few modules only: what is frozen, by name, and what stays as without it."""

from __future__ import annotations

import pytest
import torch
from support import Disturbable, assert_same, everything, ready, same_trace, train_until, trained

from clbench.core.errors import Refused
from clbench.running.prepare import Skip

NORMS = "model={name: resnet, width: 2, norm: batch}"
OPTIMIZERS = [
    ("training.momentum=0.9", "training.weight_decay=0.01"),
    ("training.optimizer=adam", "training.lr=0.01"),
    ("training.optimizer=adamw", "training.lr=0.01", "training.weight_decay=0.1"),
]


def weights(run):
    """Name of a parameter -> its weights."""
    return {name: run.learner.w.detach()[place].clone() for name, place in run.learner.slices.items()}


def moved(strategy, *changes, model=None):
    """Names of the parameters that move after the first experience, the run, and its end."""
    run, kept = ready(strategy, *changes, model=model), []
    steps = -(-len(run.stream[0]) // 16)

    def keep(step, _):
        if step == steps:
            kept.append((weights(run), {n: b.clone() for n, b in run.learner.model.named_buffers()}))

    run.train(keep)
    (before, buffers), after = kept[0], weights(run)
    changed = {name for name, old in before.items() if not torch.equal(old, after[name])}
    return changed, {n for n, b in run.learner.model.named_buffers() if not torch.equal(b, buffers[n])}, run


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_norms_biases_and_head_move_and_nothing_else_does(optimizer):
    changed, _, run = moved("only", NORMS, *optimizer)
    own = {id(p) for m in run.learner.model.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters()}
    named = dict(run.learner.model.named_parameters())
    wanted = {name for name, p in named.items() if id(p) in own or name.startswith("head") or name.endswith("bias")}
    assert changed == wanted
    assert run.chain.parts[0].state["trainable"] == pytest.approx(
        sum(named[name].numel() for name in wanted) / run.learner.w.numel()
    )


def test_in_a_model_without_norms_it_is_biases_and_head():
    changed, _, run = moved("only", "model.hidden=[7, 6]")
    assert changed == {"layers.0.bias", "layers.1.bias", "head.weight", "head.bias"}
    assert run.chain.parts[0].state["trainable"] == pytest.approx((7 + 6 + 70) / (64 * 7 + 7 + 42 + 6 + 70))


def test_running_statistics_of_frozen_norms_stay_and_those_of_trained_ones_follow():
    assert moved("only(modules=head)", model=Disturbable)[1] == set()
    statistics = {f"module.layers.2.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert moved("only(modules='head+norm')", model=Disturbable)[1] == statistics


def test_the_first_experience_is_that_of_naive():
    steps = -(-len(ready().stream[0]) // 16)
    plain, only = (train_until(ready(name, NORMS), steps) for name in ("naive", "only"))
    assert torch.equal(plain.learner.w, only.learner.w)
    early = train_until(ready("only(start_experience=1)", NORMS), 1)
    assert bool(early.learner.frozen.any())


def test_all_modules_are_naive_bit_for_bit():
    plain, only = (trained(name, NORMS, "training.momentum=0.9") for name in ("naive", "only(modules=all)"))
    assert_same(everything(only), everything(plain))
    assert same_trace(only, plain)
    assert only.chain.parts[0].state["trainable"] == 1.0


@pytest.mark.parametrize("other", ["er", "ewc(strength=10)"])
def test_it_joins_replay_and_penalties_in_any_order(other):
    changed, _, run = moved(f"{other} + only(modules=head)", NORMS)
    assert changed == {"head.weight", "head.bias"}
    other_way = trained(f"only(modules=head) + {other}", NORMS)
    assert torch.equal(run.learner.w, other_way.learner.w)
    if other == "er":
        assert run.learner.cost.replay_rows > 0


def test_with_hidden_boundaries_it_freezes_before_the_first_step_or_is_skipped():
    hidden = ("stream.boundaries=false",)
    run = trained("only(start_experience=1)", *hidden)
    start = weights(ready("naive", *hidden))
    assert {n for n, w in weights(run).items() if not torch.equal(w, start[n])} == {
        "layers.0.bias", "head.weight", "head.bias",
    }  # fmt: skip
    with pytest.raises(Skip, match="visible boundaries"):
        ready("only", *hidden)


def test_modules_that_the_model_does_not_have_are_refused_before_the_first_step():
    run = ready("only(modules=haed)")
    with pytest.raises(Refused, match="names no modules of this model; its modules are fc1, head"):
        run.train()
    assert run.cursor.step == 0


def test_biases_alone_are_fine_tuned_by_fpf():
    changed = {}
    for modules in ("bias", "bias+fc1"):
        plain, tuned = trained("naive"), trained(f"fpf(modules='{modules}', iters=5)")
        changed[modules] = {n for n, w in weights(tuned).items() if not torch.equal(w, weights(plain)[n])}
    assert changed["bias"] == {"layers.0.bias", "head.bias"}
    assert changed["bias+fc1"] == {"layers.0.weight", "layers.0.bias", "head.bias"}
