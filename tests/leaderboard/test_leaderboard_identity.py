"""A board says what it is: which benchmark and setting, which rows and data, which strategies and versions."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic import record, trace_from

import clbench
from clbench.comparison import comparable
from clbench.core.record import Record
from clbench.core.types import content_hash
from clbench.leaderboard import FORMATS, board, render
from clbench.plots import stability_gap
from clbench.running.plan import plan


def run_of(cell, accuracy=0.5, **options):
    """A made-up record of a planned cell."""
    trace = trace_from([[1]], [3], lambda *_: np.array([accuracy]))
    given = {"status": "done", "trace": trace, "fingerprint": f"stream{cell.seed}", "data": "d" * 32, **options}
    return Record(key=cell.key, cell=cell.config, label=cell.label, **given)


def runs(*overrides, strategies=("er",), seeds=1, **options):
    cells = plan("split-digits@1", overrides=overrides, strategies=list(strategies), seeds=seeds).cells
    return [run_of(cell, **options) for cell in cells]


def titles(records):
    return [table.benchmark for table in board(records).tables]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], ""),
        (["training.epochs=50"], " + training.epochs=50"),
        (["training.epochs=5"], ""),
        (["stream.setting=task"], " + stream.setting=task"),
        (["stream.dataset=mnist"], " + stream.dataset=mnist"),
        (["stream.dataset.normalize=mean-std"], " + stream.dataset.normalize=mean-std"),
        (["model.hidden=[10]"], " + model.hidden=[10]"),
        (["memory.size=7"], " + memory.size=7"),
        (["evaluation.every=0", "training.lr=0.1"], " + training.lr=0.1 + evaluation.schedule=ends"),
        (["reveal=[length]"], ' + reveal=["length"]'),
        (["training.lr_schedule=cosine"], " + training.lr_schedule.cosine.end=0.1"),
        (["stream.dataset.validation=0.2"], " + stream.dataset.validation=0.2"),
        (
            ["stream.dataset.validation=0.2", "stream.dataset.evaluate_on=validation"],
            " + stream.dataset.validation=0.2, validation samples",
        ),
    ],
)
def test_a_table_is_called_by_what_differs_from_the_shipped_file(overrides, told):
    assert titles(runs(*overrides)) == [f"split-digits@1{told}"]


def test_a_benchmark_that_is_not_shipped_is_called_by_its_name():
    document = {"name": "own", "stream": {"scenario": "split", "dataset": "digits"}, "model": {"name": "mlp"}}
    held_out = {"name": "digits", "validation": 0.2, "evaluate_on": "validation"}
    cells = [
        plan({**document, "stream": {**document["stream"], "dataset": rows}}, seeds=1).cells[0]
        for rows in ("digits", held_out)
    ]
    assert titles([run_of(cell) for cell in cells]) == ["own@1", "own@1, validation samples"]


def test_a_setting_that_an_older_cell_lacks_is_at_its_default():
    [made] = runs()
    cell = json.loads(json.dumps(made.cell))
    del cell["training"]["augment"], cell["stream"]["dataset"]["size"], cell["stream"]["order"]
    assert comparable.deviations(cell, "er") == []


def test_settings_of_a_strategy_are_told_by_its_label_alone():
    cells = plan(
        "split-digits@1", strategies=[{"strategy": "er", "training": {"lr": 0.2}}, "gdumb(passes=1)"], seeds=1
    ).cells
    assert titles([run_of(cell) for cell in cells]) == ["split-digits@1"]
    other = runs("defaults.ewc.strength=7", strategies=["ewc", "ewc(strength=8)", "naive"])
    assert titles(other) == ["split-digits@1", "split-digits@1 + defaults.ewc.strength=7"]


def test_the_official_row_and_the_changed_one_are_never_ranked_together():
    records = [*runs(accuracy=0.36), *runs("training.epochs=50", accuracy=0.84), *runs(strategies=["naive"])]
    first, second = board(records).tables
    assert {row.strategy: row.rank for row in first.rows} == {"er": 2, "naive": 1}
    assert [(row.strategy, row.rank) for row in second.rows] == [("er", 1)]
    for format in FORMATS:
        text = render(board(records), format).replace(r"\allowbreak{}", "").replace("\\", "")
        assert "split-digits@1 + training.epochs=50" in text, format


def test_rows_of_other_data_are_neither_averaged_nor_ranked_together():
    one, two = runs(seeds=2)
    mixed = [replace(one, data="a" * 32), replace(two, data="b" * 32)]
    assert titles(mixed) == ["split-digits@1, data aaaaaaaa", "split-digits@1, data bbbbbbbb"]
    assert [len(row.finished) for table in board(mixed).tables for row in table.rows] == [1, 1]


def test_older_records_are_told_by_their_fingerprints_and_bounds_are_no_other_data():
    cells = plan("split-digits@1", strategies=["er", "naive", "agem", "joint"], seeds=1).cells
    er, naive, agem, joint = (run_of(cell, data="") for cell in cells)
    assert titles([er, naive, replace(joint, fingerprint="merged")]) == ["split-digits@1"]
    found = board([er, naive, replace(agem, fingerprint="changed"), replace(joint, fingerprint="merged")])
    assert {table.benchmark: {row.strategy for row in table.rows} for table in found.tables} == {
        "split-digits@1, data not recorded": {"er", "naive", "joint"},
        "split-digits@1, other data": {"agem"},
    }


def test_an_older_record_joins_the_newer_ones_of_its_stream():
    [new] = runs(strategies=["naive"])
    [old] = runs(data="")
    assert titles([old, new]) == ["split-digits@1"]
    other = [replace(old, fingerprint="changed"), new]
    assert titles(other) == ["split-digits@1, data dddddddd", "split-digits@1, other data"]
    [second] = runs(strategies=["agem"], seeds="1,", data="")  # no newer record of its seed: nothing speaks against it
    assert titles([second, new]) == ["split-digits@1"]


def test_only_what_declares_it_is_called_an_upper_bound():
    records = [record(label, 0, trace_from([[1]], [3], lambda *_: np.array([0.5]))) for label in ("er", "naive", "l2")]
    bound = record("joint", 0, trace_from([[1]], [3], lambda *_: np.array([0.9])), fingerprint="merged")
    odd = record("agem", 0, trace_from([[1]], [3], lambda *_: np.array([0.9])), fingerprint="odd")
    notes = [note for table in board([*records, bound]).tables for note in table.notes]
    assert "upper bounds (trained on all data at once): joint" in notes
    notes = [note for table in board([*records, odd]).tables for note in table.notes]
    assert not any("upper bounds are" in note and "agem" in note for note in notes)


def test_a_label_that_is_not_its_strategy_is_told():
    written = [{"strategy": "naive", "label": "er"}, {"strategy": "er(loss=sum)", "label": "er_sum"}, "l2", "gem"]
    cells = plan("split-digits@1", strategies=written, seeds=1).cells
    made = board([run_of(cell) for cell in cells])
    assert "labels: er is naive; er_sum is er(loss=sum)" in made.tables[0].notes
    rows = {row["strategy"]: row for row in csv.DictReader(io.StringIO(render(made, "csv")))}
    assert rows["er"]["recipe"] == "naive"
    assert rows["er_sum"]["recipe"] == "er(loss=sum)"
    told = {row["strategy"]: row["recipe"] for row in json.loads(render(made, "json"))["tables"][0]["rows"]}
    assert told["er_sum"] == "er(loss=sum)"


def test_labels_as_they_are_written_are_not_told():
    written = ["er + ewc(strength=3)", "er(loss=sum)", {"strategy": "er", "training": {"lr": 0.2}}, "hft(fraction=0.5)"]
    cells = plan("split-digits@1", strategies=written, seeds=1).cells
    notes = board([run_of(cell) for cell in cells]).tables[0].notes
    assert not any(note.startswith("labels") for note in notes)


def test_versions_are_named_where_rows_differ_in_them():
    old = runs(environment={"clbench": "0.1.0", "torch": "2.4"})
    new = runs(strategies=["naive"], environment={"clbench": "0.2.0", "torch": "2.4"})
    note = "made with different versions: clbench 0.1.0, torch 2.4 (er); clbench 0.2.0, torch 2.4 (naive)"
    made = board([*old, *new])
    assert note in made.tables[0].notes
    for format in set(FORMATS) - {"csv"}:
        assert "made with different versions" in render(made, format).lower(), format
    assert "clbench 0.2.0, torch 2.4" in render(made, "csv")
    assert not any("versions" in note for note in board(old).tables[0].notes)


def test_a_picture_is_of_one_table_and_says_which_there_are():
    records = [*runs(), *runs("training.epochs=50")]
    assert stability_gap(records, benchmark="split-digits@1") is not None
    two = [*runs("training.epochs=50"), *runs("training.epochs=60")]
    with pytest.raises(clbench.Refused, match=r"training\.epochs=50, split-digits@1 \+ training\.epochs=60"):
        stability_gap(two, benchmark="split-digits@1")


def test_a_changed_label_is_shown_after_the_same_command_again(tmp_path):
    small = {
        "name": "small",
        "stream": {"scenario": "split", "experiences": 2, "dataset": "digits"},
        "model": {"name": "mlp", "hidden": [4]},
        "evaluation": {"every": 0},
        "seeds": 1,
    }
    [first] = clbench.run({**small, "strategies": ["naive"]}, out=tmp_path)
    [second] = clbench.run({**small, "strategies": [{"strategy": "naive", "label": "plain"}]}, out=tmp_path)
    assert (first.key, first.created) == (second.key, second.created)
    assert [row.strategy for row in clbench.board(tmp_path).tables[0].rows] == ["plain"]
    assert content_hash(second.cell) == second.key
    assert first.data == second.data != ""


NEW, OLD = {"engine": "1" * 16, "strategy": "2" * 16}, {"engine": "0" * 16, "strategy": "2" * 16}


@pytest.mark.parametrize(
    ("codes", "note"),
    [
        (({}, {}, {}), None),  # older results, which know nothing of their code
        ((NEW, NEW, NEW), None),
        ((NEW, NEW, OLD), "states of the engine: 2 and 1 records"),
        ((NEW, {}, {}), "unknown code: 2 of 3 records"),
        ((NEW, {**NEW, "strategy": "3" * 16}, NEW), "states of strategies: er"),
    ],
)
def test_code_is_told_where_records_of_a_table_were_made_by_different_code(codes, note):
    records = [replace(each, code=code) for each, code in zip(runs(seeds=3), codes, strict=True)]
    [table] = board(records).tables
    told = [each for each in table.notes if each.startswith("made by different code")]
    whole = f"made by different code ({note}); `clbench status DIR` counts stale cells"
    assert told == ([] if note is None else [whole])
