"""Rows, names, order, columns and decimals that a user chooses, in every format."""

import csv
import io
import json
import re

import numpy as np
import pytest
from command_line import call
from synthetic import matrix, record, trace_from

from clbench.core import store
from clbench.core.errors import Refused
from clbench.leaderboard import board, render


def names(made, table=0):
    return [row.strategy for row in made.tables[table].rows]


def flat(label, accuracies, **options):
    traces = [trace_from([[1]], [3], lambda *_, a=a: np.array([a])) for a in accuracies]
    return [record(label, seed, trace, **options) for seed, trace in enumerate(traces)]


RECORDS = [
    *flat("er(loss=sum, rows=8)", [0.8, 0.8, 0.8]),
    *flat("er", [0.7, 0.7]),
    *flat("agem", [0.9, 0.6, 0.6]),
    *flat("naive", [0.1, 0.1, 0.1]),
]


def test_ranks_and_reference_seeds_are_those_of_the_rows_that_are_shown():
    every = board(RECORDS, ["acc"])
    assert every.tables[0].reference == (0, 1, 2)
    assert [(row.strategy, row.rank) for row in every.tables[0].rows] == [
        ("er(loss=sum, rows=8)", 1), ("agem", 2), ("naive", 3), ("er", None),
    ]  # fmt: skip
    chosen = board(RECORDS, ["acc"], rows="er")
    assert chosen.tables[0].reference == (0, 1)  # er lacks seed 2
    assert [(row.strategy, row.rank) for row in chosen.tables[0].rows] == [("er", 1)]
    assert "1 of 4 strategies; ranks, groups and marks are among them" in chosen.tables[0].notes
    assert not any("of 4 strategies" in note for note in every.tables[0].notes)


def test_a_reference_that_is_not_shown_is_still_the_reference():
    joint = [record("cumulative", s, trace_from(np.eye(2), [2, 2], lambda *_: np.full(2, 0.9))) for s in range(3)]
    own = [record("er", s, trace_from(np.eye(2), [2, 2], lambda *_: np.full(2, 0.6))) for s in range(3)]
    (row,) = board([*joint, *own], ["intransigence"], rows=["er"]).tables[0].rows
    assert row.metrics["intransigence"].mean == pytest.approx(0.3)


def test_spaces_in_a_name_do_not_matter_and_commas_in_brackets_belong_to_it():
    assert names(board(RECORDS, rows="er(loss=sum,rows=8), er")) == ["er(loss=sum, rows=8)", "er"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("rank", ["er(loss=sum, rows=8)", "agem", "naive"]),
        ("name", ["agem", "er(loss=sum, rows=8)", "naive"]),
        ("naive, agem", ["naive", "agem", "er(loss=sum, rows=8)"]),
        ("naive", ["naive", "er(loss=sum, rows=8)", "agem"]),
        (["agem"], ["agem", "er(loss=sum, rows=8)", "naive"]),
        ("acc", ["er(loss=sum, rows=8)", "agem", "naive"]),
    ],
)
def test_rows_stand_in_the_order_that_was_asked_for(order, expected):
    assert names(board(RECORDS, rows="naive, agem, er(loss=sum, rows=8)", order=order)) == expected


def test_rows_are_sorted_by_any_metric_the_best_first_and_those_without_a_value_last():
    made = board(matrix(), ["acc"], order="forgetting")
    found = [row.metrics["forgetting"].mean for row in made.tables[0].rows if row.metrics["forgetting"].n]
    assert found == sorted(found)
    assert len(found) == 5
    assert {row.strategy for row in made.tables[0].rows[5:]} == {"joint", "gem", "ewc(strength=1e6)"}
    assert made.shown == ("acc",)


@pytest.mark.parametrize("format", ["table", "md", "csv", "json", "latex", "html"])
def test_a_new_name_replaces_the_old_one_in_every_format(format):
    made = board(
        RECORDS, ["acc"], rename=["er(loss=sum, rows=8)=Ours=best", "agem=A-GEM", "split-digits@1=Split Digits"]
    )
    text = render(made, format)
    assert "Ours=best" in text
    assert "A-GEM" in text
    assert "Split Digits" in text
    if format not in ("csv", "json"):  # these hold the recipe too; below are expected results
        assert "agem" not in text.partition("<summary>")[0]
    rows = {row.strategy: row for row in made.tables[0].rows}
    assert rows["A-GEM"].label == "agem"
    told = {row["strategy"]: row for row in json.loads(render(made, "json"))["tables"][0]["rows"]}
    assert told["A-GEM"]["label"] == "agem"
    assert "label" not in told["naive"]


def test_a_renamed_row_is_found_by_both_names():
    assert names(board(RECORDS, rows="Ours, naive", rename={"agem": "Ours"}, order="naive, Ours")) == ["naive", "Ours"]


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"rows": " "}, "--rows names no strategy; known: agem, er, "),
        ({"order": ""}, "--order names no strategy; known: agem, er, |'' is no order"),
        ({"rows": "nave"}, "no strategy is called 'nave' in these results; did you mean 'naive'"),
        ({"order": "nave"}, "'nave' is no order; choose rank, name, a metric or strategies .*'naive'"),
        ({"order": "naive, gem"}, "no strategy is called 'gem' in these results; did you mean 'agem'"),
        ({"rename": ["nave=N"]}, "no strategy or benchmark is called 'nave' in these results; did you mean 'naive'"),
        ({"rename": ["naive"]}, "cannot be read; write the old name, =, and the new one: --rename 'mine=Ours'"),
        ({"rename": ["naive="]}, "has no new name; write it as --rename 'naive=Ours'"),
        ({"rename": {"naive": "er"}}, r"2 rows of split-digits@1 would be called 'er': .*er.*; give each a name"),
        ({"columns": ["acc", "sead"]}, "there is no column 'sead'; did you mean 'seeds'"),
        ({"columns": ["acc", "cost_step"]}, "there is no column 'cost_step'; did you mean 'cost_steps'"),
        ({"columns": ["acc"], "metrics": ["acc"]}, "--metrics and --columns both choose columns"),
        ({"decimals": -1}, "--decimals -1 is not possible; choose 0 to 9"),
    ],
)
def test_a_choice_that_cannot_be_met_is_refused_with_the_remedy(choice, sentence):
    with pytest.raises(Refused, match=sentence):
        board(RECORDS, **choice)


def test_columns_are_those_named_in_their_order_with_costs():
    made = board(RECORDS, columns=["seeds", "strategy", "bwt", "acc", "cost_steps"], rows="naive, agem")
    header = render(made, "md").splitlines()[2]
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["Seeds", "Strategy", "BWT ↑", "ACC ↑", "steps"]
    assert "| 3/3 | naive | — | 10.00 ± 0.00 | 300 |" in render(made, "md")
    (agem, _) = csv.DictReader(io.StringIO(render(made, "csv")))
    assert (agem["cost_steps"], agem["cost_steps_n"]) == ("300.0", "3")
    assert "aaa" not in agem
    assert "300" in render(made, "latex")


def test_the_strategy_is_always_named_and_a_family_of_metrics_has_its_number():
    assert board(RECORDS, columns=["acc", "lca3"]).columns == ("strategy", "acc", "lca3")


@pytest.mark.parametrize(("decimals", "text"), [(0, "70 ± 43"), (1, "70.0 ± 43.0"), (3, "70.000 ± 43.027")])
@pytest.mark.parametrize("format", ["table", "md", "latex", "html"])
def test_decimals_are_as_many_as_asked_for(decimals, text, format):
    text_ = render(board(flat("agem", [0.9, 0.6, 0.6]), ["acc"], decimals=decimals), format)
    plain = re.sub(r"<[^>]+>", "", text_.replace("$\\pm$", "±").replace("$_{\\pm", " ± ").replace("}$", ""))
    assert text in plain


@pytest.mark.parametrize("format", ["csv", "json"])
def test_files_for_programs_refuse_decimals(format):
    with pytest.raises(Refused, match="numbers in full; leave out --decimals"):
        render(board(RECORDS, decimals=1), format)


# --------------------------------------------------------------------------------------------------- across benchmarks

TWO = [
    *flat("er", [0.5, 0.6, 0.7]),
    *flat("naive", [0.1, 0.2, 0.1]),
    *flat("er", [0.8, 0.9, 0.7], name="other"),
    *flat("agem", [0.2, 0.2, 0.2], name="other"),
]


def test_across_benchmarks_a_row_is_a_strategy_and_a_group_of_columns_a_benchmark():
    text = render(board(TWO, ["acc"], across=True), "md")
    lines = [line.replace("\\", "") for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == "| Strategy | other@1: ACC ↑ | split-digits@1: ACC ↑ |"
    assert re.fullmatch(r"\| er \| \*\*80.00 ± 24.84\*\* \| \*\*60.00 ± 24.84\*\* \|", lines[2])
    assert lines[3] == "| agem | 20.00 ± 0.00 | — |"
    assert lines[4] == "| naive | — | 13.33 ± 14.34 |"
    assert len(lines) == 5


def test_equal_notes_of_all_benchmarks_are_told_once_and_others_with_their_benchmark():
    failed = record("gem", 0, status="skipped", reason="no labels", name="other")
    notes = render(board([*TWO, failed], ["acc"], across=True), "table")
    assert notes.count("gem: skipped") == 1
    assert "other@1: gem: skipped (seed 0): no labels" in notes


def test_csv_across_has_the_columns_of_each_benchmark_under_its_name():
    er, agem, naive = csv.DictReader(io.StringIO(render(board(TWO, ["acc"], across=True), "csv")))
    assert (er["strategy"], float(er["other@1: acc"]), float(er["split-digits@1: acc"])) == (
        "er",
        pytest.approx(0.8),
        pytest.approx(0.6),
    )
    assert (agem["other@1: rank"], agem["split-digits@1: rank"], agem["split-digits@1: acc"]) == ("2", "", "")
    assert [float(value) for value in naive["split-digits@1: acc_values"].split()] == [0.1, 0.2, 0.1]


def test_json_refuses_across_and_the_page_shows_both():
    with pytest.raises(Refused, match="one table per benchmark; leave out --across"):
        render(board(TWO, across=True), "json")
    page = render(board(TWO, ["acc"], across=True), "html")
    assert page.index("All benchmarks") < page.index('id="board-0"')
    assert "All benchmarks" not in render(board(TWO, ["acc"]), "html")


def test_one_name_joins_rows_of_different_labels_across_benchmarks():
    records = [*flat("agem", [0.5] * 3), *flat("agem_variant", [0.6] * 3, name="other")]
    made = board(records, ["acc"], rename={"agem": "A-GEM", "agem_variant": "A-GEM"}, across=True)
    assert "| A-GEM | 60.00 ± 0.00 | 50.00 ± 0.00 |" in render(made, "md")


# --------------------------------------------------------------------------------------------------- what labels do


def test_no_label_is_a_formula_for_a_spreadsheet_or_a_command_for_a_terminal():
    rude = [*flat("=1+2", [0.5] * 3), *flat("\x1b[31mred", [0.4] * 3)]
    first, _ = csv.DictReader(io.StringIO(render(board(rude, ["acc"]), "csv")))
    assert first["strategy"] == "'=1+2"
    for format in ("table", "md", "latex"):
        text = render(board(rude, ["acc"]), format)
        assert "\x1b" not in text
        assert {"table": "␛[31mred", "md": r"␛\[31mred", "latex": "[U+001B][31mred"}[format] in text


# --------------------------------------------------------------------------------------------------- command line


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for each in TWO:
        store.save(each, folder)
    return folder


def test_the_command_takes_every_choice(results, tmp_path):
    answer = call(
        "board", results, "--rows", "er, naive", "--rename", "er=Ours", "--rename", "other@1=Other", "--order", "naive",
        "--decimals", "0", "--columns", "acc", "--across", "-o", tmp_path / "table.tex",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    text = (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert text.index("naive &") < text.index("Ours &")
    assert r"\multicolumn{1}{c}{\shortstack{Other}}" in text
    assert "agem" not in text


def test_the_terminal_shows_all_benchmarks_in_one_table(results):
    answer = call("board", results, "--across", "--metrics", "acc")
    assert "other@1" in answer.out
    assert answer.out.count("Strategy") == 1


@pytest.mark.parametrize("option", ["--metrics", "--columns"])
def test_an_option_without_a_name_is_refused(results, option):
    answer = call("board", results, option, " ,")
    assert answer.code == 2
    assert f"{option} names nothing; write names with commas between them, like acc,forgetting" in answer.err


def test_a_label_with_quotes_and_brackets_is_found_as_it_is():
    odd = flat("Bob's (first, best", [0.5, 0.6, 0.7])
    assert names(board([*RECORDS, *odd], rows="Bob's (first, best")) == ["Bob's (first, best"]


def test_a_hub_export_names_the_options_that_it_does_not_take(results, tmp_path):
    answer = call("board", results, "--format", "hub", "-o", tmp_path / "hub", "--rows", "er", "--decimals", "1")
    assert answer.code == 2
    assert "writes all records with all metrics; leave out --rows, --decimals" in answer.err


def test_without_named_metrics_a_table_across_benchmarks_is_short_and_its_csv_is_whole():
    made = board(
        [*matrix(range(3)), *(record("er", s, matrix([s])[0].trace, name="other") for s in range(3))], across=True
    )
    assert made.shown == ("acc", "wc_acc", "forgetting")
    assert "split-digits@1: aaa" in render(made, "csv").splitlines()[0]
    page = render(made, "html")
    assert re.findall(r'<th scope="colgroup" colspan="(\d)" class="number">(.*)</th>', page) == [
        ("3", "other@1"), ("3", "split-digits@1")
    ]  # fmt: skip
