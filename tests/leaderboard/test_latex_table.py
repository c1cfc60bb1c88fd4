"""LaTeX tables: they compile as they are, and fit the column of a two-column paper. A real TeX is asked."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from synthetic import dipping, matrix, record, trace_from

from clbench import api
from clbench.leaderboard import board, render
from clbench.leaderboard.latex_text import breakable, escaped, width

BASELINES = Path(__file__).parents[2] / "baselines"
needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
RUDE = 'a_b & 100 % of {x} #1 ~ ^ \\n $5 <er> | "q" -- λ ± ≥ é 猫'


def compiled(folder, body, options="twocolumn", preamble=""):
    """The log of pdflatex for a document with this body; it fails the test if TeX stops."""
    document = (
        f"\\documentclass[{options}]{{article}}\n\\usepackage{{booktabs}}\n{preamble}\n\\begin{{document}}\n{body}\n"
    )
    (folder / "paper.tex").write_text(document + "\\end{document}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):  # references are known from the second time on
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    return (folder / "paper.log").read_text(encoding="utf-8", errors="replace")


def overfull(log):
    return re.findall(r"Overfull.*", log)


@pytest.fixture(scope="module")
def measured():
    return api.records(BASELINES / "split-digits")


@needs_tex
@pytest.mark.parametrize("paper", ["twocolumn", "a4paper,twocolumn"])
def test_tables_with_one_to_four_metrics_fit_a_column(measured, tmp_path, paper):
    metrics = ["acc", "wc_acc", "gap_depth", "forgetting"]
    tables = [render(board(measured, metrics[: i + 1]), "latex") for i in range(4)]
    tables += [render(board(matrix(), [*metrics[:3], "aaa"]), "latex")]
    tables += [render(board(measured, ["acc", "wc_acc"], across=True), "latex")]
    assert all(r"\begin{table}[t]" in text and "table*" not in text for text in tables)
    assert overfull(compiled(tmp_path, "\n".join(tables), paper)) == []


@needs_tex
def test_a_wider_table_spans_both_columns_or_the_page_of_one(measured, tmp_path):
    text = render(board(measured), "latex")
    assert text.count(r"\begin{table*}") == 2
    assert overfull(compiled(tmp_path, text)) == []
    assert "% It is wider than a page" not in text
    many = [
        "acc",
        "aaa",
        "min_acc",
        "wc_acc",
        "wf10",
        "wf100",
        "wp10",
        "wp100",
        "gap_depth",
        "recovery",
        "forgetting",
        "la",
    ]
    assert "% It is wider than a page in the smallest font: choose fewer columns" in render(
        board(measured, many), "latex"
    )
    five = render(board(measured, ["acc", "aaa", "wc_acc", "gap_depth", "forgetting"]), "latex")
    assert overfull(compiled(tmp_path, five, "10pt")) == []


@needs_tex
def test_labels_are_referred_to_and_what_users_write_is_printed(tmp_path):
    traces = [each.trace for each in matrix([0, 1, 2])][:3]
    records = [record(RUDE, seed, trace, alarms=[RUDE], name=RUDE) for seed, trace in enumerate(traces)]
    records.append(record("gem", 0, status="failed", reason=RUDE, name=RUDE))
    text = render(board(records, ["acc"]), "latex")
    label = re.search(r"\\label{(.*)}", text)[1]
    log = compiled(tmp_path, f"See Table~\\ref{{{label}}}.\n{text}")
    assert "undefined" not in log
    assert overfull(log) == []


@needs_tex
def test_widths_are_those_of_tex(tmp_path):
    texts = [
        "97.6",
        "[optimizer=",
        "cumulative",
        "Forgetting",
        "WC-ACC",
        "er + ewc(strength=10)",
        "Strategy",
        "zyxwv QJK",
    ]
    lines = [rf"\settowidth{{\w}}{{{escaped(text)}}}\typeout{{WIDTH \the\w}}" for text in texts]
    log = compiled(tmp_path, "\n".join(lines) + "\nx", preamble="\\newlength{\\w}")
    found = [float(points) for points in re.findall(r"^WIDTH ([\d.]+)pt", log, flags=re.MULTILINE)]
    assert found == pytest.approx([10 * width(text) for text in texts], rel=0.03)


def test_special_characters_are_escaped_and_long_words_may_break():
    assert escaped("a_b & 5 % {x} #1") == r"a\_b \& 5 \% \{x\} \#1"
    assert escaped("x--y \\ ^ ~") == r"x-{}-y \textbackslash{} \textasciicircum{} \textasciitilde{}"
    assert escaped("λ ≥ 0.5 é 猫") == r"$\lambda$ $\geq$ 0.5 é [U+732B]"
    assert breakable("er(loss=sum)", 8) == r"er(\allowbreak{}loss=\allowbreak{}sum)"
    assert breakable("er(loss=sum)") == "er(loss=sum)"


def test_a_comment_names_the_package_and_every_table_has_a_label_of_its_own():
    records = [*matrix([0]), *(record("er", 0, matrix([0])[0].trace, name=name) for name in ("A b", "a-B"))]
    text = render(board(records), "latex")
    assert text.startswith("% Written by clbench. Needs \\usepackage{booktabs} in the preamble.\n")
    labels = re.findall(r"\\label{(.*)}", text)
    assert labels == ["tab:a-b-1", "tab:a-b-1--2", "tab:split-digits-1"]


def test_means_stand_below_each_other_and_the_best_is_bold():
    def of(label, accuracies):
        traces = [trace_from([[1]], [3], lambda *_, a=a: np.array([a])) for a in accuracies]
        return [record(label, seed, trace) for seed, trace in enumerate(traces)]

    text = render(board([*of("wide", [0.1, 0.5, 0.9]), *of("tight", [0.95, 0.96, 0.97])], ["acc"]), "latex")
    # half-widths: 4.303 * 0.4 / sqrt(3) = 0.994 and 4.303 * 0.01 / sqrt(3) = 0.0248
    assert r"tight$^{\mathrm{a}}$ & \textbf{96.0 $\pm$ \phantom{0}2.5}" in text
    assert r"wide$^{\mathrm{a}}$ & 50.0 $\pm$ 99.4$^{\approx}$" in text


def test_rows_with_fewer_seeds_say_so_beside_their_name():
    text = render(board(matrix(), ["acc"]), "latex")
    assert r"agem {\tiny (n=4)} &" in text
    assert r"er {\tiny" not in text


@needs_tex
def test_a_table_of_many_strategies_fits_a_page_and_says_so_if_it_cannot(tmp_path):
    records = api.records(BASELINES / "strategies" / "split-mnist-online" / "class")
    many = render(board(records, ["acc", "wc_acc", "forgetting"]), "latex")
    log = compiled(tmp_path, many)
    assert "Float too large" not in log
    assert overfull(log) == []
    assert "% It is longer than a page" not in many
    trace = dipping(0, tasks=2, length=10)
    text = render(board([record(f"s{number}", 0, trace) for number in range(90)], ["acc"]), "latex")
    assert "% It is longer than a page: choose fewer rows with --rows" in text
    assert "Float too large" in compiled(tmp_path, text)
