"""The newest version of a user's code among records."""

from dataclasses import replace

from synthetic import dipping, record

import clbench
from clbench.comparison.code_versions import count_versions, newest, version
from clbench.core.store import save
from clbench.leaderboard import board, render


def mine(seed, source, minute, **parameters):
    items = [{"name": "mine.py:Mine", "parameters": parameters, "source": source}]
    made = record("mine", seed, dipping(seed), settings=items)
    return replace(made, created=f"2024-01-01T00:{minute:02d}:00+00:00")


def test_the_version_with_the_latest_record_is_the_newest_and_code_of_clbench_has_one():
    old, new = [mine(seed, "aaaa", seed) for seed in (0, 1)], [mine(0, "bbbb", 5)]
    er = [record("er", 0), record("er", 0, training={"lr": 0.1})]
    kept, older = newest([*old, *er, *new])
    assert kept == [*er, *new]
    assert older == old
    assert count_versions(older) == {"mine": 1}
    assert version(er[0]) == ""
    assert version(old[0]) == version(old[1]) != version(new[0])


def test_a_parameter_that_an_edit_has_added_makes_no_other_strategy():
    old, new = mine(0, "aaaa", 1, width=3), mine(0, "bbbb", 2, width=3, depth=1)
    assert newest([new, old]) == ([new], [old])


def test_settings_of_the_newest_code_stay_beside_each_other():
    one, other, old = mine(0, "bbbb", 1, width=3), mine(0, "bbbb", 2, width=4), mine(0, "aaaa", 0, width=4)
    assert newest([one, other, old]) == ([one, other], [old])


def test_other_benchmarks_labels_and_settings_are_judged_alone():
    old, new = mine(0, "aaaa", 1), mine(0, "bbbb", 2)
    benchmark = replace(old, cell={**old.cell, "benchmark": {"name": "split-digits", "version": 2}})
    label, training = replace(old, label="mine too"), replace(old, cell={**old.cell, "training": {"lr": 1.0}})
    assert newest([new, benchmark, label, training])[1] == []


def test_code_of_a_model_or_a_scenario_counts_too():
    def with_model(source, minute):
        made = mine(0, "aaaa", minute)
        return replace(made, cell={**made.cell, "model": {"name": "net.py:Net", "width": 3, "source": source}})

    old, new = with_model("cccc", 1), with_model("dddd", 2)
    assert newest([old, new]) == ([new], [old])


def test_a_frame_of_the_latest_versions_has_one_row_for_a_seed(tmp_path):
    for each in (mine(0, "aaaa", 1), mine(0, "bbbb", 2), record("er", 0)):
        save(each, tmp_path)
    assert list(clbench.load(tmp_path)["strategy"]) == ["er", "mine", "mine"]
    frame = clbench.load(tmp_path, latest=True).set_index("strategy")
    assert list(frame.index) == ["er", "mine"]
    assert frame.loc["mine", "created"] == "2024-01-01T00:02:00+00:00"


def test_a_board_of_the_latest_versions_says_what_it_leaves_out():
    records = [
        mine(0, "aaaa", 1),
        mine(1, "aaaa", 2),
        mine(0, "bbbb", 3),
        mine(0, "cccc", 4),
        record("er", 0, dipping(7)),
    ]
    [everything], [latest] = board(records).tables, board(records, latest=True).tables
    assert len(everything.rows) == 4
    assert sorted(row.strategy for row in latest.rows) == ["er", "mine"]
    sentence = "2 older versions of code left out (2 of mine; 3 cells)"
    assert latest.notes[-1] == sentence
    assert sentence in render(board(records, latest=True), "md")
    assert not any("left out" in note for note in everything.notes)
    shown = "2 older versions of code shown too (2 of mine); `clbench board DIR --latest` leaves them out"
    assert shown in everything.notes
    assert not any("shown too" in note for note in latest.notes)
    assert board([record("er", 0, dipping(7))], latest=True).tables[0].notes == board(records[-1:]).tables[0].notes
