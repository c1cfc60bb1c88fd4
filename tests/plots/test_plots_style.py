"""What pictures share: styles, captions, limits and files, and which runs a picture is drawn from."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic import dipping, record, trace_from

from clbench.core.errors import Refused
from clbench.core.record import Kind
from clbench.metrics.curves import Line
from clbench.plots import curve_drawing, picture_files, plotted_runs, strategy_styles, style

LOOK = strategy_styles.styles(["a"])["a"]


def axes():
    return Figure().add_subplot()


def line(mean, *, seeds=5, half=0.1):
    mean = np.asarray(mean, dtype=float)
    return Line(x=np.arange(len(mean), dtype=float), mean=mean, half=np.full(len(mean), half), seeds=seeds)


# ---------------------------------------------------------------------------------------------- captions


@pytest.mark.parametrize(
    ("seeds", "options", "caption"),
    [
        ([5], {}, "mean of 5 seeds, band: 95 % interval"),
        ([5, 5], {"band": False}, "mean of 5 seeds"),
        ([2], {}, "mean of 2 seeds"),
        ([2, 4], {}, "mean of 2 to 4 seeds, band: 95 % interval"),
        ([1], {"rows_error": False}, "1 seed"),
        ([1], {"band": False}, "1 seed"),
    ],
)
def test_a_caption_says_how_many_seeds_and_what_the_band_is(seeds, options, caption):
    assert style.averaged(seeds, **options) == caption


def test_the_band_of_one_seed_is_called_the_error_of_its_evaluation_rows():
    assert style.averaged([1]) == f"1 seed, band: {style.ROWS_ERROR}"
    assert style.averaged([1, 2]) == f"mean of 1 to 2 seeds, band: {style.ROWS_ERROR} (one seed)"
    assert style.averaged([1, 5]) == f"mean of 1 to 5 seeds, band: 95 % interval (one seed: {style.ROWS_ERROR})"


@pytest.mark.parametrize(("seeds", "band"), [(1, True), (2, False), (3, True), (10, True)])
def test_two_seeds_have_no_band(seeds, band):
    assert curve_drawing.has_band(seeds) is band
    drawn = axes()
    curve_drawing.draw_line(drawn, line([0.2, 0.4, 0.6], seeds=seeds), LOOK, label="a", place=0)
    assert len(drawn.collections) == band


@pytest.mark.parametrize(("experiences", "mark"), [(1, ""), (2, "dotted"), (40, "dotted"), (41, "ticks")])
def test_a_caption_names_the_marks_of_switches_as_they_are_drawn(experiences, mark):
    assert curve_drawing.how_marked(experiences).startswith(mark)
    assert bool(curve_drawing.how_marked(experiences)) == bool(mark)
    drawn = axes()
    curve_drawing.mark_switches(drawn, np.arange(experiences + 1.0))
    assert len(drawn.get_lines()) == (experiences - 1 if mark == "dotted" else 0)
    assert len(drawn.collections) == (mark == "ticks")


def test_switches_are_marked_where_experiences_but_the_first_begin():
    drawn = axes()
    curve_drawing.mark_switches(drawn, np.array([0.0, 10.0, 25.0, 40.0]))
    assert [mark.get_xdata()[0] for mark in drawn.get_lines()] == [10.0, 25.0]


def test_numbers_of_experiences_stand_in_their_middle_and_not_where_there_is_no_room():
    drawn = axes()
    curve_drawing.name_experiences(drawn, np.array([0.0, 10.0, 30.0]), width=8.0)
    assert [(text.get_position()[0], text.get_text()) for text in drawn.texts] == [
        (5.0, "experience 0"),
        (20.0, "experience 1"),
    ]
    many = axes()
    curve_drawing.name_experiences(many, np.arange(12.0), width=8.0)
    assert [text.get_text() for text in many.texts] == [str(i) for i in range(11)]
    crowded = axes()
    curve_drawing.name_experiences(crowded, np.arange(24.0), width=8.0)
    assert list(crowded.texts) == []


def test_a_heading_is_broken_where_it_would_be_wider_than_the_figure():
    assert style.heading("short", 6.0) == "short"
    text = " ".join(["words"] * 40)
    broken = style.heading(text, 5.6)
    assert broken.replace("\n", " ") == text
    assert max(map(len, broken.split("\n"))) <= 50  # 5.6 inches of letters of 0.112


def test_a_figure_grows_by_the_lines_of_its_heading():
    low = style.canvas(5.6, 3.0, title="one line")
    high = style.canvas(5.6, 3.0, title=" ".join(["words"] * 20))
    lines = style.heading(" ".join(["words"] * 20), 5.6).count("\n")
    assert lines > 0
    assert high.get_figheight() - low.get_figheight() == pytest.approx(lines * style.HEADING)


# ---------------------------------------------------------------------------------------------- lines and limits


def test_a_band_is_cut_at_the_ends_of_the_scale():
    drawn = axes()
    curve_drawing.draw_line(drawn, line([0.05, 0.5, 0.98]), LOOK, label="a", place=0)
    heights = drawn.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (0.0, 1.0)
    free = axes()
    curve_drawing.draw_line(free, line([0.05, 0.5]), LOOK, label="a", place=0, low=-1.0)
    assert free.collections[0].get_paths()[0].vertices[:, 1].min() == pytest.approx(-0.05)


def test_markers_of_several_lines_are_shifted_against_each_other():
    drawn = axes()
    for place in (0.0, 0.5):
        curve_drawing.draw_line(drawn, line(np.zeros(80)), LOOK, label="a", place=place)
    assert [each.get_markevery() for each in drawn.get_lines()] == [(0, 10), (5, 10)]


def test_the_arrival_of_outputs_is_drawn_from_what_was_before_to_what_is_after():
    drawn = axes()
    curve_drawing.draw_arrival(drawn, 0.8, -0.3, LOOK)
    thin, hollow = drawn.get_lines()
    assert list(thin.get_ydata()) == [0.8, 0.5]
    assert list(hollow.get_ydata()) == [0.5]
    assert hollow.get_markerfacecolor() == "white"


@pytest.mark.parametrize("change", [0.0, float("nan")])
def test_where_nothing_changed_no_arrival_is_drawn(change):
    drawn = axes()
    curve_drawing.draw_arrival(drawn, 0.8, change, LOOK)
    assert list(drawn.get_lines()) == []


def test_limits_hold_labelled_lines_and_bands_and_a_margin_and_no_marks():
    one, other = axes(), axes()
    curve_drawing.draw_line(one, line([0.4, 0.6], half=0.1), LOOK, label="a", place=0)
    curve_drawing.draw_line(other, line([0.5, 0.9], seeds=2), LOOK, label="a", place=0)
    other.plot([0, 1], [-7, 7], label="_mark")
    low, high = curve_drawing.limits([one, other])
    margin = 0.06 * (0.9 - 0.3) + 0.01
    assert (low, high) == (pytest.approx(0.3 - margin), pytest.approx(0.9 + margin))


# ---------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("suffix", picture_files.SUFFIXES)
def test_the_same_figure_has_the_same_bytes_in_every_format(tmp_path, suffix):
    def written(name):
        figure = style.canvas(3.0, 2.0, title="a title")
        figure.add_subplot().plot([0, 1], [0, 1])
        return picture_files.save(figure, tmp_path / f"{name}{suffix}").read_bytes()

    assert written("one") == written("other")


def test_another_suffix_is_refused_with_those_that_there_are(tmp_path):
    with pytest.raises(Refused, match=r"'gap\.jpg'.*\.png, \.svg, \.pdf"):
        picture_files.save(style.canvas(3.0, 2.0, title=""), tmp_path / "gap.jpg")
    assert list(tmp_path.iterdir()) == []


def test_a_suffix_in_capitals_is_known(tmp_path):
    path = picture_files.save(style.canvas(3.0, 2.0, title=""), tmp_path / "GAP.SVG")
    assert path.read_text().startswith("<?xml")


def test_words_of_an_svg_stay_words():
    assert "a title of its own" in picture_files.svg(style.canvas(6.0, 2.0, title="a title of its own"))


def test_shares_are_drawn_from_light_to_dark():
    colours, scale = style.scale_of_shares()
    lightness = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b, _ in colours(scale(np.linspace(0, 1, 50)))]
    assert all(one > other for one, other in pairwise(lightness))
    assert (scale.vmin, scale.vmax) == (0, 1)


# ---------------------------------------------------------------------------------------------- which runs


@pytest.mark.parametrize(
    ("lengths", "window"),
    [([60, 60], 30), ([200], 40), ([1000, 500], 100), ([20], 20), ([31, 400], 30), ([1], 2), ([150.0], 30)],
)
def test_the_window_after_a_switch_is_a_fifth_of_the_shortest_experience_and_at_least_30_iterations(lengths, window):
    assert plotted_runs.default_window(lengths) == window


def test_boundaries_are_the_median_over_runs():
    runs = {
        "a": [trace_from(np.eye(2), lengths, lambda *_: np.ones(2)) for lengths in ([10, 10], [12, 12])],
        "b": [trace_from(np.eye(2), [20, 30], lambda *_: np.ones(2))],
    }
    assert plotted_runs.median_boundaries(runs).tolist() == [0, 12, 24]


def test_runs_that_were_looked_at_between_ends_are_told_from_others():
    fine = trace_from(np.eye(2), [4, 4], lambda *_: np.ones(2))
    coarse = fine.at(fine.kind == Kind.END)
    assert plotted_runs.has_step_looks({"a": [coarse], "b": [coarse, fine]})
    assert not plotted_runs.has_step_looks({"a": [coarse]})


def test_the_error_of_the_rows_is_the_largest_one_that_is_drawn():
    half = trace_from(np.eye(2), [4, 4], lambda *_: np.array([0.5, 0.9]))
    text = plotted_runs.rows_error({"a": [half]})
    assert text.startswith("100 ")
    assert "5.0 points" in text  # sqrt(0.25 / 100)
    sure = trace_from(np.eye(2), [4, 4], lambda *_: np.ones(2))
    assert plotted_runs.rows_error({"a": [sure]}) == ""
    fewer = replace(half, rows=np.array([25, 100]))
    assert plotted_runs.rows_error({"a": [half], "b": [fewer]}).startswith("25 to 100 ")
    assert "10.0 points" in plotted_runs.rows_error({"a": [half], "b": [fewer]})


def matrix(*labels, seeds=2, **options):
    return [
        record(label, seed, dipping(seed, tasks=2, length=4), **options) for label in labels for seed in range(seeds)
    ]


def test_runs_are_those_asked_for_in_that_order_and_labels_are_all():
    runs = plotted_runs.choose(matrix("er", "naive", "agem"), None, ["naive", "er"])
    assert list(runs.records) == ["naive", "er"]
    assert runs.labels == ("agem", "er", "naive")
    assert runs.seeds == [2, 2]
    assert runs.benchmark.startswith("split-digits@1")


def test_only_finished_cells_are_drawn():
    records = [*matrix("er"), record("naive", 0, status="diverged")]
    assert list(plotted_runs.choose(records, None, None).records) == ["er"]
    with pytest.raises(Refused, match="done"):
        plotted_runs.choose([record("naive", 0, status="diverged")], None, None)


@pytest.mark.parametrize(
    ("benchmark", "strategies", "sentence"),
    [
        (None, None, "several benchmarks"),
        ("split-cifra", None, "'split-cifra'"),
        ("mine@1", ["err"], "'err'.*'er'"),
    ],
)
def test_a_choice_that_leaves_nothing_or_too_much_is_refused(benchmark, strategies, sentence):
    records = [*matrix("er"), *matrix("er", name="mine")]
    with pytest.raises(Refused, match=sentence):
        plotted_runs.choose(records, benchmark, strategies)


def test_joint_training_and_runs_of_other_streams_are_told_from_the_rest():
    own = [record("er", seed, dipping(seed, tasks=2, length=4), fingerprint="a") for seed in range(3)]
    same = [record("naive", seed, dipping(seed, tasks=2, length=4), fingerprint="a") for seed in range(3)]
    other = [record("agem", 0, dipping(0, tasks=2, length=4), fingerprint="b")]
    joint = [record("joint", 0, dipping(0, tasks=2, length=4), fingerprint="a")]
    groups = {"er": own, "naive": same, "agem": other, "joint": joint}
    assert plotted_runs.on_other_streams(groups) == {"agem", "joint"}


def test_runs_that_follow_the_stream_have_all_its_experiences():
    short = trace_from([[1, 1]], [8], lambda *_: np.ones(2))
    records = [*matrix("er"), record("joint", 0, short)]
    runs = plotted_runs.choose(records, None, None)
    assert set(runs.traces) == {"er", "joint"}
    assert set(runs.following()) == {"er"}
