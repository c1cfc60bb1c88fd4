"""One list of columns: what stands in it stands in every format."""

import csv
import io
import json
import re

import pyarrow.parquet as pq
import pytest
from command_line import call
from synthetic import flat, folder, matrix, record

from clbench.core.errors import Refused
from clbench.core.record import Record
from clbench.leaderboard import BINARY, FORMATS, board, content, render
from clbench.leaderboard.board_columns import COLUMNS, column, group_letter
from clbench.leaderboard.column_type import Column, titled
from clbench.leaderboard.hub_export import export
from clbench.leaderboard.notebook import html
from clbench.leaderboard.numbers import Number


def rows_of(label: str, accuracies: list[float], first: int = 0) -> list[Record]:
    return [record(label, seed, flat(acc)) for seed, acc in enumerate(accuracies, first)]


@pytest.fixture
def fresh(monkeypatch):
    """A statistic that no format knows of: twice the number of finished seeds, plus 1000."""
    own = Column(
        "twice",
        titled("Twice the seeds"),
        lambda _, row: Number(f"{1000 + 2 * len(row.finished)}"),
        lambda _, row: 1000 + 2 * len(row.finished),
        "twice the number of finished seeds, plus 1000",
    )
    monkeypatch.setattr("clbench.leaderboard.board_columns.COLUMNS", [*COLUMNS, own])


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("format", ["table", "md", "latex", "html"])
def test_an_entry_of_the_list_is_a_column_of_every_format_for_people(format):
    text = render(board(matrix()), format)
    assert "Twice" in text
    assert all(f"{value}" in text for value in (1010, 1008, 1000))  # five seeds, agem's four, none


@pytest.mark.usefixtures("fresh")
def test_an_entry_of_the_list_is_a_column_of_every_file_for_programs():
    made = board(matrix())
    values = {"agem": 1008, "er": 1010, "gem": 1000}
    from_csv = {line["strategy"]: line["twice"] for line in csv.DictReader(io.StringIO(render(made, "csv")))}
    assert {name: int(from_csv[name]) for name in values} == values
    from_json = {row["strategy"]: row["twice"] for row in json.loads(render(made, "json"))["tables"][0]["rows"]}
    assert {name: from_json[name] for name in values} == values
    table = pq.read_table(io.BytesIO(content(made, "parquet"))).to_pydict()
    assert {name: table["twice"][table["strategy"].index(name)] for name in values} == values
    across = next(csv.DictReader(io.StringIO(render(board(matrix(), across=True), "csv"))))
    assert across["split-digits@1: twice"] == "1010"


@pytest.mark.usefixtures("fresh")
def test_an_entry_of_the_list_stands_on_the_card_of_a_data_set_and_in_notebooks(tmp_path):
    export(matrix(), tmp_path / "hub")
    assert "| Twice the seeds |" in (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    assert ">Twice the seeds</th>" in html(board(matrix()))


@pytest.mark.usefixtures("fresh")
def test_a_user_chooses_a_new_column_by_its_name():
    made = board(matrix(), columns=["twice", "acc"])
    assert render(made, "md").splitlines()[2] == "| Strategy | Twice the seeds | ACC ↑ |"
    page = render(made, "html")
    assert re.findall(r'<th scope="col"[^>]*><button[^>]*>([^< ]*)', page) == ["Strategy", "Twice", "ACC"]


def test_every_column_has_a_name_of_its_own_a_sentence_and_a_text_for_people():
    names = [each.name for each in COLUMNS]
    assert len(set(names)) == len(names)
    assert all(each.help and not each.help.endswith(".") for each in COLUMNS)
    made = board(matrix(), columns=names)
    assert len(render(made, "md").splitlines()[2].split(" | ")) == len(names)


def test_every_format_is_one_of_text_or_one_of_bytes_and_content_gives_both():
    made = board(matrix(), ["acc"])
    assert set(BINARY) == {"parquet"}
    assert content(made, "md") == render(made, "md").encode()
    with pytest.raises(Refused, match="format parquet is no text; write it to a file"):
        render(made, "parquet")
    for format in (*FORMATS, *BINARY):
        assert content(made, format)


def test_parquet_holds_what_csv_holds_with_numbers_as_numbers_and_values_of_seeds_as_lists():
    made = board(matrix())
    table = pq.read_table(io.BytesIO(content(made, "parquet")))
    lines = list(csv.DictReader(io.StringIO(render(made, "csv"))))
    assert table.column_names == list(lines[0])
    for line, values in zip(lines, table.to_pylist(), strict=True):
        for name, text in line.items():
            value = values[name]
            shown = " ".join(map(repr, value)) if isinstance(value, list) else "" if value is None else str(value)
            assert shown == text, name


def test_a_board_is_written_as_parquet_by_the_suffix_of_its_file(tmp_path):
    results = folder(tmp_path / "results", *rows_of("er", [0.5, 0.6]))
    done = call("board", str(results), "-o", str(tmp_path / "board.parquet"))
    assert done.code == 0
    assert pq.read_table(tmp_path / "board.parquet")["acc_values"].to_pylist() == [[0.5, 0.6]]


def test_groups_are_letters_beside_labels_in_latex_and_a_column_in_other_formats():
    records = [*rows_of("good", [0.80, 0.82, 0.81]), *rows_of("bad", [0.20, 0.22, 0.215])]
    made = board(records, ["acc"])
    assert render(made, "md").splitlines()[2:6] == [
        "| # | Group | Strategy | Seeds | ACC ↑ |",
        "| ---: | ---: | :--- | ---: | ---: |",
        "| 1 | 1 | good | 3/3 | **81.00 ± 2.48** |",
        "| 2 | 2 | bad | 3/3 | 21.17 ± 2.59 |",
    ]
    latex = render(made, "latex")
    assert r"good$^{\mathrm{a}}$ & \textbf{81.0" in latex
    assert r"bad$^{\mathrm{b}}$ & 21.2" in latex
    assert "letters: groups" in latex
    assert [group_letter(group) for group in (None, 1, 26, 27)] == ["", "a", "z", "aa"]


def test_a_table_without_intervals_has_no_groups():
    made = board([*rows_of("good", [0.8, 0.9]), *rows_of("bad", [0.2, 0.3])], ["acc"])
    assert "Group" not in render(made, "md")
    assert "mathrm" not in render(made, "latex")


def test_an_incomplete_row_says_so_with_its_coverage_in_every_format_for_people():
    records = [*rows_of("good", [0.8] * 10), *rows_of("er", [0.7] * 10), *rows_of("new", [0.9])]
    made = board(records, ["acc"])
    assert "| — | — | new | incomplete 1/10 | 90.00 |" in render(made, "md")
    assert "incomplete 1/10" in render(made, "table")
    assert '<span class="tag attention" title="missing' in render(made, "html") or "incomplete 1/10</span>" in render(
        made, "html"
    )
    assert ">incomplete 1/10</td>" in html(made)
    line = list(csv.DictReader(io.StringIO(render(made, "csv"))))[-1]
    assert (line["strategy"], line["rank"], line["standing"], line["seeds"], line["finished"]) == (
        "new", "", "incomplete", "10", "1",
    )  # fmt: skip


def test_the_heading_of_a_metric_names_its_better_direction():
    table = board(matrix()).tables[0]
    assert column("acc").heading(table) == "ACC ↑"
    assert column("forgetting").heading(table) == "Forgetting ↓"
    assert column("cost_train_seconds").heading(table) == "train seconds"
