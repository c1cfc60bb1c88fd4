"""The column *settings* of a leaderboard: how the settings of a row were found."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from synthetic import record, trace_from

from clbench.leaderboard import board, frame, render
from clbench.leaderboard.settings_origin import settings_origin

FIRST = {"protocol": "first:1", "trials": 24, "spent": 4.8, "study": "aaaaaaaa", "benchmark": "split-digits@1"}
END = {"protocol": "end", "trials": 24, "spent": 48.0, "study": "bbbbbbbb", "benchmark": "split-digits@1"}


def cell(label, accuracy, seed=0, *, parameters=None, tuning=None, **options):
    made = record(label, seed, trace_from([[1]], [3], lambda *_: np.array([accuracy])), **options)
    if parameters is not None:
        made.cell["strategy"] = [{"name": label.partition("(")[0], "parameters": parameters}]
    made.tuning.update(tuning or {})
    return made


EWC = {"strength": 3.0, "mode": "separate", "gamma": 1.0, "fisher": "exact", "rows": None}


@pytest.mark.parametrize(
    ("label", "parameters", "told"),
    [
        ("naive", {}, "default"),
        ("agem", {}, "default"),
        ("ewc(strength=3)", EWC, "given"),  # it has no default
        ("feat_kd", {"nothing": 1}, "given"),
        ("icarl", {"over_classes": "sum"}, "given"),
        ("naive [lr=0.2]", {}, "given"),
    ],
)
def test_settings_are_default_or_given_by_the_declared_defaults(label, parameters, told):
    made = cell("naive", 0.5)
    made.cell["strategy"] = [{"name": label.partition("(")[0].partition(" ")[0], "parameters": parameters}]
    made = type(made)(**{**vars(made), "label": label})
    assert settings_origin([made]) == told


def test_a_board_without_tuned_rows_has_no_column_unless_asked():
    records = [cell("naive", 0.5), cell("er", 0.7)]
    assert "Settings" not in render(board(records, ["acc"]), "md")
    assert "settings" not in render(board(records, ["acc"]), "csv").splitlines()[0].split(",")
    assert "settings" not in json.loads(render(board(records, ["acc"]), "json"))["tables"][0]["rows"][0]
    assert "settings" not in frame(records).columns
    asked = board(records, columns=["strategy", "settings", "acc"])
    assert "| naive | default |" in render(asked, "md")
    assert "settings" in render(asked, "csv").splitlines()[0].split(",")


def test_every_format_says_how_settings_were_found_where_a_search_found_any():
    records = [
        cell("naive", 0.2),
        cell("ewc(strength=3)", 0.5, parameters=EWC, tuning=FIRST),
        cell("ewc(strength=90)", 0.6, parameters={**EWC, "strength": 90.0}, tuning=END),
    ]
    made = board(records, ["acc"])
    text = {name: render(made, name) for name in ("md", "csv", "json", "latex", "html", "table")}
    for name in text:
        assert "first:1 (24 trials, 4.8x)" in text[name], name
        assert "end (24 trials, 48x)" in text[name], name
    note = "settings chosen on the whole stream (end), which is not available to a learner: ewc(strength=90)"
    assert note in text["md"]
    assert note in json.loads(text["json"])["tables"][0]["notes"]
    rows = {row["strategy"]: row["settings"] for row in csv.DictReader(io.StringIO(text["csv"]))}
    assert rows == {"naive": "default", "ewc(strength=3)": "first:1 (24 trials, 4.8x)",
                    "ewc(strength=90)": "end (24 trials, 48x)"}  # fmt: skip
    told = {row["strategy"]: row.get("tuning") for row in json.loads(text["json"])["tables"][0]["rows"]}
    assert told == {"naive": None, "ewc(strength=3)": FIRST, "ewc(strength=90)": END}
    assert dict(zip(frame(records)["strategy"], frame(records)["settings"], strict=True)) == rows


def test_runs_with_equal_values_from_two_searches_are_two_rows():
    records = [
        cell("ewc(strength=3)", 0.5 + seed / 10, seed, parameters=EWC, tuning=tuning)
        for tuning in (FIRST, END)
        for seed in range(3)
    ]
    assert len({each.key for each in records}) == 3
    (table,) = board(records, ["acc"]).tables
    found = {row.strategy: (row.settings_origin, row.finished) for row in table.rows}
    assert found == {
        "ewc(strength=3) [tuned=first:1]": ("first:1 (24 trials, 4.8x)", (0, 1, 2)),
        "ewc(strength=3) [tuned=end]": ("end (24 trials, 48x)", (0, 1, 2)),
    }


def test_runs_that_chose_their_settings_themselves_are_one_row_with_the_range_of_their_efforts():
    def chf(spent):
        return {"protocol": "chf", "trials": 5, "spent": spent, "chosen": [{"experience": 0}]}

    records = [
        cell("ewc [chf]", 0.5, seed, parameters=EWC, tuning=chf(spent)) for seed, spent in enumerate((2.5, 2.0, 2.83))
    ]
    (table,) = board(records, ["acc"]).tables
    assert [(row.strategy, row.settings_origin) for row in table.rows] == [("ewc [chf]", "chf (2 to 2.83x)")]
    assert settings_origin(records[:1]) == "chf (2.5x)"


def test_seeds_that_were_tuned_do_not_mix_with_seeds_that_were_not():
    records = [cell("ewc(strength=3)", 0.5, seed, parameters=EWC, tuning=FIRST if seed else None) for seed in range(3)]
    (table,) = board(records, ["acc"]).tables
    assert {row.strategy: row.finished for row in table.rows} == {
        "ewc(strength=3) [tuned=no]": (0,),
        "ewc(strength=3) [tuned=first:1]": (1, 2),
    }
