"""Curves of a benchmark's page: thinned without losing a dip, and the data, pictures and matrices of the page."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from synthetic import dipping, record

from clbench.core.record import Kind
from clbench.metrics.accuracy_matrix import end_scores
from clbench.metrics.curves import Series
from clbench.plots.strategy_styles import COLOURS, Style
from clbench.site.benchmark_page import benchmark_pages, fingerprints
from clbench.site.curve_data import curve, curve_data, curves_of, over_seeds, points
from clbench.site.end_matrices import SHADES, end_matrices
from clbench.site.packed_numbers import packed, unpacked
from clbench.site.site_content import site_of
from clbench.site.strategy_lines import colour_on, dashes
from clbench.site.svg_themes import themed
from clbench.site.thinned_curves import lowest_points, thinned

WHOLE = st.lists(st.none() | st.integers(-(2**40), 2**40) | st.integers(-40, 40))
SCORES = hnp.arrays(float, st.integers(1, 300), elements=st.floats(0, 1) | st.just(np.nan))


@given(SCORES, st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_every_column_keeps_its_lowest_and_its_highest_point(y, columns, seed):
    x = np.sort(np.random.default_rng(seed).integers(0, 1000, len(y))).astype(float)
    kept = thinned(x, y, columns)
    assert list(kept) == sorted(set(kept))
    assert {0, len(x) - 1} <= set(kept)
    width = (x[-1] - x[0]) or 1.0
    column = np.minimum(((x - x[0]) / width * columns).astype(int), columns - 1)
    for k in set(column):
        own, left = y[column == k], y[kept[column[kept] == k]]
        if not np.isnan(own).all():
            assert np.nanmin(left) == np.nanmin(own)
            assert np.nanmax(left) == np.nanmax(own)
    gaps = np.isnan(y)
    assert (np.isnan(y[kept]).any() == gaps.any()) or len(x) > columns
    if len(x) > columns:
        assert len(kept) <= 2 * columns + 2 + np.sum(gaps & ~np.concatenate([[False], gaps[:-1]]))


@given(hnp.arrays(float, st.integers(1, 200), elements=st.floats(0, 1)), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_the_lowest_point_of_every_column_stays(y, columns, seed):
    x = np.random.default_rng(seed).integers(0, 500, len(y)).astype(float)
    low = lowest_points(x, y, columns)
    assert y[low].min() == y.min()
    assert (np.diff(x[low]) > 0).all()
    assert len(low) <= columns


@given(WHOLE)
def test_packed_numbers_are_unpacked_to_themselves(numbers):
    text = packed(numbers)
    assert unpacked(text) == numbers
    assert re.fullmatch(r"[\w.-]*", text, re.ASCII)


def test_packed_numbers_are_those_worked_out_by_hand():
    # differences +5, 0, -1, none, +16 and -21 are 10, 0, 1, none, 32 = 0 + 1 * 32 and 41 = 9 + 1 * 32
    assert packed([5, 5, 4, None, 20, -1]) == "A01.W1f1"
    assert unpacked("A01") == [5, 5, 4]


def test_values_of_a_diverged_run_are_missing_in_its_curve():
    x, y = curve(points(np.array([0.0, 1.5, 3.0]), np.array([0.25, np.inf, np.nan])))
    assert x == pytest.approx([0, 1.5, 3])
    assert y == pytest.approx([0.25, np.nan, np.nan], nan_ok=True)


def test_the_lowest_line_follows_one_seed_where_seeds_are_evaluated_at_different_iterations():
    low, high = (Series(np.arange(start, 30.0, 2), np.full(15, y), np.zeros(15)) for start, y in ((0, 0.25), (1, 0.75)))
    x, y = curve(over_seeds([low, high])["low"])
    assert x.tolist() == list(range(30))
    assert y == pytest.approx(np.full(30, 0.25))


def test_lines_of_dark_pages_can_be_seen_on_their_ground():
    def luminance(colour):
        parts = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722)

    light, dark = themed()
    assert luminance("#777777") == pytest.approx(0.1845, abs=1e-4)
    for colour in COLOURS:
        assert colour_on(light, colour) == colour
        assert (luminance(colour_on(dark, colour)) + 0.05) / (luminance(dark.ground) + 0.05) >= 3


def test_a_line_has_the_dashes_of_the_plots_in_pixels():
    assert dashes(Style("#0072b2", "-", "o")) == []
    assert dashes(Style("#0072b2", (0, (5, 1.4)), "o"), 2) == [10, 2.8]


def site(**given):
    records = [
        record(label, seed, dipping(seed, tasks=3, length=700, depth=depth), **given)
        for label, depth in (("er", 0.3), ("naive", 0.6))
        for seed in range(3)
    ]
    return site_of(records, title="t")


@pytest.fixture(scope="module")
def drawn():
    made = site()
    found = curves_of(made, made.benchmarks[0])
    assert found is not None
    return found


def test_the_lowest_drawn_value_of_each_task_is_its_lowest_evaluation_of_any_seed(drawn):
    data = curve_data(drawn)
    for row, own in zip(drawn.rows, data["rows"], strict=True):
        for task in range(3):
            lowest = min(
                np.nanmin(trace.score[(trace.step >= 700 * task) & (trace.kind != Kind.SWITCH), task])
                for trace in row.traces
            )
            x, low = curve(own["curves"][str(task)]["low"])
            assert low.min() == pytest.approx(lowest, abs=0.50001e-4)
            assert (np.diff(x) > 0).all()


def test_means_are_thinned_to_a_few_points_and_end_at_the_mean_of_the_last_evaluation(drawn):
    data = curve_data(drawn)
    assert data["switches"] == [700, 1400]
    assert data["end"] == 2100
    for row, own in zip(drawn.rows, data["rows"], strict=True):
        x, y = curve(own["curves"]["seen"]["mean"])
        assert 800 < len(x) <= 1602
        assert x[-1] == pytest.approx(2100)
        assert y[-1] == pytest.approx(np.mean([trace.score[-1].mean() for trace in row.traces]), abs=1e-4)
        before, after = data["window"]
        x, _ = curve(own["gap"])
        assert (x[0], x[-1]) == (-before, pytest.approx(after))


def test_a_matrix_holds_the_mean_of_the_ends_of_experiences(drawn):
    matrices = end_matrices(drawn)
    assert [each.row.row.row.strategy for each in matrices] == [each.row.row.strategy for each in drawn.rows]
    for each in matrices:
        mean = np.mean([end_scores(trace).T for trace in each.row.traces], axis=0)
        for line, scores in zip(each.tasks, mean, strict=True):
            for cell, score in zip(line, scores, strict=True):
                if np.isnan(score):
                    assert cell.text == ""
                else:
                    assert float(cell.text) == pytest.approx(100 * score, abs=0.051)
                    assert cell.shade == round(score * SHADES)
        assert [[cell.present for cell in line] for line in each.tasks] == np.eye(3, dtype=bool).tolist()


def test_a_page_loads_the_data_that_is_written_and_its_pictures():
    files = dict(benchmark_pages(site()))
    (page,) = (text.decode() for name, text in files.items() if name.endswith(".html"))
    (data,) = (name for name in files if name.startswith("data/"))
    assert f'src="../{data}"' in page
    name, text = re.fullmatch(r"clbench\.add\((\"[^\"]+\"),(.*)\);\n", files[data].decode()).groups()
    assert f"data-name={name}" in page
    assert {row["label"] for row in json.loads(text)["rows"]} == {"er", "naive"}
    pictures = {each.removeprefix("../") for each in re.findall(r'(?:src|srcset)="([^"]+\.svg)"', page)}
    assert pictures <= set(files)
    assert len(pictures) == 4


def test_a_row_without_runs_along_the_stream_has_no_curve_and_no_page_fails_for_it():
    made = site_of([record("gem", 0, status="failed", reason="no memory left")], title="t")
    assert curves_of(made, made.benchmarks[0]) is None
    (page,) = dict(benchmark_pages(made)).values()
    assert b'id="curves"' not in page


@pytest.mark.parametrize("task", [slice(None), slice(1, 2)])
def test_a_row_with_a_task_that_was_not_evaluated_at_an_end_has_no_matrix_and_the_others_have_theirs(task):
    whole = dipping(0, tasks=3)
    score = whole.score.copy()
    score[:, task] = np.nan
    made = site_of([record("er", 0, whole), record("naive", 0, replace(whole, score=score))], title="t")
    found = curves_of(made, made.benchmarks[0])
    assert found is not None
    assert [each.row.row.row.strategy for each in end_matrices(found)] == ["er"]
    assert dict(benchmark_pages(made))


@pytest.mark.parametrize("value", [-np.inf, np.nan])
def test_a_score_that_is_not_finite_leaves_a_hole_in_its_curve_and_the_page_is_written(value):
    whole = dipping(0, tasks=3)
    score = whole.score.copy()
    score[-1, 0] = value
    made = site_of([record("er", 0, whole), record("naive", 0, replace(whole, score=score))], title="t")
    files = dict(benchmark_pages(made))
    pictures = b"".join(text for name, text in files.items() if name.endswith("curves-light.svg"))
    assert pictures.count(b"<polyline") == 2
    assert b"nan" not in pictures
    assert b"inf" not in pictures


def test_fingerprints_are_listed_by_seed():
    (benchmark,) = site().benchmarks
    found = fingerprints(benchmark)
    assert [seed for seed, _ in found] == sorted(seed for seed, _ in found)
    assert {seed for seed, _ in found} == {0, 1, 2}
