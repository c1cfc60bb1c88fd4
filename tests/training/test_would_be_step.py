"""The change that the next step would make is the one that it then makes, and asking for it changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import assert_same, everything, ready, same_trace, trained

DRAWING = '''
import torch


class Langevin(torch.optim.Optimizer):
    """Adds noise to the step, counts outside of the state that torch copies, and shortens the gradient in place."""

    def __init__(self, weights, lr):
        super().__init__(weights, {"lr": lr})
        self.kept = {"steps": 0}

    def state_dict(self):
        return {**super().state_dict(), "steps": self.kept["steps"]}

    def load_state_dict(self, state):
        state = dict(state)
        self.kept["steps"] = state.pop("steps")
        super().load_state_dict(state)

    @torch.no_grad()
    def step(self, closure=None):
        self.kept["steps"] += 1
        for group in self.param_groups:
            for w in group["params"]:
                w.grad.div_(self.kept["steps"])
                w.sub_(group["lr"] * w.grad).add_(torch.randn_like(w), alpha=0.01)
'''

OPTIMIZERS = {
    "sgd": ("training.optimizer=sgd",),
    "weight decay": ("training.optimizer=sgd", "training.weight_decay=0.1"),
    "momentum": ("training.optimizer=sgd", "training.momentum=0.9"),
    "nesterov": ("training.optimizer={sgd: {nesterov: true}}", "training.momentum=0.9"),
    "adam": ("training.optimizer=adam", "training.lr=0.01"),
    "amsgrad": ("training.optimizer={adam: {amsgrad: true}}", "training.weight_decay=0.1"),
    "adamw": ("training.optimizer=adamw", "training.weight_decay=0.1"),
    "longest gradient": ("training.clip_norm=0.01", "training.momentum=0.9"),
    "schedule": ("training.lr_schedule=cosine", "training.optimizer=adam", "training.epochs=2"),
    "separate heads": (
        "stream.setting=task",
        "model.heads=separate",
        "training.optimizer=adam",
        "training.clip_norm=1",
    ),
}


def announced(run):
    """Train and return what was said of each step in the ``gradient`` hook beside what it then did, as pairs (P,)."""
    pairs, kept = [], {}

    def ask(learner, batch):
        kept.update(said=learner.would_be_step(), before=learner.w.detach().clone())

    def compare(learner, batch):
        pairs.append((kept["said"], learner.w.detach() - kept["before"]))

    run.chain.gradient += (ask,)
    run.chain.after_step += (compare,)
    run.train()
    return pairs


@pytest.mark.parametrize("changes", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_step_is_the_one_that_was_said_and_a_run_that_asks_has_the_same_bits(changes):
    asking = ready("er", *changes)
    pairs = announced(asking)
    assert len(pairs) > 10
    for said, made in pairs:
        assert torch.equal(said, made)
    assert pairs[-1][0].any()
    plain = trained("er", *changes)
    assert_same(everything(plain), everything(asking))
    assert same_trace(plain, asking)
    assert asking.learner.cost.steps == plain.learner.cost.steps
    assert asking.learner.cost.extra_forward_rows == plain.learner.cost.extra_forward_rows


def test_an_optimizer_of_the_users_that_draws_and_counts_and_changes_gradients_goes_on_as_if_nobody_had_asked(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(DRAWING)
    own = ("training.optimizer", {f"{file}:Langevin": {}})
    asking, plain = ready("naive", own), ready("naive", own)
    pairs = announced(asking)
    assert all(torch.equal(said, made) for said, made in pairs)
    plain.train()
    assert_same(everything(plain), everything(asking))
    assert asking.trainer.steps.optimizer.kept == plain.trainer.steps.optimizer.kept == {"steps": len(pairs)}


def test_momentum_and_frozen_weights_count_as_worked_out_by_hand():
    run = ready("naive", "training.momentum=0.5", "training.lr=0.25")
    learner = run.learner
    frozen = torch.zeros_like(learner.g, dtype=torch.bool)
    frozen[0] = True
    learner.g.fill_(2.0)
    run.trainer.steps.step()  # the momentum is now 2
    learner.freeze("first", frozen)
    learner.g.fill_(4.0)
    said = learner.would_be_step()  # -0.25 · (0.5 · 2 + 4)
    np.testing.assert_array_equal(said[1:].unique(), [-1.25])
    assert said[0] == 0
    assert learner.g.unique().tolist() == [4.0]
    assert run.trainer.steps.optimizer.state[learner.w]["momentum_buffer"].unique().tolist() == [2.0]
