"""Settings chosen in each experience: what is tried, what stands, what it may see, and that it resumes bit for bit."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from support import SMALL, ready

from clbench import data
from clbench.cli.show_record import how_found
from clbench.core.errors import Refused
from clbench.core.trace_equality import trace_digest
from clbench.evaluate.held_out_accuracy import held_out_accuracy
from clbench.running import continual_search
from clbench.running.continual_search import decays
from clbench.running.plan import make_stream, plan
from clbench.running.prepare import parts_and_setup, prepare
from clbench.running.prepared_run import Run
from clbench.running.run_cell import run_cell
from clbench.running.user_objects import UserObjects
from clbench.scenarios.held_out_rows import HeldOutRows
from clbench.training.loop import train

CHF = "tuning.protocol=chf"
DEMANDING = "tuning.drop=0.02"
"""So that settings decay in some experiences of the small benchmark."""
PLASTIC = ("training.epochs=4", DEMANDING)


def done(strategy, *changes, **given):
    run = ready(strategy, CHF, *changes, **given)
    run.train()
    return run


def chosen(run):
    return [(each["values"], each["accuracies"], each["best"], each["lr"]) for each in run.search.chosen]


def same_bits(a, b):
    assert torch.equal(a.learner.w, b.learner.w)
    assert trace_digest(a.trace()) == trace_digest(b.trace())
    assert a.chain.snapshot().keys() == b.chain.snapshot().keys()
    assert a.learner.memory.state["index"].equal(b.learner.memory.state["index"])


def with_reduced_rows(strategy, *changes):
    """The run of a cell on the samples that are not held out, without a search."""
    cell = plan(SMALL, strategies=[strategy], seeds=[0], overrides=[CHF, *changes]).cells[0]
    parts, setup = parts_and_setup(cell)
    return Run.of(cell, parts, setup), setup.held_out


# --------------------------------------------------------------------------------------------------- the protocol


def scripted(monkeypatch, *accuracies):
    """Let the run measure these accuracies, one after another; the last one again and again."""
    left = list(accuracies)
    monkeypatch.setattr(continual_search, "held_out_accuracy", lambda *_: left.pop(0) if len(left) > 1 else left[0])


def test_a_setting_decays_from_its_high_end_until_the_accuracy_is_enough(monkeypatch):
    scripted(monkeypatch, 0.9, 0.1, 0.5, 0.71, 0.72, 0.9, 0.75, 1.0, 1.0)
    run = done("ewc(strength=8)")
    first, second, third = run.search.chosen[:3]
    assert (first["best"], first["accuracies"], first["values"]) == (
        0.9, [0.1, 0.5, 0.71, 0.72], {"ewc.strength": 1},
    )  # fmt: skip
    assert (second["accuracies"], second["values"], second["enough"]) == ([0.75], {"ewc.strength": 8}, True)
    assert third["accuracies"] == [1.0]
    assert run.chain.parts[0].strength == 8


def test_the_last_of_seven_tries_stands_although_it_is_not_enough(monkeypatch):
    scripted(monkeypatch, 1.0, *[0.5] * 7, 1.0)
    first = done("ewc(strength=8)").search.chosen[0]
    assert first["accuracies"] == [0.5] * 7
    assert first["values"] == {"ewc.strength": 8 / 64}
    assert not first["enough"]


def test_drop_decay_and_tries_are_settings(monkeypatch):
    scripted(monkeypatch, 1.0, *[0.5] * 99)
    first, second = done("ewc(strength=8)", "tuning.drop=0.5", "tuning.decay=0.1", "tuning.tries=3").search.chosen[:2]
    assert first["accuracies"] == [0.5]
    assert second["accuracies"] == [0.5]  # 0.5 of the best, which is 0.5 now
    scripted(monkeypatch, 1.0, *[0.4] * 3, 1.0)
    first = done("ewc(strength=8)", "tuning.drop=0.5", "tuning.decay=0.1", "tuning.tries=3").search.chosen[0]
    assert first["values"]["ewc.strength"] == pytest.approx(0.08, rel=1e-12)


def test_several_settings_decay_one_at_a_time_then_together():
    assert [decays(1, number) for number in range(4)] == [[0], [1], [2], [3]]
    assert [decays(2, number) for number in range(8)] == [
        [0, 0], [1, 0], [0, 1], [1, 1], [2, 1], [1, 2], [2, 2], [3, 2],
    ]  # fmt: skip
    assert [decays(3, number) for number in range(5)] == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]


def test_two_settings_are_tried_in_this_order(monkeypatch):
    seen = []
    scripted(monkeypatch, 1.0, *[0.1] * 4, 1.0)
    run = ready("derpp", CHF, "tuning.tries=4")
    values = run.search._values
    monkeypatch.setattr(run.search, "_values", lambda number: seen.append(values(number)) or values(number))
    run.train()
    assert run.search.chosen[0]["values"] == {"derpp.alpha": 5, "derpp.beta": 5}
    tried = [tuple(each.values()) for each in seen]
    assert list(dict.fromkeys(tried))[:4] == [(10, 10), (5, 10), (10, 5), (5, 5)]


def test_a_setting_whose_identity_is_its_high_end_begins_at_its_low_end(monkeypatch):
    scripted(monkeypatch, 1.0, 0.1, 0.1, 1.0)
    first = done("hft").search.chosen[0]
    assert first["values"]["hft.fraction"] == pytest.approx(1 - 0.9 / 4, rel=1e-12)


def test_a_value_in_the_strategy_or_in_knobs_is_the_one_to_begin_with():
    assert ready("ewc(strength=400)", CHF).search._values(1) == {"ewc.strength": 200}
    assert ready("ewc(strength=400)", CHF, "tuning.knobs={ewc.strength: 40}").search._values(0) == {"ewc.strength": 40}
    assert ready("ewc + l2", CHF, "tuning.knobs=[l2.strength]").search._values(0) == {"l2.strength": 100}
    assert ready("ewc", CHF).cell.config["tuning"]["knobs"] == {"ewc.strength": 1e5}


# --------------------------------------------------------------------------------------------------- what stands


def test_a_first_try_that_is_enough_is_the_plain_run_with_this_value_on_the_remaining_samples():
    run = done("er + ewc(strength=3)", "tuning.drop=1", "tuning.knobs=[ewc.strength]")
    assert [len(each["accuracies"]) for each in run.search.chosen] == [1] * 5
    plain, _ = with_reduced_rows("er + ewc(strength=3)")
    plain.train()
    same_bits(run, plain)


def test_tries_before_the_last_leave_nothing_in_weights_memory_parts_and_trace():
    run = done("er + lwf", *PLASTIC)
    values = [each["values"] for each in run.search.chosen]
    assert any(len(each["accuracies"]) > 1 for each in run.search.chosen)
    plain, _ = with_reduced_rows("er + lwf", *PLASTIC)
    lwf = plain.chain.parts[1]
    torch.manual_seed(0)
    for number, held in enumerate(values):
        lwf.strength, lwf.temperature = held["lwf.strength"], 2.0
        train(plain.trainer, plain.stream, plain.chain, plain.evaluator, plain.training, cursor=plain.cursor,
              until=number + 1)  # fmt: skip
        plain.cursor.experience = number + 1
    same_bits(run, plain)


def test_the_best_accuracy_is_that_of_the_strategy_without_the_part():
    run = done("er + ewc(strength=3)", "tuning.drop=1")  # the penalty begins in the second experience
    er, held_out = with_reduced_rows("er + ewc(strength=3)")
    er.chain.parts[1].strength = 0
    er_alone, _ = with_reduced_rows("er")
    for plain in (er, er_alone):
        for number in range(2):
            train(plain.trainer, plain.stream, plain.chain, plain.evaluator, plain.training, cursor=plain.cursor,
                  until=number + 1)  # fmt: skip
            plain.cursor.experience = number + 1
            found = held_out_accuracy(plain.trainer, held_out.stream, held_out.held_out(number))
            assert found == run.search.chosen[number]["best"]
    assert torch.equal(er.learner.w, er_alone.learner.w)


def test_the_cost_counts_all_tries_and_the_record_says_what_was_chosen():
    cell = plan(SMALL, strategies=["er + lwf"], seeds=[0], overrides=[CHF, *PLASTIC]).cells[0]
    record = run_cell(cell)
    tuning = record.tuning
    assert (record.status, tuning["protocol"], record.label) == ("done", "chf", "er + lwf [chf]")
    tries = sum(len(each["accuracies"]) for each in tuning["chosen"])
    assert tuning["trials"] == tries > 5
    stands = int(record.trace.step[-1])
    spent = sum(each["steps"] * (1 + len(each["accuracies"])) for each in tuning["chosen"])
    assert record.cost["steps"] == spent
    assert tuning["spent"] == round(spent / stands, 2)
    assert sum(each["steps"] for each in tuning["chosen"]) == stands


def test_a_record_is_shown_with_a_line_for_each_experience():
    told = how_found(
        {
            "protocol": "chf",
            "spent": 2.5,
            "chosen": [
                {"experience": 0, "values": {"ewc.strength": 50.0}, "lr": 0.1, "best": 0.9, "accuracies": [-1.0, 0.8],
                 "enough": True, "steps": 7},
                {"experience": 1, "values": {"ewc.strength": 25.0}, "lr": 0.1, "best": 1.0, "accuracies": [0.1],
                 "enough": False, "steps": 7},
            ],
        }
    )  # fmt: skip
    assert told == {
        "protocol": "chf",
        "spent": "2.5",
        "experience 0": "ewc.strength 50; lr 0.1; accuracy diverged, 80.0 % with the best at 90.0 %",
        "experience 1": "ewc.strength 25, the last try; lr 0.1; accuracy 10.0 % with the best at 100.0 %",
    }


def test_the_best_of_several_learning_rates_is_used():
    run = done("lwf", "training.epochs=6", "tuning.learning_rates=[1e-6, 0.1]")
    assert {each["lr"] for each in run.search.chosen} == {0.1}
    assert run.learner.lr == run.learner.base_lr == 0.1
    slow = done("lwf", "tuning.learning_rates=[1e-6]")
    assert slow.learner.base_lr == 1e-6
    assert "learning_rates" not in ready("ewc", CHF).cell.config["tuning"]


def test_a_try_that_diverges_is_not_enough_and_another_one_takes_its_place():
    run = done("l2(strength=1000)", "tuning.tries=12", "tuning.drop=0.9", "training.epochs=8")
    second = run.search.chosen[1]
    assert second["accuracies"][0] == -1
    assert second["enough"]
    assert np.isfinite(run.trace().score[-1]).all()
    cell = plan(SMALL, strategies=["l2(strength=1e30)"], seeds=[0], overrides=[CHF, "tuning.tries=2"]).cells[0]
    assert run_cell(cell).status == "diverged"


# --------------------------------------------------------------------------------------------------- what it may see


def digits(change):
    """The data set with changed training or test samples, given by a program."""
    made = data.load("digits")
    rows = {"train": made.train, "test": made.test}
    for name, part in rows.items():
        rows[name] = change(name, part)
    return replace(made, **rows, checksum="of a test")


def of(dataset):
    cell = plan(SMALL, strategies=["er + lwf"], seeds=[0], overrides=[CHF, *PLASTIC], dataset={"name": "given"}).cells[
        0
    ]
    run = prepare(cell, given=UserObjects(dataset=dataset))
    run.train()
    return run


def test_labels_of_test_samples_change_no_choice():
    generator = np.random.default_rng(0)

    def permuted(name, rows):
        return replace(rows, y=generator.permutation(rows.y)) if name == "test" else rows

    usual, other = of(digits(lambda _, rows: rows)), of(digits(permuted))
    assert chosen(usual) == chosen(other)
    assert torch.equal(usual.learner.w, other.learner.w)
    assert trace_digest(usual.trace()) != trace_digest(other.trace())


@pytest.mark.parametrize("what", ["labels", "noise"])
def test_what_comes_after_an_experience_changes_no_choice_in_it(what):
    generator = np.random.default_rng(0)
    usual = of(digits(lambda _, rows: rows))
    late = {int(row) for experience in list(usual.search._held_out.stream)[2:] for row in experience.rows}
    classes = np.unique(data.load("digits").train.y[sorted(late)])

    def changed(name, rows):
        own = np.isin(rows.y, classes)
        if what == "labels":
            y = rows.y.copy()
            y[own] = generator.permutation(y[own])
            return replace(rows, y=y)
        x = rows.x.copy()
        x[own] = generator.integers(0, 16, x[own].shape).astype(x.dtype)
        return replace(rows, x=x)

    other = of(digits(changed))
    assert chosen(usual)[:2] == chosen(other)[:2]
    assert chosen(usual)[2:] != chosen(other)[2:]


def test_evaluations_change_no_choice():
    often = done("er + lwf", *PLASTIC)
    never = done("er + lwf", *PLASTIC, "evaluation.every=0")
    assert chosen(often) == chosen(never)
    assert torch.equal(often.learner.w, never.learner.w)


def test_held_out_samples_are_of_every_class_and_never_trained_on():
    stream = make_stream(ready().cell.config["stream"], 0)
    held = HeldOutRows(stream, 0.1, seed=3)
    for number, experience in enumerate(stream):
        kept, out = held.training[number], held.held_out(number)
        assert sorted([*kept.rows, *out.rows]) == sorted(experience.rows)
        assert set(kept.rows) & set(out.rows) == set()
        labels = stream.dataset.train.y
        assert set(labels[out.rows]) == set(labels[kept.rows]) == set(labels[experience.rows])
        assert len(out) == pytest.approx(0.1 * len(experience), abs=2)
    again, other = HeldOutRows(stream, 0.1, seed=3), HeldOutRows(stream, 0.1, seed=4)
    assert again.held_out(1).rows.tolist() == held.held_out(1).rows.tolist() != other.held_out(1).rows.tolist()


def test_a_sample_that_occurs_twice_is_held_out_as_a_whole_and_one_of_a_class_stays():
    stream = make_stream(ready().cell.config["stream"], 0)
    first = stream[0]
    twice = replace(first, rows=np.concatenate([first.rows, first.rows[:9]]))
    few = replace(first, rows=first.rows[[0, 1]])
    for made in (twice, few):
        held = HeldOutRows(replace(stream, build=lambda _, made=made: made), 0.9, seed=0)
        kept, out = held.training[0], held.held_out(0)
        assert set(kept.rows) & set(out.rows) == set()
        labels = stream.dataset.train.y
        assert set(labels[kept.rows]) == set(labels[made.rows])


# --------------------------------------------------------------------------------------------------- interruption


class Stopped(Exception):
    """The run was stopped on purpose."""


def stopped_after(run, ticks):
    """Train for a number of steps, whatever they belong to."""
    left = [ticks]

    def count(_step, _fraction):
        left[0] -= 1
        if not left[0]:
            raise Stopped

    with pytest.raises(Stopped):
        run.train(count)
    return run


def through_a_file(snapshot):
    held = io.BytesIO()
    torch.save(snapshot, held)
    held.seek(0)
    return torch.load(held, weights_only=True)


@pytest.mark.parametrize("strategy", ["er + lwf", "derpp"])
def test_a_run_that_is_stopped_in_any_phase_ends_as_if_it_was_not(strategy):
    changes = (*PLASTIC, "tuning.learning_rates=[0.03, 0.1]")
    whole = ready(strategy, CHF, *changes)
    fractions = []
    whole.train(lambda _, fraction: fractions.append(fraction))
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] <= fractions[-1] <= 1
    for ticks in np.linspace(3, len(fractions) - 2, 6).astype(int):
        stopped = stopped_after(ready(strategy, CHF, *changes), int(ticks))
        resumed = ready(strategy, CHF, *changes)
        resumed.restore(through_a_file(stopped.snapshot()))
        resumed.train()
        same_bits(resumed, whole)
        assert chosen(resumed) == chosen(whole)
        assert resumed.tuning == whole.tuning
        assert resumed.learner.cost.steps == whole.learner.cost.steps


# --------------------------------------------------------------------------------------------------- cells, mistakes


def test_a_cell_has_the_section_only_if_it_is_given_and_then_with_the_values_to_begin_with():
    without = plan(SMALL, strategies=["ewc"], seeds=[0]).cells[0]
    assert "tuning" not in without.config
    held = plan(SMALL, strategies=["ewc"], seeds=[0], overrides=[CHF]).cells[0]
    assert held.config["tuning"] == {
        "protocol": "chf", "drop": 0.2, "decay": 0.5, "tries": 7, "held_out": 0.1, "knobs": {"ewc.strength": 1e5},
    }  # fmt: skip
    assert {name: value for name, value in held.config.items() if name != "tuning"} == without.config
    one = plan(SMALL, strategies=["er", {"strategy": "ewc", "tuning": {"protocol": "chf"}}], seeds=[0]).cells
    assert [(cell.label, "tuning" in cell.config) for cell in one] == [("er", False), ("ewc [chf]", True)]
    assert one[1].key == held.key


def test_a_strategy_without_a_value_for_its_setting_begins_at_the_high_end():
    benchmark = {**SMALL, "defaults": {}}
    cell = plan(benchmark, strategies=["ewc"], seeds=[0], overrides=[CHF]).cells[0]
    assert cell.config["strategy"][0]["parameters"]["strength"] == 1e5
    with pytest.raises(Refused, match="ewc' needs a value for 'strength'"):
        plan(benchmark, strategies=["ewc"], seeds=[0])


SKIPPED = [
    ("naive", "has nothing to choose: no part of naive has a number with a search range and a declared identity"),
    ("er", "no part of er has a number"),
    ("avalanche:Naive", "needs clbench's own loop"),
]


@pytest.mark.parametrize(("strategy", "words"), SKIPPED)
def test_a_strategy_with_nothing_to_choose_is_skipped_with_the_reason(strategy, words):
    cell = plan(SMALL, strategies=[strategy], seeds=[0], overrides=[CHF]).cells[0]
    record = run_cell(cell)
    assert record.status == "skipped"
    assert words in record.reason
    assert "\n" not in record.reason


MISTAKES = [
    ("ewc", ["tuning.protocol=chff"], "'chff' is not allowed: there is no such protocol; did you mean 'chf'"),
    ("ewc", ["tuning.protocol=first:2"], "first:2 compares whole runs; use clbench tune --protocol first:2"),
    ("ewc", ["tuning=chf"], "write tuning: {protocol: chf} in a file, or --set tuning.protocol=chf"),
    ("ewc", ["tuning.drop=0.1"], "the key 'tuning.protocol' is missing"),
    ("ewc", [CHF, "tuning.dorp=0.1"], "did you mean 'drop'?"),
    ("ewc", [CHF, "tuning.decay=1"], "tuning.decay = 1 is not allowed: input should be less than 1"),
    ("ewc", [CHF, "stream.boundaries=false"], "this stream hides its boundaries; leave tuning out, or set"),
    ("ewc", [CHF, "tuning.knobs=[ewc.strenght]"], "ewc' has no parameter 'strenght'; did you mean 'strength'?"),
    ("ewc", [CHF, "tuning.knobs=[ewc.gamma]"], "ewc.gamma has no declared identity"),
    ("ewc", [CHF, "tuning.knobs={ewc.strength: -1}"], "strength = -1.0 is not allowed: input should be greater"),
    ("ewc(strength=0)", [CHF], "ewc.strength = 0 is the value at which it does nothing; begin with another one"),
    ("ewc", [CHF, "tuning.knobs=[ecw.strength]"], "no strategy is called 'ecw'; did you mean 'ewc'?"),
]  # fmt: skip


@pytest.mark.parametrize(("strategy", "changes", "words"), MISTAKES)
def test_a_mistake_is_answered_in_one_sentence(strategy, changes, words):
    with pytest.raises(Refused) as caught:
        plan(SMALL, strategies=[strategy], seeds=[0], overrides=changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stream_without_classes_is_refused():
    with pytest.raises(Refused, match="compares accuracies, and samples of the family regression have no classes"):
        plan("split-diabetes", strategies=["ewc"], seeds=[0], overrides=[CHF])
