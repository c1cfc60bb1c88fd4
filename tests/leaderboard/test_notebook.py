"""What notebooks show: boards, records and streams as HTML, figures, and a real notebook."""

import base64
import io
import re
import warnings
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image
from synthetic import dipping, matrix, record

import clbench
from clbench import api, html
from clbench.core.record import Records
from clbench.core.store import save
from clbench.leaderboard import board
from clbench.leaderboard.sheets import sheets
from clbench.plots import stability_gap


class Read(HTMLParser):
    """Collect the cells of tables, the texts of elements with a class, and the tags of a piece of HTML."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.classes, self.rows, self.open = [], {}, [], []
        self.feed(text)
        self.close()
        assert not self.open, "an element is not closed"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("img", "meta", "br"):
            self.open.append((tag, dict(attributes).get("class", "")))
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for tag, name in self.open[-1:]:
            if tag in ("td", "th"):
                self.rows[-1].append(data)
            if name and data.strip():
                self.classes.setdefault(name, []).append(data.strip())


def test_a_board_is_a_table_with_the_texts_of_its_sheet_and_the_best_in_bold():
    made = board(matrix())
    [sheet] = sheets(made, decimals=1, format="notebook")
    read = Read(made._repr_html_())
    assert read.rows[0] == [column.full_title for column in sheet.columns]
    assert read.rows[1:] == [[str(cell) for cell in line] for line in sheet.lines]
    assert read.classes["best"] == [str(cell) for line in sheet.lines for cell in line if cell.is_best] != []
    assert read.classes["title"] == [sheet.title]


def test_what_needs_attention_is_marked_and_ordinary_notes_are_folded():
    records = [*matrix(), record("er_ace + l2", 0, dipping(3), alarms=["its penalty is always 0"])]
    read = Read(html(board(records)))
    assert any("ewc(strength=1e6): diverged (seeds 0, 1, 2, 3, 4)" in text for text in read.classes["attention"])
    assert any("alarm: its penalty is always 0" in text for text in read.classes["attention"])
    assert not any("evaluations: every" in text for text in read.classes["attention"])
    assert "details" in read.tags


def test_strings_of_records_are_escaped_and_nothing_is_fetched():
    wrong = "<script>alert(1)</script>"
    failed = replace(record(wrong, 0, status="failed", reason=wrong), traceback=wrong)
    for text in (html(failed), html(board([failed])), html([failed])):
        assert "script" not in Read(text).tags
        assert "&lt;script&gt;" in text
        assert "http" not in text
        assert "import" not in text


def test_a_record_is_a_card_with_status_metrics_cost_alarms_and_settings():
    read = Read(html(record("er", 3, dipping(3), alarms=["odd"], training={"lr": 0.125})))
    text = " ".join(part for parts in read.classes.values() for part in parts)
    assert read.classes["title"] == ["er, seed 3, split-digits@1"]
    assert read.classes["status"] == ["done"]
    assert read.classes["attention"] == ["alarm: odd"]
    page = html(record("er", 3, dipping(3), training={"lr": 0.125}))
    final = 100 * dipping(3).score[-1].mean()
    assert f"ACC ↑<b>{final:.1f} %</b>" in page
    assert "training, seconds<b>4.5</b>" in page
    assert "<dt>training.lr</dt><dd>0.125</dd>" in page
    assert "where it failed" not in text


def test_a_failed_record_shows_reason_and_traceback():
    failed = replace(record("er", 0, status="failed", reason="it broke"), traceback="Traceback\nValueError: it broke")
    page = html(failed)
    assert Read(page).classes["attention"] == ["it broke"]
    assert "<pre>Traceback\nValueError: it broke</pre>" in page


def test_records_are_shown_as_their_board_and_an_empty_list_as_text(tmp_path):
    records = [record("er", seed, dipping(seed)) for seed in (0, 1)]
    for each in records:
        save(each, tmp_path)
    loaded = api.records(tmp_path)
    assert isinstance(loaded, Records)
    assert loaded._repr_html_() == html(board(records))
    assert Records()._repr_html_() is None


def test_texts_of_records_and_boards_are_short():
    made = record("er", 0, dipping(0))
    assert repr(made) == f"Record(er, seed 0, split-digits@1, {made.key}, done)"
    assert repr(board([made])) == "Board(split-digits@1: er)"


def test_a_stream_is_its_raster_with_its_description():
    stream = clbench.stream("split", "digits", setting="class", experiences=5)
    page = html(stream)
    found = re.search(r"data:image/png;base64,([^\"]+)", page)
    picture = Image.open(io.BytesIO(base64.b64decode(found.group(1))))
    assert picture.width > 1000
    assert f"<dt>fingerprint</dt><dd>{stream.fingerprint}</dd>" in page
    assert page == stream._repr_html_()


def test_other_objects_are_refused():
    with pytest.raises(clbench.Refused, match="an int has no HTML here"):
        html(3)


def test_a_figure_has_the_picture_that_a_notebook_shows():
    figure = stability_gap(matrix(seeds=range(2)))
    content, size = figure._repr_png_()
    picture = Image.open(io.BytesIO(content))
    assert [round(length / 2) for length in picture.size] == pytest.approx([size["width"], size["height"]], abs=1)
    assert size["width"] == round(80 * figure.get_size_inches()[0])


CELLS = [
    """
import clbench
from dataclasses import dataclass
from clbench.strategies import STRATEGIES
settings = {"training.epochs": 1, "stream.dataset.train_rows": 100, "evaluation.every": 0}

@dataclass(kw_only=True)
class Mine(clbench.Part):
    "First words."
    def gradient(self, learner, batch):
        learner.g.mul_(0.5)

STRATEGIES.add("mine", Mine)
records = clbench.run("split-digits", strategies="mine, naive", seeds=1, overrides=settings, out="out")
records
""",
    "records[0]",
    """
@dataclass(kw_only=True)
class Mine(clbench.Part):
    "Other words."

    def gradient(self, learner, batch):  # a comment
        learner.g.mul_(0.5)

STRATEGIES.add("mine", Mine)
[again] = clbench.run("split-digits", strategies="mine", seeds=1, overrides=settings, out="out", progress=False)
print(again.key == records[0].key)
""",
    """
class Mine(clbench.Part):
    def gradient(self, learner, batch):
        learner.g.mul_(0.25)

STRATEGIES.add("mine", Mine)
[edited] = clbench.run("split-digits", strategies="mine", seeds=1, overrides=settings, out="out", progress=False)
print(edited.key == records[0].key, edited.status)
""",
    "clbench.board('out', latest=True)",
    "clbench.plot('out')",
    "%matplotlib inline\nclbench.plot('out', kind='matrix')",
]


def kind_of(output):
    """The kind of an output and the formats that are shown; ``None`` for printed text."""
    formats = sorted(set(output.get("data", {})) - {"text/plain"})
    return None if output.output_type == "stream" else (output.output_type, formats)


def test_a_notebook_shows_results_figures_and_progress_and_takes_edited_classes(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the client, about encryption and event loops
        client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
        client.execute()
    kinds = [[kind for out in cell.outputs if (kind := kind_of(out))] for cell in notebook.cells]
    page, picture = ("execute_result", ["text/html"]), ("execute_result", ["image/png"])
    assert kinds == [[("display_data", ["text/html"]), page], [page], [], [], [page], [picture], [picture]]
    assert "all 2 cells: 2 done" in notebook.cells[0].outputs[0].data["text/html"]
    printed = ["".join(out.text for out in cell.outputs if out.get("name") == "stdout") for cell in notebook.cells]
    assert printed[2:4] == ["True\n", "False done\n"]
    assert "1 older version of code left out (1 of mine; 1 cell)" in notebook.cells[4].outputs[0].data["text/html"]
