"""Curves by task, by lag and since a switch, worked out by hand; and the pictures drawn from them."""

import numpy as np
import pytest
from synthetic import dipping, matrix, record, trace_from

from clbench.core.errors import Refused
from clbench.metrics import curves, gap_depth, switches
from clbench.metrics.interval import half_width
from clbench.metrics.metric import Undefined
from clbench.plots import accuracy_by_lag, switch_gaps, task_curves

ALTERNATING = [[1, 0], [0, 1], [1, 0], [0, 1]]
ENDS = np.array([[0.9, 0.0], [0.6, 0.8], [0.7, 0.5], [0.4, 0.9]])  # R[e, i]


def alternating(shift=0.0, *, every=0):
    """Two tasks in turn, four experiences of five iterations; accuracy during an experience is that at its end."""
    return trace_from(ALTERNATING, [5] * 4, lambda _, e: ENDS[max(e, 0)] + shift, every=every)


def drawn(axes, label):
    return next(line for line in axes.get_lines() if line.get_label() == label)


def labels_by_acc(records):
    return [r.label for r in sorted((r for r in records if r.trace), key=lambda r: -r.trace.score[-1].mean())]


def heading(figure):
    return " ".join(text.get_text() for text in figure.texts)


# ---------------------------------------------------------------------------------------------------- by task


def test_a_tasks_curve_begins_at_the_switch_into_its_first_visit():
    trace = trace_from(np.eye(3), [4] * 3, lambda step, _: np.array([0.1, 0.2, 0.3]) + step / 100)
    x, y, error = curves.one_task(trace, 1)
    np.testing.assert_array_equal(x, np.arange(4, 13))
    np.testing.assert_allclose(y, 0.2 + np.arange(4, 13) / 100)
    np.testing.assert_allclose(error, np.sqrt(y * (1 - y) / 100))
    assert len(curves.one_task(trace, 0).x) == 13


def test_a_task_that_is_never_visited_has_no_curve():
    trace = trace_from([[1, 0], [1, 0]], [3, 3], lambda *_: np.array([0.5, 0.5]))
    assert len(curves.one_task(trace, 1).x) == 0
    (axes,) = task_curves([record("er", 0, trace)]).axes
    assert [line.get_label() for line in axes.get_lines() if "task" in line.get_label()] == ["task 0"]


def test_the_tasks_picture_has_a_panel_per_strategy_with_its_own_switches():
    figure = task_curves(matrix([0]))
    names = [axes.get_title(loc="left") for axes in figure.axes]
    assert sorted(names) == ["agem", "er", "er + ewc(strength=10)", "er_ace", "joint", "naive"]
    assert names == labels_by_acc(matrix([0]))
    for axes in figure.axes:
        marks = [line.get_xdata()[0] for line in axes.get_lines() if not line.get_label().startswith("task")]
        assert marks == ([] if axes.get_title(loc="left") == "joint" else [60, 120, 180, 240])


def test_the_tasks_picture_shows_the_mean_over_seeds():
    traces = [dipping(seed) for seed in range(3)]
    axes = task_curves([record("er", seed, trace) for seed, trace in enumerate(traces)]).axes[0]
    line = drawn(axes, "task 2")
    assert line.get_xdata()[0] == 120
    at = np.flatnonzero(traces[0].step == 200)[-1]
    expected = np.mean([trace.score[at, 2] for trace in traces])
    assert line.get_ydata()[line.get_xdata() == 200] == pytest.approx(expected)


def test_more_tasks_than_fit_are_drawn_and_only_some_named_the_first_and_the_last_among_them():
    figure = task_curves([record("er", 0, dipping(0, tasks=30, length=4))])
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert (named[0], named[-1]) == ("task 0", "task 29")
    assert len(named) <= 14
    assert sum("task" in line.get_label() for line in figure.axes[0].get_lines()) == 30


# ---------------------------------------------------------------------------------------------------- by lag


def test_the_lag_picture_has_the_interval_over_seeds_and_counts_its_pairs():
    figure = accuracy_by_lag([record("er", seed, alternating(0.05 * seed)) for seed in range(3)])
    (axes,) = figure.axes
    np.testing.assert_allclose(drawn(axes, "er").get_ydata(), [0.875, 0.55])
    edges = axes.collections[0].get_paths()[0].vertices
    half = half_width([0.0, 0.05, 0.1])
    np.testing.assert_allclose(np.unique(edges[edges[:, 0] == 1][:, 1].round(9)), [0.55 - half, 0.55 + half])
    assert "pairs per seed: 4 at lag 0, 3 at lag 1" in heading(figure)


def rehearsed(seed, law, tasks=8):
    """Every task is present in every experience from its own on, and is known as the law says of its age."""

    def accuracy(_, experience):
        age = np.maximum(experience, 0) - np.arange(tasks)
        return np.where(age >= 0, law(np.maximum(age, 0)), 0.1)

    return record("er", seed, trace_from(np.tril(np.ones((tasks, tasks))), [3] * tasks, accuracy, every=0))


def test_a_stream_that_rehearses_every_task_has_lags_since_the_first_visit_with_both_laws_drawn():
    records = [rehearsed(0, lambda age: 0.9 * np.exp(-0.25 * age))]
    with pytest.raises(Refused, match="or --since first"):
        accuracy_by_lag(records)
    (axes,) = accuracy_by_lag(records, since="first").axes
    line = drawn(axes, "er\nexponential, b = 0.25")
    np.testing.assert_allclose(line.get_ydata(), 0.9 * np.exp(-0.25 * np.arange(8)))
    exponential = drawn(axes, "_exponential er")
    np.testing.assert_allclose(exponential.get_ydata(), 0.9 * np.exp(-0.25 * exponential.get_xdata()), atol=1e-6)
    power = drawn(axes, "_power er")
    assert np.abs(np.interp(np.arange(8), power.get_xdata(), power.get_ydata()) - line.get_ydata()).max() > 0.02
    assert "introduced" in axes.get_xlabel()


def test_no_law_is_drawn_through_fewer_than_eight_lags():
    (axes,) = accuracy_by_lag([rehearsed(0, lambda age: 0.9 * np.exp(-0.25 * age), tasks=7)], since="first").axes
    assert [line.get_label() for line in axes.get_lines()] == ["er"]


def test_lags_are_counted_since_first_or_last_and_nothing_else():
    with pytest.raises(Refused, match="choose first or last"):
        accuracy_by_lag([record("er", 0, alternating())], since="then")


def test_only_lags_that_all_seeds_have_are_drawn():
    rare = trace_from([[1, 0], [0, 1], [0, 1], [0, 1]], [5] * 4, lambda *_: np.array([0.5, 0.5]), every=0)
    axes = accuracy_by_lag([record("er", 0, alternating()), record("er", 1, rare)]).axes[0]
    np.testing.assert_array_equal(drawn(axes, "er").get_xdata(), [0, 1])


def test_a_strategy_without_lags_is_a_line_at_its_final_accuracy_and_refused_alone():
    axes = accuracy_by_lag(matrix([0])).axes[0]
    final = next(r.trace.score[-1].mean() for r in matrix([0]) if r.label == "joint")
    np.testing.assert_allclose(drawn(axes, "joint (final)").get_ydata(), final)
    np.testing.assert_array_equal(drawn(axes, "joint (final)").get_xdata(), [0, 4])
    with pytest.raises(Refused, match="no lags to draw: every task seen is present"):
        accuracy_by_lag(matrix([0]), strategies=["joint"])


# ---------------------------------------------------------------------------------------------------- since a switch


def falling(step, experience):
    """Task i stands at 0.9 and loses (i + 1) / 100 per iteration of the running experience while it is old."""
    since = step - 10 * max(experience, 0)
    return np.array([0.9 - (i + 1) / 100 * since if i < experience else 0.9 for i in range(3)])


def test_the_change_since_a_switch_is_the_mean_over_pairs_worked_by_hand():
    # Each experience is judged from the end of the one before, where tasks are back at 0.9 or not yet:
    # into 1: task 0 falls by 0.01 a step from 0.9; into 2: task 0 begins at 0.8 but scores 0.9 - 0.01 n, task 1 at 0.9.
    x, y, error = curves.since_switch(trace_from(np.eye(3), [10] * 3, falling), before=2, after=4)
    np.testing.assert_array_equal(x, [-2, -1, 0, 1, 2, 3, 4])
    n = np.arange(1, 5)
    first, again, second = -0.01 * n, 0.1 - 0.01 * n, -0.02 * n
    np.testing.assert_allclose(y[3:], (first + again + second) / 3)
    np.testing.assert_allclose(y[:3], [(0 + 0.02 + 0) / 3, (0 + 0.01 + 0) / 3, 0], atol=1e-12)
    assert np.isnan(error).all()


def test_switches_whose_looks_fall_on_other_iterations_are_interpolated():
    trace = trace_from(np.eye(3), [10] * 3, lambda step, _: np.array([0.9 - 0.02 * step, 0.9, 0.9]), every=3)
    x, y, _ = curves.since_switch(trace, before=0, after=8)
    assert set(x) == {0, 1, 2, 4, 5, 7, 8}  # iterations 12, 15, 18 and 21, 24, 27
    np.testing.assert_allclose(y, (-0.02 * x - 0.02 * x + 0) / 3)  # task 0 twice, task 1 once


def test_a_task_that_is_present_again_is_in_no_switch():
    trace = trace_from([[1, 0], [1, 1], [1, 0]], [4] * 3, lambda step, _: np.array([0.9, 0.9 - 0.1 * (step > 8)]))
    _, y, _ = curves.since_switch(trace, before=0, after=4)
    np.testing.assert_allclose(y, [0, -0.1, -0.1, -0.1, -0.1])
    assert curves.switched(trace) == [2]


def test_ends_alone_and_streams_without_absence_have_no_switches():
    with pytest.raises(Undefined, match="no evaluations between ends"):
        curves.since_switch(alternating(), before=1, after=3)
    with pytest.raises(Undefined, match="no task was ever absent"):
        curves.switched(trace_from([[1, 1]], [4], lambda *_: np.array([0.5, 0.5])))


def test_the_switches_picture_shows_the_change_and_beside_it_depth_and_residual():
    traces = [dipping(seed) for seed in range(3)]
    left, right = switch_gaps([record("er", seed, trace) for seed, trace in enumerate(traces)]).axes
    line = drawn(left, "er")
    expected = curves.over_seeds([curves.since_switch(trace, before=5, after=30) for trace in traces])
    np.testing.assert_allclose(line.get_ydata(), expected.mean)
    assert line.get_ydata()[line.get_xdata() == 0] == 0
    arrival, depth, end = right.containers[0].lines[0].get_ydata()
    assert arrival == 0  # nothing is lost before the first step here
    assert depth == pytest.approx(-np.mean([gap_depth(trace) for trace in traces]))
    assert end == pytest.approx(-np.mean([switches(trace).residual.mean() for trace in traces]))
    assert depth <= line.get_ydata().min()
    assert left.get_ylim()[0] < depth


def test_strategies_without_switches_are_named_in_the_caption():
    figure = switch_gaps(matrix([0]))
    assert "joint" not in [line.get_label() for line in figure.axes[0].get_lines()]
    assert "no task is ever absent under joint" in heading(figure)
    assert "band" not in heading(figure)


def test_records_that_cannot_give_switches_are_refused_with_the_reason():
    with pytest.raises(Refused, match=r"no evaluations between ends; set evaluation\.every"):
        switch_gaps([record("er", 0, dipping(0, every=0)), *[r for r in matrix([0]) if r.label == "joint"]])
    with pytest.raises(Refused, match="no task was ever absent"):
        switch_gaps(matrix([0]), strategies=["joint"])


def test_the_window_never_exceeds_the_shortest_experience_behind_a_switch():
    left = switch_gaps([record("er", 0, dipping(0, length=12))], window=500).axes[0]
    assert left.get_xlim() == (-2, 12)
