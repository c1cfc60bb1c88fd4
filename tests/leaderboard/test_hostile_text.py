"""Text of records that attacks terminals, spreadsheets, pages and readers, in every field and every format."""

import csv
import io
import json
import unicodedata
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from command_line import call
from synthetic import dipping, folder, record

import clbench
from clbench.core.errors import Refused
from clbench.core.types import content_hash
from clbench.leaderboard import FORMATS, board, content, render
from clbench.leaderboard.hub_export import export
from clbench.leaderboard.notebook import html
from clbench.strategies import STRATEGIES
from clbench.strategies.strategy import Strategy

ATTACK = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp.exe\u2066\x00\x7f<script>alert(1)</script>"
FIELDS = ("label", "reason", "traceback", "alarms", "created", "environment", "fingerprint", "benchmark", "dataset",
          "scenario", "optimizer", "strategy", "parameter", "cost", "tuning")  # fmt: skip


def attacked(field: str, seed: int = 0, status: str = "done", attack: str = ATTACK):
    """A record with an attack in one of its fields."""
    made = record("er", seed, dipping(seed, tasks=2, length=8) if status == "done" else None, status=status)
    cell = json.loads(json.dumps(made.cell))
    if field == "benchmark":
        cell["benchmark"]["name"] = attack
    elif field == "dataset":
        cell["stream"]["dataset"]["name"] = attack
    elif field == "scenario":
        cell["stream"]["scenario"] = attack
    elif field == "optimizer":
        cell["training"]["optimizer"] = attack
    elif field == "strategy":
        cell["strategy"] = [{"name": attack, "parameters": {}}]
    elif field == "parameter":
        cell["strategy"] = [{"name": "er", "parameters": {attack: attack}}]
    own = {
        "label": {"label": attack},
        "reason": {"reason": attack},
        "traceback": {"traceback": f'Traceback\n  File "{attack}", line 1, in {attack}\n{attack}'},
        "alarms": {"alarms": (attack,)},
        "created": {"created": attack},
        "environment": {"environment": {"clbench": attack, "torch": attack, attack: attack}},
        "fingerprint": {"fingerprint": attack},
        "cost": {"cost": {attack: 1.0}},
        "tuning": {"tuning": {"protocol": attack, "trials": 3, "spent": 2.0, "benchmark": attack}},
    }
    return replace(made, cell=cell, key=content_hash(cell), **own.get(field, {}))


def acting(text: str) -> set[str]:
    """The characters of a text that act or hide, but for ends of lines and the tabs of a page's script."""
    return {letter for letter in text if unicodedata.category(letter) in ("Cc", "Cf", "Cs") and letter not in "\n\t"}


def records_of(field: str, attack: str = ATTACK):
    cells = [(0, "done"), (1, "done"), (2, "done"), (3, "failed")]
    return [*(attacked(field, seed, status, attack) for seed, status in cells), record("naive", 0)]


@pytest.mark.parametrize("field", FIELDS)
def test_no_format_of_a_board_holds_a_character_that_acts(field, tmp_path):
    found = records_of(field)
    for made in (board(found, ["acc"]), board(found, columns=["strategy", "settings", "recipe", "versions", "acc"])):
        for format in FORMATS:
            assert acting(render(made, format)) == set(), format
        assert acting(html(made)) == set()
    export(found, tmp_path / "hub")
    assert acting((tmp_path / "hub" / "README.md").read_text(encoding="utf-8")) == set()
    assert acting(html(found[0])) == acting(html(found[3])) == set()


@pytest.mark.parametrize("field", FIELDS)
def test_no_format_of_a_page_runs_a_script_of_a_record(field):
    made = board(records_of(field), ["acc"])
    assert "<script>alert" not in render(made, "html")
    assert "<script>alert" not in html(made)


@pytest.mark.parametrize("field", FIELDS)
def test_no_command_prints_a_character_that_acts(field, tmp_path):
    found = records_of(field)
    results = str(folder(tmp_path / "results", *found))
    commands = [["board", results], ["board", results, "--format", "csv"], ["board", results, "--format", "json"],
                ["show", results], ["show", results, found[0].key], ["show", results, found[3].key],
                ["status", results], ["plot", results], ["diff", results, results],
                ["board", results, "--rows", ATTACK], ["merge", results, results]]  # fmt: skip
    for words in commands:
        done = call(*words)
        assert acting(done.out + done.err) == set(), words
        assert "Traceback (most recent" not in done.out + done.err


@pytest.mark.parametrize("beginning", ["=", "+", "-", "@", "\t=", "\r+", "＝", " ="])
@pytest.mark.parametrize("field", ["label", "benchmark", "strategy", "environment", "tuning", "cost"])
def test_no_text_of_csv_begins_as_a_formula_and_numbers_are_numbers(beginning, field):
    found = records_of(field, f'{beginning}HYPERLINK("http://evil","click")')
    columns = {"columns": [f"cost_{name}" for name in found[0].cost]} if field == "cost" else {"metrics": ["acc"]}
    texts = [render(board(found, across=across, **columns), "csv") for across in (False, True)]
    for text in texts:
        cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
        assert [cell for cell in cells if cell.startswith(tuple("=+@\t\r＝＋－＠"))] == []
        assert all(float(cell) <= 0 for cell in cells if cell.startswith("-"))
    assert "HYPERLINK" in texts[0]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@"])
def test_no_strategy_that_runs_has_a_label_with_an_apostrophe_in_csv(sign):
    with pytest.raises(Refused):
        Strategy.parse(f"{sign}er")
    assert all(name[0].isalpha() for name in (entry.name for entry in STRATEGIES))


def test_negative_numbers_of_csv_have_no_apostrophe():
    falling = [record("er", seed, dipping(seed, loss=-0.05, depth=0)) for seed in range(3)]
    line = next(csv.DictReader(io.StringIO(render(board(falling, ["forgetting"]), "csv"))))
    assert float(line["forgetting"]) < 0
    assert line["forgetting_values"].startswith("-")


def test_programs_get_the_label_as_it_was_written(tmp_path):
    found = [attacked("label", seed) for seed in range(3)]
    made = board(found, ["acc"])
    assert json.loads(render(made, "json"))["tables"][0]["rows"][0]["strategy"] == ATTACK
    assert pq.read_table(io.BytesIO(content(made, "parquet")))["strategy"].to_pylist() == [ATTACK]
    assert set(clbench.load(folder(tmp_path / "results", *found))["strategy"]) == {ATTACK}
    export(found, tmp_path / "hub")
    assert set(pq.read_table(tmp_path / "hub" / "data" / "cells.parquet")["strategy"].to_pylist()) == {ATTACK}


def test_a_label_of_many_letters_is_cut_in_every_format_for_people_and_in_csv():
    long = "er" + "x" * 5000
    made = board(
        [replace(record("er", seed, dipping(seed, tasks=2, length=8)), label=long) for seed in range(3)], ["acc"]
    )
    for format in ("table", "md", "csv", "html"):
        text = render(made, format)
        assert "er" + "x" * 51 + "…" in text, format
        assert long not in text.replace("<wbr>", ""), format
    assert json.loads(render(made, "json"))["tables"][0]["rows"][0]["strategy"] == long
