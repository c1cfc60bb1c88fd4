"""What is in the picture of a stability gap, read off its artists."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic import dipping, matrix, record, trace_from

from clbench.core.errors import Refused
from clbench.metrics.interval import half_width
from clbench.plots import save, stability_gap, svg, switch_gaps, task_curves
from clbench.plots.strategy_styles import styles
from clbench.plots.style import plain


def drawn(axes, label):
    return next(line for line in axes.get_lines() if line.get_label() == label)


def band_at(axes, x):
    """Lower and upper edge of the only band."""
    (band,) = axes.collections
    edges = band.get_paths()[0].vertices
    return np.unique(edges[edges[:, 0] == x][:, 1].round(9))


def caption(figure):
    return figure.texts[-1].get_text().replace("\n", " ")


def steady(label, seed, *, length=6, rise=0.0):
    """Two tasks; accuracy on the first is 0.5 + rise * iteration + 0.1 * seed."""
    return record(
        label,
        seed,
        trace_from(np.eye(2), [length] * 2, lambda step, _: np.array([0.5 + rise * step + 0.1 * seed, 0.2])),
    )


def test_the_line_is_the_mean_over_seeds_and_the_band_its_interval():
    figure = stability_gap([steady("er", s, rise=0.01) for s in range(3)])
    axes = figure.axes[0]
    line = drawn(axes, "er")
    np.testing.assert_array_equal(line.get_xdata(), np.arange(13))
    np.testing.assert_allclose(line.get_ydata(), 0.6 + 0.01 * np.arange(13))
    half = half_width([0.0, 0.1, 0.2])
    np.testing.assert_allclose(band_at(axes, 4), [0.64 - half, 0.64 + half])
    assert "mean of 3 seeds, band: 95 % interval" in caption(figure)


def test_two_seeds_have_a_line_and_no_band():
    figure = stability_gap([steady("er", seed) for seed in (0, 1)])
    axes = figure.axes[0]
    assert not axes.collections
    np.testing.assert_allclose(drawn(axes, "er").get_ydata(), 0.55)
    assert "band" not in caption(figure)


def test_one_seed_has_the_standard_error_of_its_evaluation_rows_as_band():
    figure = stability_gap([steady("er", 0)], tasks="seen")
    axes = figure.axes[0]
    one_task, two_tasks = np.sqrt(0.5 * 0.5 / 100), np.sqrt(0.5 * 0.5 / 100 + 0.2 * 0.8 / 100) / 2
    np.testing.assert_allclose(band_at(axes, 3), [0.5 - one_task, 0.5 + one_task])
    np.testing.assert_allclose(band_at(axes, 9), [0.35 - two_tasks, 0.35 + two_tasks])
    assert "1 seed, band: ± 1 standard error of evaluation samples" in caption(figure)


def test_one_seed_that_was_evaluated_on_all_samples_has_no_band_and_the_caption_promises_none():
    sampled = steady("er", 0)
    whole = replace(sampled, trace=replace(sampled.trace, population=sampled.trace.rows))
    for draw in (stability_gap, task_curves):
        assert "band" in caption(draw([sampled]))
        assert "band" not in caption(draw([whole]))


def test_the_caption_says_what_the_bands_of_unequal_numbers_of_seeds_are():
    records = [steady("er", seed) for seed in range(3)] + [steady("naive", 0)]
    text = caption(stability_gap(records))
    assert "mean of 1 to 3 seeds, band: 95 % interval (one seed: ± 1 standard error of evaluation samples)" in text


def test_accuracy_on_the_tasks_seen_starts_to_hold_the_second_task_after_the_switch():
    line = drawn(stability_gap([steady("er", 0)], tasks="seen").axes[0], "er")
    values = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert values[6] == pytest.approx(0.5)
    assert values[7] == pytest.approx((0.5 + 0.2) / 2)


def test_switches_are_marked_where_experiences_begin():
    main = stability_gap([record("er", 0, dipping(0, tasks=4, length=20))]).axes[0]
    assert [line.get_xdata()[0] for line in main.get_lines() if line.get_label() != "er"] == [20, 40, 60]


def test_panels_below_show_the_tasks_seen_before_each_switch_with_the_gap_inside():
    figure = stability_gap([record("er", 0, dipping(0, tasks=4, length=60, depth=0.5, noise=0))])
    assert len(figure.axes) == 1 + 3
    for panel in figure.axes[1:]:
        line = drawn(panel, "er")
        x, y = line.get_xdata(), line.get_ydata()
        low, high = panel.get_xlim()
        assert low < 0 < x[np.argmin(y)] < high
        assert y[x == 0] - y.min() > 0.2
        assert panel.get_ylim()[0] < y.min()


def test_at_most_four_switches_are_magnified_the_first_and_the_last_among_them():
    titles = [axes.get_title(loc="left") for axes in stability_gap([record("er", 0, dipping(0, tasks=12))]).axes[1:]]
    assert len(titles) == 4
    assert titles[0].endswith("experience 1")
    assert titles[-1].endswith("experience 11")


def test_seeds_whose_experiences_differ_in_length_are_aligned_at_the_switch():
    def step_down(seed):
        length = 10 + 2 * seed
        return trace_from(np.eye(2), [length, length], lambda step, _: np.array([0.9 if step <= length else 0.1, 0.0]))

    axes = stability_gap([record("er", seed, step_down(seed)) for seed in range(3)]).axes[0]
    line = drawn(axes, "er")
    x, y = line.get_xdata(), line.get_ydata()
    np.testing.assert_allclose(y[x <= 12], 0.9)
    np.testing.assert_allclose(y[x >= 12 + 12 / 10], 0.1)
    assert "scaled" in axes.get_xlabel()


def test_a_strategy_without_the_streams_experiences_is_a_line_at_its_final_accuracy():
    axes = stability_gap(matrix([0, 1])).axes[0]
    line = drawn(axes, "joint (final)")
    final = [r.trace.score[-1, 0] for r in matrix([0, 1]) if r.label == "joint"]
    np.testing.assert_allclose(line.get_ydata(), np.mean(final))
    assert not any(line.get_label() == "joint" for panel in stability_gap(matrix([0])).axes[1:] for line in panel.lines)


def test_many_switches_are_ticks_above_the_axes_and_not_lines_through_the_curves():
    figure = stability_gap([record("er", 0, dipping(0, tasks=45, length=4, every=0))])
    axes = figure.axes[0]
    (ticks,) = [c for c in axes.collections if hasattr(c, "get_segments")]
    assert [segment[0].tolist() for segment in ticks.get_segments()] == [[4 * k, 1] for k in range(1, 45)]
    assert [line.get_label() for line in axes.get_lines()] == ["er"]
    assert "ticks above: switches" in caption(figure)


def test_seventy_strategies_differ_in_black_and_white_and_seven_by_their_dashes():
    found = styles(str(i) for i in range(70)).values()
    assert len({(style.dash, style.marker) for style in found}) == 70
    assert len({style.dash for style in styles(str(i) for i in range(7)).values()}) == 7


def test_a_strategy_looks_the_same_in_every_picture_of_a_result_set():
    def look(figure, label):
        line = drawn(figure.axes[0], label)
        return line.get_color(), line.get_marker(), line._dash_pattern

    records = matrix([0])
    expected = look(stability_gap(records), "naive")
    assert look(stability_gap(records, strategies=["naive"]), "naive") == expected
    assert look(switch_gaps(records, strategies=["naive", "er"]), "naive") == expected


def test_ticks_tell_each_other_apart_in_percent():
    axes = Figure().add_subplot()
    plain(axes)
    for low, high, expected in ((0.91, 0.925, "91.2%"), (0.0, 1.0, "20%"), (0.9101, 0.9103, "91.015%")):
        axes.set_ylim(low, high)
        texts = [axes.yaxis.get_major_formatter()(value, None) for value in axes.get_yticks()]
        assert len(set(texts)) == len(texts)
        assert expected in texts


def test_magnified_panels_hold_their_bands_and_lines_reach_their_edges_between_sparse_looks():
    figure = stability_gap([record("er", s, dipping(s, tasks=3, length=60, noise=0.06, every=7)) for s in range(3)])
    for panel in figure.axes[1:]:
        line = drawn(panel, "er")
        left, right = panel.get_xlim()
        assert line.get_xdata()[0] <= left
        assert line.get_xdata()[-1] >= right
        (band,) = panel.collections
        assert panel.get_ylim()[0] < band.get_paths()[0].vertices[:, 1].min()


def test_captions_tell_the_standard_error_that_the_record_carries():
    known = replace(dipping(0, tasks=2, length=6), population=np.full(2, 400))
    largest = 100 * np.nanmax(known.standard_error)
    assert f"100 samples a task: standard error at most {largest:.1f} points" in caption(
        stability_gap([record("er", 0, known)])
    )
    every_row = replace(known, population=np.full(2, 100))
    assert "standard error at most" not in caption(stability_gap([record("er", 0, every_row)]))


def test_strategies_differ_in_more_than_colour():
    lines = [line for line in stability_gap(matrix([0])).axes[0].get_lines() if not line.get_label().startswith("_")]
    looks = {(line.get_linestyle(), line.get_marker()) for line in lines}
    assert len({line.get_color() for line in lines}) == len(lines)
    assert len(looks) == len(lines)


def test_the_legend_lies_outside_the_data_from_the_best_acc_to_the_worst():
    figure = stability_gap(matrix([0, 1]))
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_window_extent().x0 >= max(axes.get_window_extent().x1 for axes in figure.axes)
    labels = [text.get_text().removesuffix(" (final)") for text in legend.get_texts()]
    found = {label: [r.trace.score[-1].mean() for r in matrix([0, 1]) if r.label == label] for label in labels}
    assert labels == sorted(labels, key=lambda label: -np.mean(found[label]))


def test_only_the_strategies_asked_for_are_drawn_and_unknown_ones_refused():
    axes = stability_gap(matrix([0]), strategies=["naive", "er"]).axes[0]
    assert {"naive", "er"} == {line.get_label() for line in axes.get_lines() if not line.get_label().startswith("_")}
    with pytest.raises(Refused, match="did you mean 'er_ace'"):
        stability_gap(matrix([0]), strategies=["er_ac"])


def test_several_benchmarks_or_nothing_finished_are_refused_with_what_to_do():
    two = [steady("er", 0), record("er", 0, dipping(0), name="other")]
    with pytest.raises(Refused, match="choose one"):
        stability_gap(two)
    assert "other@1" in stability_gap(two, benchmark="other@1").texts[0].get_text()
    lost = [record("er", seed, status="diverged", reason="x") for seed in (0, 1)]
    with pytest.raises(Refused, match=r"no cell is done \(2 diverged, 1 failed\)$"):
        stability_gap([record("er", 2, status="failed", reason="x"), *lost])
    with pytest.raises(Refused, match="no cell is done; run the benchmark first"):
        stability_gap([])


def test_looks_at_ends_only_give_a_picture_without_magnified_switches():
    figure = stability_gap([record("er", 0, dipping(0, every=0))])
    assert len(figure.axes) == 1


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_suffix_decides_the_format_and_the_same_records_give_the_same_bytes(tmp_path, suffix, magic):
    records = [steady("er", 0), steady("naive", 0, rise=0.01)]
    paths = [save(stability_gap(records), tmp_path / f"{name}{suffix}") for name in "ab"]
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(magic)
    assert first == second


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(Refused, match=r"\.png, \.svg, \.pdf"):
        save(stability_gap([steady("er", 0)]), tmp_path / "gap.jpg")
    assert not list(tmp_path.iterdir())


def test_svg_keeps_words_as_words_and_escapes_them():
    text = svg(stability_gap([steady("<er> & co", 0)]))
    assert "&lt;er&gt; &amp; co" in text
    assert "<er>" not in text
