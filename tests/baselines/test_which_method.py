"""The decision table of the docs says what the records say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BASELINES = Path(__file__).parents[2] / "baselines"
sys.path.insert(0, str(BASELINES))
try:
    import which_method
finally:
    sys.path.remove(str(BASELINES))

Measured = which_method.Measured


def measured(label, scores, **others):
    return Measured(label, dict(enumerate(scores)), **{"work": 1.0, "kept": 0.0, "replays": False, **others})


def test_the_page_has_the_table_of_the_records():
    assert which_method.page() == which_method.PAGE.read_text(encoding="utf-8")
    assert which_method.page().count("leaderboard.md)") >= 12


def test_the_questions_and_answers_quote_the_records():
    text = (which_method.PAGE.parent / "faq.md").read_text(encoding="utf-8")
    digits = {each.benchmark: which_method.measured(each) for each in which_method.SITUATIONS if "digits" in each.words}
    assert f"{100 * digits['split-digits@2']['naive'].mean:.1f} % on `split-digits`" in " ".join(text.split())
    assert f"`ewc` then has {100 * digits['split-digits-task@1']['ewc'].mean:.1f} %" in text


def test_a_difference_is_paired_by_seed():
    one, other = measured("a", [0.5, 0.7, 0.9]), measured("b", [0.4, 0.6, 0.8])
    mean, half = which_method.difference(one, other)
    assert mean == pytest.approx(0.1)
    assert half == pytest.approx(0.0, abs=1e-12)  # the scores vary widely, their differences do not


def test_an_interval_by_hand_decides_what_is_separated():
    best = measured("best", [0.90, 0.92, 0.94])
    near = measured(
        "near", [0.89, 0.93, 0.91]
    )  # differences 1, -1, 3 points: mean 1, s 2, half-width 4.303 * 2 / sqrt(3)
    far = measured("far", [0.80, 0.81, 0.83])
    mean, half = which_method.difference(best, near)
    assert (mean, half) == (pytest.approx(0.01), pytest.approx(0.04303 * 2 / 3**0.5, rel=1e-3))
    assert which_method.unseparated([best, near, far]) == [near]


def test_upper_bounds_few_seeds_and_replay_are_left_out_where_they_are_not_asked_for(monkeypatch):
    found = {
        each.label: each
        for each in (
            measured("joint", [0.9, 0.9, 0.9]),
            measured("cumulative [lr=0.1]", [0.9, 0.9, 0.9]),
            measured("er", [0.8, 0.8, 0.8], replays=True),
            measured("lucky", [0.99, 0.99]),
            measured("naive", [0.2, 0.2, 0.2]),
        )
    }
    monkeypatch.setattr(which_method, "measured", lambda situation: found)
    with_samples, without = which_method.SITUATIONS[:2]
    assert [each.label for each in which_method.ranked(with_samples)] == ["er", "naive"]
    assert [each.label for each in which_method.ranked(without)] == ["naive"]
