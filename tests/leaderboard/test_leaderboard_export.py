"""What people and programs read of a board."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from synthetic import matrix, record, trace_from

from clbench.core.errors import Refused
from clbench.leaderboard import FORMATS, board, render, rich_tables
from clbench.leaderboard.column_type import metric_heading
from clbench.leaderboard.page import page
from clbench.plots import COLOURS

RUDE = '<script>alert("x")</script> & er_ace | 100 %'


@pytest.fixture(scope="module")
def made():
    return board(matrix())


@pytest.fixture(scope="module")
def rude():
    traces = [r.trace for r in matrix([0, 1])][:2]
    records = [record(RUDE, seed, trace, alarms=[RUDE]) for seed, trace in enumerate(traces)]
    return board([*records, record("gem", 0, status="failed", reason=RUDE)])


def row_of(made, strategy):
    return next(row for row in made.tables[0].rows if row.strategy == strategy)


def test_an_unknown_format_is_answered_with_the_nearest_one(made):
    with pytest.raises(Refused, match="did you mean 'latex'"):
        render(made, "latx")


@pytest.mark.parametrize("format", ["md", "csv", "json", "latex", "html"])
def test_the_same_records_in_another_order_give_the_same_bytes(made, format):
    assert render(board(list(reversed(matrix()))), format) == render(made, format)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_renders_a_board_without_records(format):
    assert isinstance(render(board([]), format), str)


def test_markdown_has_percent_with_intervals_and_rows_of_equal_width(made):
    lines = [line for line in render(made, "md").splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    summary = row_of(made, "er").metrics["acc"]
    assert any(f"| er | 5/5 | **{100 * summary.mean:.2f} ± {100 * summary.half:.2f}** |" in line for line in lines)
    assert "ACC ↑" in lines[0]
    assert "Forgetting ↓" in lines[0]


def test_people_read_of_missing_cells_with_their_reasons(made):
    for format in ("table", "md", "latex", "html"):
        text = " ".join(render(made, format).split())
        assert "gem needs task labels, which this stream hides" in text
        assert "the model's outputs are not finite after step 71" in text.replace("&#39;", "'")
        assert ("n=4" if format == "latex" else "4/5") in text


def test_csv_holds_fractions_that_read_back_as_the_boards_values(made):
    rows = {row["strategy"]: row for row in csv.DictReader(io.StringIO(render(made, "csv")))}
    summary = row_of(made, "er").metrics["acc"]
    assert float(rows["er"]["acc"]) == summary.mean
    assert float(rows["er"]["acc_half"]) == summary.half
    assert rows["agem"]["acc_n"] == "4"
    assert rows["gem"]["rank"] == rows["gem"]["acc"] == ""
    assert rows["gem"]["problems"] == "4 missing, 1 skipped"


def test_json_is_strict_and_says_null_with_the_reason_where_there_is_no_value(made):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    content = json.loads(render(made, "json"), parse_constant=refuse)
    rows = {row["strategy"]: row for row in content["tables"][0]["rows"]}
    assert rows["er"]["metrics"]["acc"]["mean"] == row_of(made, "er").metrics["acc"].mean
    undefined = rows["joint"]["metrics"]["min_acc"]
    assert undefined == {"mean": None, "half": None, "n": 0, "reason": "no task was ever absent after its first visit"}
    assert rows["gem"]["rank"] is None
    assert rows["agem"]["cells"][0]["key"] == row_of(made, "agem").records[0].key


def test_latex_escapes_what_users_write_and_has_as_many_columns_as_announced(rude):
    text = render(rude, "latex")
    columns = len(re.search(r"\\begin{tabular}{(\w+)}", text).group(1))
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:]
    assert all(len(re.findall(r"(?<!\\)&", line)) == columns - 1 for line in body if line)
    assert r"\& er\_" in text.replace(r"\allowbreak{}", "")
    assert r"ace \textbar{} 100 \%" in text


def test_the_terminal_table_shows_labels_with_brackets_as_they_are(made):
    text = render(board([record("er [lr=0.1]", 0, matrix([0])[0].trace)]), "table")
    assert "er [lr=0.1]" in text
    assert len(rich_tables(made)) == 1


def scored(*accuracies, label="er"):
    """Records of one strategy with these accuracies, seed by seed."""
    traces = [trace_from([[1]], [3], lambda *_, a=a: np.array([a])) for a in accuracies]
    return [record(label, seed, trace) for seed, trace in enumerate(traces)]


@pytest.mark.parametrize("format", ["table", "md", "latex", "html"])
def test_one_or_two_seeds_are_shown_as_values_without_an_interval(format):
    one, two, three = (
        " ".join(render(board(scored(*values), ["acc"]), format).split())
        for values in ([0.91234], [0.91234, 0.8], [0.9, 0.8, 0.7])
    )
    assert "91.2" in one
    assert re.search(r"91\.23?, 80\.00?\b", two)
    for text in (one, two):
        assert "he value of each seed; intervals are shown from three seeds on; accuracies in percent" in text
        assert not re.search(r"± ?\d|\\pm|class=.half", text.partition("</table>")[0])
    assert "the value of each seed" not in three
    assert re.search(r"[mM]ean (±|\$\\pm\$) half-width", three)


def test_files_for_programs_hold_the_values_of_all_seeds_in_full():
    made = board([*scored(1 / 3, 2 / 3), *scored(0.1, 0.2, 0.3, label="naive")], ["acc"])
    naive, er = csv.DictReader(io.StringIO(render(made, "csv")))
    assert [float(value) for value in er["acc_values"].split()] == [1 / 3, 2 / 3]
    assert (er["acc_half"], er["acc_n"], naive["acc_n"]) == ("", "2", "3")
    assert float(naive["acc_half"]) > 0
    _, last = json.loads(render(made, "json"))["tables"][0]["rows"]
    values = {"0": 1 / 3, "1": 2 / 3}
    assert last["metrics"]["acc"] == {"mean": 0.5, "half": None, "n": 2, "values": values}


def test_a_table_with_rows_of_two_and_of_three_seeds_says_what_both_show():
    text = render(board([*scored(0.5, 0.6), *scored(0.1, 0.2, 0.3, label="naive")], ["acc"]), "md")
    assert "50.00, 60.00" in text
    assert "20.00 ± " in text
    assert "with fewer than three seeds, the value of each seed" in text


class Reader(HTMLParser):
    """Tags, ids, references and words of a page."""

    VOID = ("meta", "link", "br", "wbr", "img", "path", "use", "rect")

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.references, self.words, self.open = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.references += [values[name] for name in ("href", "src", "xlink:href") if name in values]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_fetches_nothing_and_its_ids_and_tags_are_sound(made):
    two = board([*matrix(), *(record("er", s, matrix([s])[0].trace, name="other") for s in range(2))])
    for text in (page(made), page(two)):
        reader = Reader(text)
        assert reader.open == []
        assert len(reader.ids) == len(set(reader.ids))
        assert all(reference.startswith("#") for reference in reader.references)
        assert {reference[1:] for reference in reader.references} <= set(reader.ids)
        assert "url(http" not in text
        assert "@import" not in text
        assert reader.tags.count("svg") == 2 * text.count("The stability gap</h2>")  # for wide and narrow screens


def test_every_colour_of_the_page_is_defined_for_light_and_for_dark_and_series_match_the_pictures(made):
    text = page(made)
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", text)) | {f"--series-{i}" for i in range(len(COLOURS))}
    assert all(len(re.findall(rf"{name}: #", text)) == 2 for name in used)
    for place, colour in enumerate(COLOURS):
        assert f"--series-{place}: {colour};" in text


def test_the_page_escapes_what_users_write(rude):
    text = page(rude)
    assert "<script>alert" not in text
    assert Reader(text).tags.count("script") == 1
    assert RUDE in "".join(Reader(text).words)


def test_the_page_shows_metrics_alarms_and_provenance(made, rude):
    text = "".join(Reader(page(made)).words)
    for words in (
        "WC-ACC",
        "mean over tasks i of R[last, i]",
        "Lopez-Paz",
        "stream3",
        "python 3.11",
        "hidden [100, 100]",
    ):
        assert words in text
    assert row_of(made, "er").records[0].key in text
    assert "Alarms" not in text
    assert "Alarms" in "".join(Reader(page(rude)).words)


def test_the_page_of_unfinished_records_has_no_picture_but_still_the_reasons():
    text = page(board([record("gem", 0, status="skipped", reason="it needs task labels")]))
    assert "<svg" not in text
    assert "it needs task labels" in text


def test_a_heading_has_an_arrow_only_where_one_value_is_better_than_another():
    assert [metric_heading(name) for name in ("acc", "gap_depth", "gap_pairs")] == ["ACC ↑", "Gap depth ↓", "Gap pairs"]


def test_notes_and_titles_in_the_terminal_are_not_broken_to_the_width_of_a_narrow_table():
    lines = render(board(matrix(), columns=["acc"]), "table").splitlines()
    assert "mean ± half-width of the 95 % Student-t interval over seeds; accuracies in percent" in lines
    assert len(next(line for line in lines if "Strategy" in line).rstrip()) < 50
