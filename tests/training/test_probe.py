"""The probe: plasticity and stability gradients of a step, against gradients worked out separately."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import EVERY_STRATEGY, Disturbable, assert_same, everything, ready, trained
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.running.run_cell import record
from clbench.training.gradient_probe import COLUMNS

NOT_PROBED = {"first_task", "pcr", "hpcr", "gdumb", "ncm", "slda", "acil", "ranpac", "fecam"}
QUICK = ("evaluation.every=0", "evaluation.rows_per_task=1", "training.momentum=0.9", "training.iterations=3")
OF_EVERY_KIND = ("naive", "er", "derpp", "agem", "ewc", "lwf", "pred_kd", "er_aml", "er(loss=weighted, new_weight=0.3)")


def alarms(run):
    return record(run.cell, run, status="done", reason="", device="cpu").alarms


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_probing_leaves_training_as_it_is_bit_for_bit_and_says_so_where_nothing_was_probed(strategy):
    probed, plain = trained(strategy, *QUICK, "evaluation.probe=1"), trained(strategy, *QUICK)
    assert_same(everything(probed), everything(plain))
    columns, without = probed.trainer.probe.columns(), strategy in NOT_PROBED
    assert (len(columns) == 0) == without
    assert columns[:, 2].isfinite().all()
    updates = 4 if strategy == "repeats" else 1  # on each batch; the first one is probed
    assert (probed.learner.cost.probe_rows or 0) == (0 if without else plain.learner.cost.stream_rows // updates)
    assert sum("evaluation.probe found no step" in alarm for alarm in alarms(probed)) == without
    assert not any("evaluation.probe" in alarm for alarm in alarms(plain))


@pytest.mark.parametrize("strategy", OF_EVERY_KIND)
def test_probing_disturbs_neither_batch_statistics_nor_dropout(strategy):
    probed = trained(strategy, *QUICK, "evaluation.probe=1", model=Disturbable)
    assert_same(everything(probed), everything(trained(strategy, *QUICK, model=Disturbable)))


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
        if batch.class_mask.competes is not None:
            logits = logits.masked_fill(~batch.class_mask.competes, -torch.inf)
        terms = (0.3 * F.cross_entropy(logits[new], batch.y[new]), 0.7 * F.cross_entropy(logits[old], batch.y[old]))
        grads = [torch.autograd.grad(t, learner._flat.parameters, retain_graph=True) for t in terms]
        expected.append([float(torch.cat([g.reshape(-1) for g in gs]).norm()) for gs in grads])

    run.chain.before_step = (separate,)
    run.train()
    columns = run.trainer.probe.columns().numpy()
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
    assert whole.trainer.probe.steps == list(range(1, whole.cursor.step + 1, 5))
    kept = []
    run = ready("er", "evaluation.probe=5")
    run.train(lambda step, _: kept.append(run.snapshot()) if step == 12 else None)
    resumed = ready("er", "evaluation.probe=5")
    resumed.restore(kept[0])
    resumed.train()
    assert torch.equal(resumed.trainer.probe.columns().nan_to_num(9), whole.trainer.probe.columns().nan_to_num(9))


def test_no_probe_is_the_default_and_leaves_nothing_in_the_cell():
    run = ready("er")
    assert run.trainer.probe is None
    assert "probe" not in run.cell.config["evaluation"]


def test_after_a_switch_the_stability_of_distillation_begins_at_zero_since_the_teacher_is_the_model():
    both, alone = trained("pred_kd", "evaluation.probe=1"), trained("pred_kd(strength=0)", "evaluation.probe=1")
    switch = -(-len(both.stream[0]) // 16)  # the first step after it
    ours, theirs = (run.trainer.probe.columns() for run in (both, alone))
    # up to and including the switch both take the same steps, so the weights are the same one step longer
    assert ours[: switch + 2, 0] == pytest.approx(theirs[: switch + 2, 0], rel=1e-5)
    assert ours[switch, 1] == pytest.approx(0, abs=1e-6)
    assert ours[switch + 1, 1] > 1e-3
    assert theirs[:, 1] == pytest.approx(0, abs=1e-6)


def test_the_two_gradients_of_distillation_are_those_worked_out_by_hand_from_the_sigmoids():
    run = ready("pred_kd(strength=0.7)", "evaluation.probe=1")
    expected, part = [], run.chain.parts[0]

    def by_hand(learner, batch):
        logits = learner.model(batch.x).logits
        old = part.state.get("old", torch.zeros(10, dtype=torch.bool))
        label = F.one_hot(batch.y, 10)
        # d BCE(sigmoid(f), t) / df = sigmoid(f) - t; a mean over the rows of a sum over the classes
        of_labels = (
            (logits.sigmoid() - label)
            * ~old
            * (1 if batch.class_mask.competes is None else batch.class_mask.competes)
            / len(batch)
        )
        taught = 0.0 if not old.any() else learner.side_work.forward(batch.x, **part.state["previous"]).logits.sigmoid()
        of_teacher = 0.7 * (logits.sigmoid() - taught) * old / len(batch)
        norms = []
        for signal in (of_labels, of_teacher):
            parts = torch.autograd.grad(logits, learner._flat.parameters, signal.detach(), retain_graph=True)
            norms.append(float(torch.cat([p.reshape(-1) for p in parts]).norm()))
        expected.append(norms)

    run.chain.before_step = (by_hand,)
    run.train()
    assert run.trainer.probe.columns()[:, :2].numpy() == pytest.approx(np.array(expected), rel=1e-4, abs=1e-6)
    assert sum(stability > 1e-3 for _, stability in expected) > 10


def test_a_dense_probe_takes_the_steps_right_after_every_switch_and_goes_on_from_a_snapshot():
    dense = "evaluation.probe={dense: {steps: 2, growth: 100}}"
    whole = trained("er", dense)
    starts = np.cumsum([0, *(-(-len(e) // 16) for e in whole.stream)])[:-1]
    assert whole.trainer.probe.steps == [int(s) + k for s in starts for k in (1, 2)]
    hidden = trained("er", dense, "stream.boundaries=false")
    assert hidden.trainer.probe.steps == whole.trainer.probe.steps
    assert trained("er", "evaluation.probe={at: [3, 9]}").trainer.probe.steps == [3, 9]
    kept = []
    run = ready("er", dense)
    run.train(lambda step, _: kept.append(run.snapshot()) if step == starts[2] + 1 else None)
    resumed = ready("er", dense)
    resumed.restore(kept[0])
    resumed.train()
    assert resumed.trainer.probe.steps == whole.trainer.probe.steps


def test_what_the_probe_takes_is_booked_apart():
    plain, ours = trained("ewc").account(), trained("ewc", "evaluation.probe=1").account()
    assert plain.probe_rows is None
    assert ours.probe_rows == 300
    for name in ("extra_backward_rows", "extra_forward_rows", "train_flops"):
        assert getattr(plain, name) == getattr(ours, name)


@pytest.mark.parametrize("written", ["ends", "every", "-1", "2.5", "true", "[1, 2]"])
def test_what_names_no_steps_is_refused_in_one_sentence(written):
    with pytest.raises(Refused, match=r"evaluation\.probe .* names no steps; write a whole number of steps"):
        ready("er", f"evaluation.probe={written}")


def test_a_period_stands_in_a_cell_as_it_was_written_and_a_schedule_with_all_its_settings():
    assert ready("er", "evaluation.probe=5").cell.config["evaluation"]["probe"] == 5
    written = ready("er", "evaluation.probe=dense").cell.config["evaluation"]["probe"]
    assert written == {"dense": {"steps": 20, "growth": 1.1}}
