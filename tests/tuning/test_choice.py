"""The choice among trials, worked out by hand, and proposals that are the same every time."""

from __future__ import annotations

import math

import pytest

from clbench.core.errors import Refused
from clbench.core.search_space import Knob
from clbench.tuning.choice import Trial, best, idle, other_value, remarks
from clbench.tuning.effort import spent
from clbench.tuning.proposals import Proposals, distance, first_values, middle, position, rounded

STRENGTH = Knob("ewc.strength", 0.01, 10000, log=True, default=100.0)
RATE = Knob("training.lr", 0.001, 1, log=True, default=0.1)
FORM = Knob("pred_kd.over_classes", choices=("mean", "sum"), default="mean")


def trial(strength, *scores, digests=(), problem=""):
    return Trial({"ewc.strength": strength}, scores, tuple(digests), 10, problem)


def test_the_best_mean_wins_and_equal_ones_go_to_the_default_then_to_the_nearest():
    low, default, near, far = trial(1, 0.5, 0.7), trial(100.0, 0.7, 0.7), trial(90, 0.8, 0.6), trial(5000, 0.6, 0.8)
    assert best([default, low], [STRENGTH]) is default
    assert best([default, near, far], [STRENGTH]) is default
    assert best([low, far, near], [STRENGTH]) is near, "the first trial stands at 1 there, and 90 is nearer to it"
    assert best([trial(9000, 0.1), near, far], [STRENGTH]) is far
    worse = trial(100.0, 0.1, 0.1)
    assert best([worse, far, near], [STRENGTH]) is near
    assert best([worse, far, near], [STRENGTH], higher=False) is worse


def test_a_trial_without_a_score_never_wins():
    default, diverged = trial(100.0, 0.2, 0.2), trial(1000, 0.93, math.nan, problem="seed 1, diverged: infinite")
    assert math.isnan(diverged.mean)
    assert best([default, diverged], [STRENGTH]) is default
    assert best([diverged], [STRENGTH]) is None


def test_a_setting_is_idle_if_runs_with_other_values_are_equal_bit_for_bit():
    same = [trial(100.0, 0.5, digests=["a"]), trial(3, 0.5, digests=["a"]), trial(7, 0.5, digests=["a"])]
    assert idle(same)
    assert not idle([*same, trial(8, 0.5, digests=["b"])]), "an equal score alone is not an equal run"
    assert not idle(same[:1]), "one value tells nothing"
    assert not idle([trial(100.0, 0.5, digests=[""]), trial(3, 0.5, digests=[""])])
    assert idle([*same, trial(9, math.nan, digests=["c"], problem="failed")])


def test_whether_a_setting_acts_is_tried_at_its_default_or_at_the_far_end():
    assert other_value(STRENGTH, {"ewc.strength": 3.0}) == {"ewc.strength": 100.0}
    assert other_value(STRENGTH, {"ewc.strength": 100.0}) == {"ewc.strength": 0.01}
    assert other_value(FORM, {"pred_kd.over_classes": "mean"}) == {"pred_kd.over_classes": "sum"}


def test_what_a_reader_has_to_know_of_a_choice_is_said():
    trials = [
        trial(100.0, 0.71),
        trial(9000, 0.716),
        trial(3000, 0.712),
        trial(5, 0.3),
        trial(1, math.nan, problem="x"),
    ]
    told = remarks(trials[1], trials, [STRENGTH], [], close=0.01)
    assert told == [
        "ewc.strength = 9000 is at the high end of its range, 0.01 to 10000; a wider range, by --space, may hold a "
        "better value",
        "the search hardly separates the choice from the values without tuning (means 0.716 and 0.710)",
        "3 of 5 trials are within 0.01 of the choice, with ewc.strength from 100 to 9000; they are about as good",
        "1 of 5 trials have no score, and the first reason is: x",
    ]
    (idle_note,) = remarks(trials[0], trials[:1], [STRENGTH], ["ewc.strength"], close=0.01)
    assert idle_note.startswith(
        "ewc.strength changes no recorded score there: the best trial, and the one that differs"
    )
    assert "so it keeps its default 100; more experiences" in idle_note


def test_proposed_numbers_have_three_digits_and_lie_inside_of_their_range():
    whole = Knob("er.rows", 1, 64, whole=True, default=10)
    step = Knob("gem.margin", 0, 1, step=0.25, default=0.5)
    assert [rounded(STRENGTH, value) for value in (123.456, 0.00999, 10001)] == [123, 0.01, 10000]
    assert rounded(STRENGTH, 100.0) == 100.0
    assert [rounded(whole, 12.0), rounded(step, 0.75), rounded(FORM, "sum")] == [12, 0.75, "sum"]
    assert middle(STRENGTH) == 10
    assert middle(step) == 0.5
    assert first_values([STRENGTH, Knob("der.alpha", 0.01, 1, log=True, required=True)]) == {
        "ewc.strength": 100.0,
        "der.alpha": 0.1,
    }
    assert position(STRENGTH, 10) == pytest.approx(0.5)
    assert distance([STRENGTH, FORM], {"ewc.strength": 1, "pred_kd.over_classes": "sum"},
                    {"ewc.strength": 100, "pred_kd.over_classes": "mean"}) == pytest.approx(1 + 1 / 3)  # fmt: skip


@pytest.mark.parametrize("sampler", ["tpe", "qmc", "random"])
def test_proposals_are_the_same_every_time_and_begin_with_the_default(sampler):
    def asked(seed):
        made, values = Proposals([STRENGTH, RATE, FORM], sampler=sampler, seed=seed), []
        for _ in range(6):
            batch = made.ask()
            made.tell([-abs(math.log10(each["training.lr"]) + 2) if each["ewc.strength"] < 1e3 else math.nan
                       for each in batch])  # fmt: skip
            values += batch
        return values

    first = asked(0)
    assert first == asked(0)
    assert first != asked(1) or sampler == "qmc"
    assert first[0] == {"ewc.strength": 100.0, "training.lr": 0.1, "pred_kd.over_classes": "mean"}
    assert len(first) == 24
    assert all(0.01 <= each["ewc.strength"] <= 1e4 for each in first)


def test_later_proposals_follow_the_scores():
    made = Proposals([RATE], seed=0)
    values = []
    for _ in range(10):
        batch = made.ask()
        made.tell([-abs(math.log10(each["training.lr"]) + 2) for each in batch])
        values += [each["training.lr"] for each in batch]
    assert sum(0.003 < value < 0.03 for value in values[20:]) >= 14, "random points would have a third there"


def test_a_default_outside_of_its_range_is_tried_first_all_the_same():
    made = Proposals([Knob("fpf.iters", 10, 100, whole=True, default=500)], seed=0)
    batch = made.ask()
    assert batch[0] == {"fpf.iters": 500}
    assert len(batch) == 4
    made.tell([0.1, 0.2, 0.3, 0.4])
    assert all(10 <= each["fpf.iters"] <= 100 for each in made.ask())


def test_an_unknown_sampler_is_refused():
    with pytest.raises(Refused, match="there is no sampler 'bayes'; known: qmc, random, tpe"):
        Proposals([RATE], sampler="bayes")


def test_the_effort_is_a_multiple_of_one_run():
    # 24 trials x 2 seeds of 20 steps, where the stream of a trial has 20 steps and that of the benchmark 100
    assert spent(960, first=20, trial=20, run=100) == 9.6
    # a strategy that takes as many steps again in a loop of its own: one run has 200
    assert spent(1920, first=40, trial=20, run=100) == 9.6
    assert spent(960, first=0, trial=20, run=100) == 9.6
    assert spent(123456, first=20, trial=20, run=100) == 1235
