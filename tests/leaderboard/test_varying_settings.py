"""Columns for settings in which cells differ, and the settings that tell equal labels apart."""

import math
from dataclasses import replace

from command_line import call
from synthetic import dipping, record

from clbench.comparison.record_groups import settings_that_differ
from clbench.core import store
from clbench.leaderboard import frame
from clbench.leaderboard.varying_settings import varying_settings


def ewc(seed, strength, lr=0.05, **more):
    settings = [{"name": "er", "parameters": {}}, {"name": "ewc", "parameters": {"strength": strength}, **more}]
    return record("er + ewc", seed, dipping(seed), settings=settings, training={"lr": lr})


def test_a_setting_that_varies_has_a_column_and_others_have_none():
    records = [ewc(0, 1), ewc(1, 1.0), ewc(0, 5, lr=0.1), record("er", 0, dipping(9))]
    table = frame(records)
    assert list(table.columns[:7]) == [
        "benchmark", "strategy", "engine", "seed", "training.lr", "strategy.ewc.strength", "status",
    ]  # fmt: skip
    told = table[["strategy", "seed", "training.lr"]].itertuples(index=False, name=None)
    assert list(told) == [("er", 0, 0.05), ("er + ewc", 0, 0.05), ("er + ewc", 0, 0.1), ("er + ewc", 1, 0.05)]
    strengths = list(table["strategy.ewc.strength"])
    assert math.isnan(strengths[0])
    assert strengths[1:] == [1, 5, 1]
    assert "training.lr" not in frame(records, settings=False).columns


def test_a_number_written_in_two_ways_does_not_vary():
    assert list(varying_settings([ewc(0, 1), ewc(1, 1.0)]).values()) == [{}, {}]


def test_a_setting_that_an_older_cell_lacks_has_its_default():
    old, new = record("er", 0), record("er", 1)
    cell = {**new.cell, "training": {**new.cell["training"], "drop_last": False}}
    assert "training.drop_last" not in varying_settings([old, replace(new, cell=cell)])[old.key]
    cell = {**new.cell, "training": {**new.cell["training"], "drop_last": True}}
    told = varying_settings([old, replace(new, cell=cell)])
    assert (told[old.key], told[new.key]) == ({"training.drop_last": False}, {"training.drop_last": True})


def test_code_and_lists_that_differ_have_columns():
    one, other = ewc(0, 1, source="aaaa"), ewc(0, 1, source="bbbb")
    model = {"name": "mlp", "hidden": [50]}
    other = replace(other, cell={**other.cell, "model": model})
    told = varying_settings([one, other])
    assert told[one.key] == {"model.hidden": "[100, 100]", "strategy.ewc.source": "aaaa"}
    assert told[other.key] == {"model.hidden": "[50]", "strategy.ewc.source": "bbbb"}


def test_equal_labels_are_told_apart_by_what_differs_besides_the_seed():
    records = [ewc(0, 1), ewc(1, 1), ewc(0, 5), record("er", 0), record("er", 1)]
    told = settings_that_differ(records)
    assert [told[each.key] for each in records] == ["strength=1", "strength=1", "strength=5", "", ""]


def test_show_lists_what_tells_equal_labels_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    for each in (ewc(0, 1), ewc(0, 5), record("er", 0, dipping(3))):
        store.save(each, tmp_path)
    lines = [line.split() for line in call("show", tmp_path).out.splitlines()]
    assert any(line[:6] == ["Key", "Benchmark", "Strategy", "Differs", "in", "Seed"] for line in lines)
    assert [line[2:] for line in lines if line and line[1:2] == ["split-digits@1"]] == [
        ["er", "0", "done"],
        ["er", "+", "ewc", "strength=1", "0", "done"],
        ["er", "+", "ewc", "strength=5", "0", "done"],
    ]
