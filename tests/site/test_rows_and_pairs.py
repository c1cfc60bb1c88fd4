"""Pages of rows, pairs and comparisons: the command runs the same cells, and differences are those of the records."""

import itertools
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from synthetic import flat, record

from clbench.benchmark.assignments import seeds as read_seeds
from clbench.core import store
from clbench.core.trace_equality import trace_difference
from clbench.running.plan import plan
from clbench.site.compare_page import PRINT, prints, rows_data
from clbench.site.pairs_page import pair_matrix, pairs_pages
from clbench.site.row_page import OWN_BIBTEX, command, parameters, row_pages
from clbench.site.site_content import site_of
from clbench.strategies import STRATEGIES
from clbench.strategies.published_source import bibtex, published_source, published_sources

BASELINES = Path(__file__).parents[2] / "baselines"


@pytest.fixture(scope="module")
def digits():
    found = site_of(
        [r for r in store.load_all(BASELINES / "split-digits") if r.benchmark == "split-digits@2"], title="t"
    )
    return found, found.benchmarks[0]


def test_the_command_of_a_row_runs_its_cells(digits):
    _, benchmark = digits
    for row in benchmark.rows:
        words = shlex.split(command(benchmark, row))
        assert words[:3] == ["clbench", "run", "split-digits@2"]
        options = dict(zip(words[3:7:2], words[4:7:2], strict=True))
        settings = [word for word in words[7:] if word != "--set"]
        made = plan(
            words[2],
            strategies=[options["--strategies"]],
            seeds=read_seeds(options["--seeds"]),
            overrides=settings,
        )
        assert {cell.key for cell in made.cells} == {each.key for each in row.row.records}


def test_the_command_of_an_earlier_version_runs_the_cells_of_that_version():
    folders = [BASELINES / "strategies" / "refresh" / name for name in ("longer", "short")]
    records = [r for r in store.load_all(*folders) if r.label == "er"]
    found = site_of(records, title="t")
    assert [benchmark.name.split(" + ")[0] for benchmark in found.benchmarks] == ["split-digits@1"] * 2
    for benchmark, row in found.rows:
        words = shlex.split(command(benchmark, row))
        assert words[2] == "split-digits@1"
        made = plan(
            words[2],
            strategies=["er"],
            seeds=read_seeds(words[words.index("--seeds") + 1]),
            overrides=[each for name, each in itertools.pairwise(words) if name == "--set"],
        )
        assert {cell.key for cell in made.cells} == {each.key for each in row.row.records}


def test_a_row_on_a_benchmark_that_does_not_ship_asks_for_its_file():
    found = site_of([record("er", 0, flat(0.5), name="mine")], title="t")
    ((benchmark, row),) = found.rows
    assert shlex.split(command(benchmark, row))[2] == "mine.yaml"
    ((_, page),) = row_pages(found)
    assert b"does not come with clbench" in page


def test_a_row_leads_to_its_comparison_and_its_pairs_where_there_are_other_rows(digits):
    site, benchmark = digits
    pages = {name: text.decode() for name, text in row_pages(site)}
    for row in benchmark.rows:
        assert f'href="../../compare.html#a={row.path}"' in pages[row.path]
        assert f'href="../../{benchmark.pairs_path}"' in pages[row.path]
    ((_, alone),) = row_pages(site_of([record("er", 0, flat(0.5))], title="t"))
    assert b"compare.html" not in alone
    assert b"pairs/" not in alone


def test_a_deviation_from_the_shipped_file_is_in_the_command():
    records = list(store.load_all(BASELINES / "strategies" / "split-mnist-online" / "class-output-all"))
    found = site_of(records, title="t")
    row = next(each for each in found.benchmarks[0].rows if each.row.label == "er")
    assert command(found.benchmarks[0], row).endswith("--set stream.output=all")


def test_parameters_name_the_default_that_a_value_replaces():
    item = {"name": "ewc", "parameters": {"strength": 3.0, "mode": "online", "gamma": 1.0}}
    found = {each.name: each for each in parameters(item)}
    assert found["strength"].value == "3.0"
    assert [found[name].default for name in ("strength", "mode", "gamma")] == ["", "separate", ""]


def test_every_shipped_strategy_with_a_paper_names_it_and_its_bibtex():
    texts = {entry.name: published_source(STRATEGIES.get(entry.name)) for entry in STRATEGIES}
    assert texts["ewc"].startswith("Kirkpatrick et al. 2017, arXiv 1612.00796")
    assert "\n" not in "".join(texts.values())
    assert sum(bool(text) for text in texts.values()) > 25
    assert bibtex("ewc", texts["ewc"]) == (
        "@misc{ewc,\n  note = {Kirkpatrick et al. 2017},\n  year = {2017},\n  eprint = {1612.00796},\n"
        "  archivePrefix = {arXiv}\n}"
    )
    assert bibtex("mine", "a talk") == ""
    assert [name for name, _ in published_sources([{"name": "ewc"}, {"name": "mine.py:Part"}, {"name": "gone"}])] == [
        "ewc"
    ]


def test_cells_of_the_matrix_are_paired_differences_with_opposite_signs(digits):
    _, benchmark = digits
    rows, cells = pair_matrix(benchmark)
    assert [row.row.rank for row in rows] == sorted(row.row.rank for row in rows)
    for i, one in enumerate(rows):
        assert cells[i][i].text == ""
        for j, other in enumerate(rows):
            if i != j:
                values = [100 * (one.row.scores[s] - other.row.scores[s]) for s in range(5)]
                assert float(cells[i][j].text) == pytest.approx(np.mean(values), abs=0.051)
                assert {cells[i][j].side, cells[j][i].side} in ({"up", "down"}, {"level"})
                half = stats.t.ppf(0.975, 4) * np.std(values, ddof=1) / math.sqrt(5)
                assert f"± {half:.1f} over 5 seeds" in cells[i][j].words


def test_a_benchmark_whose_rows_share_no_seed_has_no_page_of_pairs():
    found = site_of([record("er", 0, flat(0.5)), record("naive", 1, flat(0.4))], title="t")
    assert dict(pairs_pages(found)) == {}


def test_prints_of_two_traces_part_where_the_traces_do(digits):
    _, benchmark = digits
    traces = {row.row.label: row.row.records[0].trace for row in benchmark.rows}
    for other in ("naive", "er_ace", "l2"):
        ours, theirs = prints(traces["er"]), prints(traces[other])
        first = next(k for k in range(len(ours) // PRINT) if ours[PRINT * k :][:PRINT] != theirs[PRINT * k :][:PRINT])
        same = np.array_equal(traces["er"].score[:first], traces[other].score[:first], equal_nan=True)
        assert same
        assert not np.array_equal(traces["er"].score[first], traces[other].score[first], equal_nan=True)
        assert trace_difference(traces["er"], traces[other])
    assert prints(traces["er"]) == prints(traces["er"])


def test_data_of_a_comparison_hold_the_values_of_the_board(digits):
    found, benchmark = digits
    data = rows_data(found, benchmark)
    for row, own in zip(benchmark.rows, data["rows"], strict=True):
        assert own["path"] == row.path
        assert own["values"]["acc"] == {str(s): pytest.approx(v, abs=1e-6) for s, v in row.row.scores.items()}
        assert own["settings"]["model.name"] == "mlp"


def test_pages_of_rows_show_alarms_problems_and_one_row_per_metric_with_values():
    records = [record("er", s, flat(0.5), alarms=("the penalty was always 0",)) for s in range(3)]
    records += [record("gem", 0, status="failed", reason="no memory left")]
    pages = {name: text.decode() for name, text in row_pages(site_of(records, title="t"))}
    er, gem = (next(text for name, text in pages.items() if name.endswith(f"/{label}.html")) for label in ("er", "gem"))
    assert "the penalty was always 0 (seeds 0, 1, 2)" in er
    assert "failed (seed 0): no memory left" in gem
    assert "<th scope=row class=name>MSE" not in er
    assert "<td class=n>0.5000" in er


def test_a_row_with_more_seeds_than_its_rank_uses_says_so():
    records = [record("er", s, flat(0.5)) for s in range(7)]
    records += [record(label, s, flat(0.4)) for label in ("naive", "l2") for s in range(5)]
    pages = dict(row_pages(site_of(records, title="t")))
    assert b"Reference seeds: 5/5 + 2." in next(text for name, text in pages.items() if name.endswith("/er.html"))


def test_benchmarks_with_the_most_rows_come_first():
    records = [record("er", 0, flat(0.5), name="a"), *(record(label, 0, flat(0.4), name="b") for label in ("er", "l2"))]
    assert [len(each.rows) for each in site_of(records, title="t").benchmarks] == [2, 1]


def test_the_entry_of_clbench_names_title_and_authors_of_its_citation_file():
    import yaml

    citation = yaml.safe_load((BASELINES.parent / "CITATION.cff").read_text(encoding="utf-8"))
    assert f"title = {{{citation['title']}}}" in OWN_BIBTEX
    assert f"author = {{{{{citation['authors'][0]['name']}}}}}" in OWN_BIBTEX
