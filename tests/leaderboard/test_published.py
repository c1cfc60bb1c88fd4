"""Published numbers: beside results in grey, in no rank and no key."""

from __future__ import annotations

import json

import pytest
from command_line import call

import clbench
from clbench import api
from clbench.core.errors import Refused
from clbench.leaderboard import render
from clbench.running.plan import plan

BENCHMARK = {
    "name": "mine",
    "stream": {"scenario": "split", "dataset": {"name": "digits", "train_rows": 60}, "experiences": 2},
    "model": {"name": "mlp", "hidden": [8]},
    "evaluation": {"schedule": "ends"},
    "seeds": 1,
    "strategies": ["naive", "joint"],
}
NUMBERS = [
    {"strategy": "L2P", "metric": "acc_seen", "value": 0.7993, "source": "MOS, table 1"},
    {"strategy": "SimpleCIL", "metric": "acc_seen", "value": 0.8126, "source": "MOS, table 1"},
    {"strategy": "L2P", "metric": "aia_seen", "value": 0.8594, "source": "MOS, table 1"},
    {"strategy": "naive", "metric": "acc_seen", "value": 0.9999, "source": "a_note"},
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    records = clbench.run({**BENCHMARK, "published": NUMBERS}, out=out, jobs=1)
    assert [record.status for record in records] == ["done", "done"]
    return out


def test_published_numbers_are_in_no_key():
    plain = [cell.key for cell in plan(BENCHMARK).cells]
    assert [cell.key for cell in plan({**BENCHMARK, "published": NUMBERS}).cells] == plain


def test_they_stand_below_our_rows_best_first_without_rank_and_mark(results):
    board = api.board(results)
    [table] = board.tables
    assert {row.strategy for row in table.rows} == {"joint", "naive"}
    assert sorted(row.rank for row in table.rows) == [1, 2]
    assert all(row.marks.get("acc_seen") != "best" or row.metrics["acc_seen"].mean < 0.9999 for row in table.rows)
    assert [row.strategy for row in table.published] == ["naive", "SimpleCIL", "L2P"]
    assert table.published[2].values == {"acc_seen": 0.7993, "aia_seen": 0.8594}
    assert board.shown[:3] == ("acc", "acc_seen", "aia_seen")


def test_every_format_for_people_shows_them_with_their_source(results):
    board = api.board(results)
    text = render(board, "table")
    assert "in grey, published and not ranked: SimpleCIL, L2P (MOS, table 1)" in text
    [line] = [line for line in text.splitlines() if line.lstrip().startswith("L2P")]
    assert line.split() == ["L2P", "79.9", "85.9"]
    markdown = render(board, "md")
    assert "| *L2P* |" in markdown
    assert "*79.93* | *85.94*" in markdown
    assert "in italics, published and not ranked: naive (a\\_note)" in markdown
    latex = render(board, "latex")
    assert r"\textit{L2P}" in latex
    assert r"\textit{79.9}" in latex
    page = render(board, "html")
    assert page.index('<tbody class="published">') > page.index("<tbody>")
    assert "79.93" in page
    assert "In grey, published and not ranked: naive (a_note)." in page
    assert '<tr class="published">' in clbench.html(board)


def test_json_holds_them_apart_and_csv_holds_our_rows_alone(results):
    board = api.board(results)
    [table] = json.loads(render(board, "json"))["tables"]
    assert {row["strategy"] for row in table["rows"]} == {"joint", "naive"}
    assert table["published"][0] == {"strategy": "naive", "metrics": {"acc_seen": 0.9999}, "source": "a_note"}
    assert len(render(board, "csv").splitlines()) == 3


def test_chosen_metrics_decimals_and_other_results_are_respected(results):
    [table] = api.board(results, metrics=["aia_seen"], decimals=0).tables
    assert "79.9" not in render(api.board(results, metrics=["aia_seen"]), "table")
    assert len(table.published) == 3
    [line] = [
        x
        for x in render(api.board(results, metrics=["aia_seen"], decimals=0), "table").splitlines()
        if x.lstrip().startswith("L2P")
    ]
    assert line.split() == ["L2P", "86"]


def test_a_cell_with_other_settings_has_none_if_its_file_has_a_name(tmp_path):
    out = tmp_path / "out"
    clbench.run({**BENCHMARK, "name": "other", "version": 7}, out=out, jobs=1, strategies=["naive"])
    assert api.board(out).tables[0].published == ()


def test_show_sets_them_beside_ours(results, tmp_path):
    key = api.records(results)[0].key
    shown = call("show", results, key)
    assert shown.code == 0, shown.err
    assert "published, by others" in shown.out
    assert "L2P        ACC (rows) 79.93, AIA (rows) 85.94 (MOS, table 1)" in shown.out
    file = tmp_path / "b.yaml"
    file.write_text(json.dumps({**BENCHMARK, "published": NUMBERS}))
    told = call("show", file).out
    assert "Published" in told
    [line] = [line for line in told.splitlines() if line.lstrip().startswith("SimpleCIL")]
    assert line.split() == ["SimpleCIL", "81.26", "MOS,", "table", "1"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"value": 79.93},
            r"value = 79.93 of 'L2P' is outside the range of acc_seen, 0 to 1; percent are written as frac",
        ),
        ({"metric": "acc_sen"}, "acc_sen.*did you mean 'acc_seen'"),
        ({"year": 2025}, "unknown key 'published.0.year'; known: "),
        ({"source": ""}, "source"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(change, sentence):
    with pytest.raises(Refused, match=sentence):
        plan({**BENCHMARK, "published": [{**NUMBERS[0], **change}]})
