"""The probe: plasticity and stability gradients of a step, against gradients worked out separately."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import Disturbable, assert_same, everything, ready, trained
from torch.nn import functional as F

from clbench.cell import record
from clbench.probe import COLUMNS

STRATEGIES = ["naive", "er", "er(loss=weighted, new_weight=0.3)", "agem", "ewc(strength=100)", "er_ace"]


@pytest.mark.parametrize("model", [None, Disturbable])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_probing_leaves_training_as_it_is_bit_for_bit(strategy, model):
    changes = ("training.momentum=0.9",)
    probed = trained(strategy, *changes, "evaluation.probe=1", model=model)
    assert_same(everything(probed), everything(trained(strategy, *changes, model=model)))


def probed(strategy, *changes):
    run = trained(strategy, "evaluation.probe=1", *changes)
    trace = record(run.cell, run, status="done", reason="", device="cpu").trace
    return trace.probe_step, dict(zip(COLUMNS, trace.probe.T, strict=True)), run


def test_naive_training_is_plasticity_alone():
    steps, columns, run = probed("naive")
    assert steps.tolist() == list(range(1, run.cursor.step + 1))
    assert np.all(columns["stability"] == 0)
    assert columns["plasticity_share"] == pytest.approx(1)
    assert np.isnan(columns["cosine"]).all()


def test_shares_add_up_to_one_and_norms_obey_the_law_of_cosines():
    for strategy in ("er", "agem", "ewc(strength=10)"):
        _, c, _ = probed(strategy)
        assert c["plasticity_share"] + c["stability_share"] == pytest.approx(1, abs=1e-4)
        both = c["stability"] > 0
        assert both.any()
        inner = c["cosine"] * c["plasticity"] * c["stability"]
        squared = c["plasticity"] ** 2 + c["stability"] ** 2 + 2 * inner
        assert c["update"][both] ** 2 == pytest.approx(squared[both], rel=1e-3)


def test_the_two_gradients_of_a_weighted_replay_step_are_those_of_its_two_terms():
    run = ready("er(loss=weighted, new_weight=0.3)", "evaluation.probe=1")
    expected = []

    def separate(learner, batch):
        if len(batch.sources) == 1:
            expected.append(None)
            return
        new, old = batch.stream.span, batch.sources[1].span
        logits = learner.model(batch.x).logits
        if batch.allowed is not None:
            logits = logits.masked_fill(~batch.allowed, -torch.inf)
        terms = (0.3 * F.cross_entropy(logits[new], batch.y[new]), 0.7 * F.cross_entropy(logits[old], batch.y[old]))
        grads = [torch.autograd.grad(t, learner.flat.parameters, retain_graph=True) for t in terms]
        expected.append([float(torch.cat([g.reshape(-1) for g in gs]).norm()) for gs in grads])

    run.chain.before_step = (separate,)
    run.train()
    columns = run.learner.probe.columns().numpy()
    drawn = [i for i, e in enumerate(expected) if e is not None]
    assert len(drawn) > 10
    assert columns[drawn][:, :2] == pytest.approx(np.array([expected[i] for i in drawn]), rel=1e-3)


def test_after_a_switch_the_penalty_of_ewc_begins_at_zero_and_grows():
    steps, c, run = probed("ewc(strength=10)", "training.epochs=3")
    ends = np.cumsum([3 * -(-len(e) // 16) for e in run.stream])
    first = int(np.flatnonzero(steps == ends[0] + 1)[0])
    assert c["stability"][first] == 0  # at the anchor
    assert c["stability"][first + 1] > 0


def test_it_probes_every_so_many_steps_and_goes_on_from_a_snapshot():
    whole = trained("er", "evaluation.probe=5")
    assert whole.learner.probe.steps == list(range(1, whole.cursor.step + 1, 5))
    kept = []
    run = ready("er", "evaluation.probe=5")
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 12 else None)
    resumed = ready("er", "evaluation.probe=5")
    resumed.restore(kept[0])
    resumed.train()
    assert torch.equal(resumed.learner.probe.columns().nan_to_num(9), whole.learner.probe.columns().nan_to_num(9))


def test_no_probe_is_the_default_and_leaves_nothing_in_the_cell():
    run = ready("er")
    assert run.learner.probe is None
    assert "probe" not in run.cell.config["evaluation"]
