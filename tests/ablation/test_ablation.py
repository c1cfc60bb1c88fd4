"""What of a lead is due to the form of the loss, the learning rate and the idea: a known case, and sums by hand."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import clbench
from clbench.ablation.arms import arm, equal_form_arm, identity_arm
from clbench.ablation.loss_forms import MeasuredForm, of_steps
from clbench.ablation.rate_search import Found, Protocol, close_calls, protocol, search
from clbench.ablation.shares import FORM, IDEA, OTHER, RATE, TOTAL, Ablation, Compared
from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.measure import ACCURACY
from clbench.running.loss_measure import StepForm

TWIST = '''
from dataclasses import dataclass
from typing import ClassVar

import clbench
from torch.nn import functional as F


@dataclass(kw_only=True)
class LossWeighted(clbench.Part):
    """Rehearse samples, weighted by their loss: over all classes, and beside the whole loss of the stream."""

    power: float = 1.0

    needs: ClassVar = frozenset({"memory"})
    owns: ClassVar = frozenset({"stream coefficient"})

    def batch(self, learner, batch):
        if len(learner.memory):
            draw = learner.memory.draw(batch.size, generator=self.generator)
            batch.stream.coefficient = 1.0
            batch.keep(self, old=batch.append(draw.index, coefficient=0.0))

    def loss(self, learner, batch, output):
        old = batch.kept(self).get("old")
        if old is None:
            return None
        losses = F.cross_entropy(output.logits[old.span], batch.y[old.span], reduction="none")
        weights = losses.detach().clamp(min=1e-6) ** self.power
        return (weights / weights.sum() * losses).sum()
'''
PLAIN = {"training.optimizer": "sgd", "training.lr": 0.05, "training.epochs": 5, "evaluation.every": 0}
"""Split-digits with plain SGD at a small rate, where a gradient twice as long helps by itself."""


@pytest.fixture(scope="module")
def twisted(tmp_path_factory):
    """The ablation of a twist on er that wins by its loss form, and the folder of its records."""
    folder = tmp_path_factory.mktemp("twist")
    (folder / "twist.py").write_text(TWIST, encoding="utf-8")
    name = f"{folder}/twist.py:LossWeighted"
    found = clbench.ablate(name, against="er", seeds=3, overrides=PLAIN, out=folder / "out", factors=(1, 3, 10))
    return name, folder, found


def test_a_twist_that_wins_by_a_longer_gradient_and_open_classes_is_shown_to_do_so(twisted):
    _, _, found = twisted
    effects = {effect.name: effect for effect in found.effects}
    assert effects[TOTAL].mean > 0.2, "the twist wins by more than 20 points"
    assert effects[FORM].mean > 0.7 * effects[TOTAL].mean, "most of it is the form of the loss"
    assert effects[IDEA].separated is False
    assert abs(effects[IDEA].mean) < 0.06
    assert abs(found.tuned.mean) < 0.3 * effects[TOTAL].mean, "at their own best rates the lead is gone"


def test_the_form_of_the_twist_is_measured_as_it_is_written(twisted):
    _, _, found = twisted
    ours, base = found.forms["strategy"], found.forms["baseline"]
    assert (ours.alone, ours.new, ours.old) == (1, 1, 1)
    assert (ours.new_all, ours.old_all, ours.rows, ours.first) == (False, True, 64, True)
    assert (base.alone, base.new, base.old, base.old_all, base.first) == (1, 0.5, 0.5, False, False)
    assert ours.length > 1.7 * base.length
    assert found.arm("equal form").label == "er(start=any) + loss_form(new=1, old=1, old_classes=all)"
    assert found.arm("strategy").label.endswith("twist.py:LossWeighted")


def test_the_length_of_the_gradient_is_compared_where_both_rehearse():
    def step(number, experience, rehearsed, length):
        return StepForm(number, experience, 64, rehearsed, length, {"stream": 1.0, "rehearsed": 1.0})

    both = [step(1, 0, 32, 4.0), step(2, 0, 32, 4.2), step(3, 0, 32, 4.4), step(4, 1, 32, 2.0), step(5, 1, 32, 2.2)]
    assert of_steps(both).length == 2.1
    late = [step(1, 0, 0, 9.0), step(2, 1, 32, 1.0)]
    assert of_steps(late).length == 1
    hidden = [step(1, None, 32, 3.0), step(2, None, 32, 5.0)]
    assert of_steps(hidden).length == 4


def test_shares_add_up_to_the_difference_of_the_records_at_every_seed(twisted):
    _, folder, found = twisted
    total, *shares = found.effects
    np.testing.assert_allclose(np.sum([share.values for share in shares], axis=0), total.values, atol=1e-12)
    acc = {(r.label, r.seed): clbench.metrics.get("acc")(r.trace).value for r in clbench.api.records(folder / "out")}
    label = found.arm("strategy").label
    assert total.values == tuple(acc[label, seed] - acc["er", seed] for seed in found.seeds)
    assert found.seeds == (0, 1, 2)


def test_learning_rates_are_chosen_on_held_out_samples_of_the_first_experiences_on_other_seeds(twisted):
    _, folder, found = twisted
    searched = list(store.load_all(folder / "out" / "search"))
    assert len(searched) >= 3 * 3 * 2
    for record in searched:
        stream = record.cell["stream"]
        assert stream["dataset"]["evaluate_on"] == "validation"
        assert stream["dataset"]["validation"] == 0.1
        assert stream["apply"] == [{"first": {"experiences": 3}}]
        assert record.seed not in found.seeds
        assert record.trace.experience.max() == 2
    for record in store.load_all(folder / "out"):
        assert "apply" not in record.cell["stream"]
        assert record.cell["stream"]["dataset"].get("evaluate_on", "test") == "test"


def test_a_second_call_finds_every_cell_and_every_form(twisted):
    name, folder, found = twisted
    events = []
    again = clbench.ablate(
        name, against="er", seeds=3, overrides=PLAIN, out=folder / "out", factors=(1, 3, 10),
        watch=lambda *event: events.append(event),
    )  # fmt: skip
    assert events == []
    assert again.data == found.data
    assert json.loads(json.dumps(again.data))["sentence"] == found.sentence


# ------------------------------------------------------------------------------------------- sums by hand


def by_hand(control="control", seeds=2):
    """Ours has 0.8, 0.9 and 0.85, the baseline 0.5, 0.4 and 0.45, and so on; the third seed is the mean of the two."""
    arms = (
        Compared("strategy", "mine", 0.3, False, (0.8, 0.9, 0.85)[:seeds], (0.82, 0.92, 0.87)[:seeds]),
        Compared("control", "mine(power=0)", 0.3, False, (0.7, 0.8, 0.75)[:seeds], (0.8, 0.88, 0.84)[:seeds]),
        Compared("baseline", "er", 1.0, True, (0.5, 0.4, 0.45)[:seeds], (0.75, 0.85, 0.8)[:seeds]),
        Compared(
            "equal form", "er + loss_form(old=1)", 0.3, False, (0.6, 0.7, 0.65)[:seeds], (0.78, 0.9, 0.84)[:seeds]
        ),
    )
    return Ablation("b@1", "acc", ACCURACY, 0.1, tuple(range(seeds)), arms, control, {}, "chosen on first:3")


def test_the_shares_are_the_differences_of_the_arms():
    values = {effect.name: np.round(effect.values, 12).tolist() for effect in by_hand().effects}
    assert values == {
        TOTAL: [0.3, 0.5],
        FORM: [0.1, 0.3],
        OTHER: [0.1, 0.1],
        RATE: [0.08, 0.06],  # 0.8 - 0.7 beyond 0.82 - 0.8
        IDEA: [0.02, 0.04],
    }
    np.testing.assert_allclose(by_hand().tuned.values, [0.07, 0.07])


def test_its_short_form_names_what_is_compared():
    assert repr(by_hand()) == "Ablation(mine against er on b@1)"


def test_without_a_control_of_its_own_the_idea_is_compared_with_the_equal_form():
    values = {effect.name: np.round(effect.values, 12).tolist() for effect in by_hand("equal form").effects}
    assert values == {TOTAL: [0.3, 0.5], FORM: [0.1, 0.3], RATE: [0.16, 0.18], IDEA: [0.04, 0.02]}


def test_the_sentence_has_the_interval_of_the_paired_differences():
    half = 4.30265273 * np.std([2, 4, 3], ddof=1) / 3**0.5  # Student's t with two degrees of freedom
    sentence = by_hand(seeds=3).sentence
    assert f"the idea itself adds +3.0 ± {half:.1f}, which is separated from 0" in sentence
    assert sentence.startswith("Of +40.0 ± 24.8 points of ACC over er, +20.0 come from the form of the loss, +10.0")


def test_fewer_than_three_seeds_have_no_interval():
    found = by_hand()
    assert found.effects[-1].separated is None
    assert "the idea itself adds +3.0, on fewer than three seeds, which have no interval" in found.sentence
    assert found.sentence.startswith("Of +40.0 points of ACC over er")


def test_an_idea_whose_interval_leaves_out_0_is_separated():
    idea = type(by_hand().effects[-1])
    assert idea(IDEA, (0.02, 0.021, 0.022), "").separated is True
    assert idea(IDEA, (0.02, -0.021, 0.022), "").separated is False
    assert idea(IDEA, (0.02,), "").separated is None


# ------------------------------------------------------------------------------------------- the search


def fake(curve, asked):
    """A run whose accuracy is a function of the learning rate; ``asked`` notes the rates."""

    def run(entries):
        records = []
        for entry in entries:
            rate = entry["training"]["lr"]
            asked.append(rate)
            for seed in (100, 101):
                value = curve(rate)
                status = "diverged" if math.isnan(value) else "done"
                cell = {"training": {"lr": rate}}
                label = f"{entry['label']} [lr={rate:g}]"
                records.append(SimpleNamespace(label=label, cell=cell, seed=seed, status=status, trace=value))
        return records

    return run


@pytest.mark.parametrize(
    ("curve", "best", "rates", "at_end"),
    [
        (lambda lr: -abs(math.log(lr / 0.1)), 0.1, [0.01, 0.03, 0.1, 0.3], False),
        (lambda lr: lr, 3.0, [0.01, 0.03, 0.1, 0.3, 0.95, 3.0], True),  # beyond the last rate, twice
        (lambda lr: -lr, 0.001, [0.01, 0.03, 0.1, 0.3, 0.0032, 0.001], True),
        (lambda lr: math.nan if lr > 0.2 else lr, 0.1, [0.01, 0.03, 0.1, 0.3], False),
        (lambda _: 0.5, 0.1, [0.01, 0.03, 0.1, 0.3], False),  # of equal rates the benchmark's
    ],
)
def test_the_search_takes_the_best_rate_and_goes_beyond_an_end(curve, best, rates, at_end, monkeypatch):
    monkeypatch.setattr("clbench.ablation.rate_search.get_metric", lambda _: lambda value: SimpleNamespace(value=value))
    asked = []
    found = search([arm("strategy", "er")], 0.1, Protocol(3, (100, 101)), fake(curve, asked))["er"]
    assert (found.lr, found.at_end) == (best, at_end)
    assert asked == rates


def test_two_rates_that_the_search_hardly_separates_are_named():
    found = {
        "er": Found(0.15, False, {0.05: 0.342, 0.15: 0.7617, 0.47: 0.7615}),
        "er_ace": Found(0.15, False, {0.05: 0.762, 0.15: 0.808, 0.47: math.nan}),
        "naive": Found(0.1, False, {0.1: math.nan}),
    }
    [told] = close_calls(found)
    assert told.startswith("the search hardly separates two learning rates of er, 0.15 and 0.47 (means 0.762 and 0.761")


def test_a_search_with_a_failed_cell_chooses_nothing(monkeypatch):
    monkeypatch.setattr("clbench.ablation.rate_search.get_metric", lambda _: lambda value: SimpleNamespace(value=value))

    def run(entries):
        records = fake(lambda lr: lr, [])(entries)
        records[-1].status, records[-1].reason = "failed", "ValueError: no"
        return records

    reason = r"incomplete.*er \[lr=0\.3\], seed 101, failed: ValueError: no; run the same command"
    with pytest.raises(Refused, match=reason):
        search([arm("strategy", "er")], 0.1, Protocol(3, (100, 101)), run)


def test_seeds_of_the_search_are_never_those_of_the_comparison():
    assert protocol("first:3", [0, 1, 2], (1,)).seeds == (100, 101)
    assert protocol("first:2", [0, 100, 101], (1,)).seeds == (102, 103)


@pytest.mark.parametrize(
    ("written", "factors"), [("all", (1,)), ("first:0", (1,)), ("first:3", (0, 1)), ("first:3", ())]
)
def test_other_protocols_and_factors_are_refused(written, factors):
    with pytest.raises(Refused, match=r"first:3|0\.1,0\.3"):
        protocol(written, [0], factors)


# ------------------------------------------------------------------------------------------- the arms


def test_the_identity_changes_the_strategys_own_parts_alone():
    found, why = identity_arm("er + l2(strength=2)", "er", {})
    assert (found.label, why) == ("er + l2(strength=0)", "")
    found, _ = identity_arm("er(loss=sum) + ewc(strength=3, fisher=empirical)", "er", {})
    assert found.label == "er(loss=sum) + ewc(strength=0, fisher=empirical)"


def test_a_strategy_without_an_identity_says_so():
    found, why = identity_arm("er_ace", "er", {})
    assert found is None
    assert why.startswith("er_ace declares no identity")
    assert identity_arm("er(loss=sum)", "er", {})[1] == "the strategy has only parts of the baseline, at other settings"
    assert identity_arm("er + l2(strength=0)", "er", {})[1] == "the strategy stands at its identity already"


@pytest.mark.parametrize(
    ("ours", "label"),
    [
        (MeasuredForm(1, 1, 1, rows=64), "er + loss_form(new=1, old=1)"),
        (MeasuredForm(1, 0.5, 0.5, rows=64, first=True), "er(start=any)"),
        (MeasuredForm(1, 0.52, 0.49, rows=64), "er"),  # within a tenth
        (MeasuredForm(1, 0.5, 0.5, rows=32), "er(rows=32) + loss_form(new=0.5, old=0.5)"),
        (MeasuredForm(2, 1, 1, rows=64, new_all=True), "er + loss_form(alone=2, new=1, old=1, new_classes=all)"),
        (MeasuredForm(3, None, None), "er + loss_form(alone=3)"),
    ],
)
def test_the_baseline_gets_the_form_of_the_strategy(ours, label):
    er = MeasuredForm(1, 0.5, 0.5, rows=64)
    assert equal_form_arm("er", ours, er, {}).label == label


QUICK = {"training.epochs": 1, "evaluation.every": 0, "stream.dataset.train_rows": 200}


def test_what_rehearses_and_what_does_not_have_no_form_in_common(capsys):
    found = clbench.ablate("lwf", against="er", seeds=1, factors=(1,), overrides=QUICK, progress=True)
    shown = capsys.readouterr().out
    assert "er [lr=0.01], seed 101: done" in shown, "the search shows its cells"
    assert "er, seed 0: done" in shown, "so does the comparison"
    assert [each.role for each in found.arms] == ["strategy", "identity", "baseline"]
    assert "one of the two rehearses and the other does not" in " ".join(found.notes)


def test_a_learner_with_a_step_of_its_own_has_no_equal_form_and_an_upper_bound_no_pairs():
    found = clbench.ablate("slda", against="ncm", seeds=1, factors=(1,), overrides=QUICK)
    assert "slda makes its own step" in found.notes[0]
    found = clbench.ablate("joint", against="er", seeds=1, factors=(1,), overrides=QUICK)
    assert any("not paired" in note for note in found.notes)


def test_own_arrays_and_an_own_model_are_compared_too():
    rng = np.random.default_rng(0)
    x, y = rng.random((120, 6), dtype=np.float32), np.repeat(np.arange(4), 30)
    made = []

    def model(shape, n_outputs):
        made.append((shape, n_outputs))
        return torch.nn.Linear(shape[0], n_outputs)

    found = clbench.ablate(
        "er(loss=sum)", against="er", seeds=1, factors=(1,), search_on="first:9", dataset=(x, y, x, y), model=model,
        overrides={"stream.experiences": 2, "training.epochs": 1, "training.batch_size": 8},
    )  # fmt: skip
    assert set(made) == {((6,), 4)}
    assert "first:2" in found.search, "the stream has two experiences"
    assert found.arm("equal form").label == "er + loss_form(new=1, old=1)"


def test_a_metric_without_a_value_is_refused_with_its_reason():
    with pytest.raises(Refused, match=r"wc_acc: there are no evaluations between ends"):
        clbench.ablate("er(loss=sum)", against="er", seeds=1, factors=(1,), metric="wc_acc", overrides=QUICK)


def test_a_strategy_is_not_compared_with_itself():
    with pytest.raises(Refused, match="name two different ones"):
        clbench.ablate("er(loss=concat)", against="er", seeds=1)
