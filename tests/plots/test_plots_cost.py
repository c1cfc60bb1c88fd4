"""What is in the picture of costs: positions of the points, and who is on the front."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import record, trace_from

from clbench.core.errors import Refused
from clbench.metrics.interval import half_width
from clbench.plots import cost_and_accuracy
from clbench.plots.cost_plot import pareto

ROWS = {"stream_rows": 100, "replay_rows": 0, "extra_forward_rows": 0, "extra_backward_rows": 0}


def run(label, accuracy, *, seed=0, low=None, fingerprint=None, **cost):
    """Two tasks: the first ends at ``accuracy`` and falls to ``low`` on the way, the second is at ``accuracy``."""
    low = accuracy if low is None else low
    trace = trace_from(np.eye(2), [5, 5], lambda step, _: np.array([low if step == 7 else accuracy, accuracy]), every=1)
    return replace(record(label, seed, trace, fingerprint=fingerprint), cost={**ROWS, **cost}, data="rows")


def points(axes):
    """Label -> (cost, score) of the strategies drawn."""
    found = [line for line in axes.get_lines() if line.get_label()[0] != "_" and line.get_label() != "Pareto front"]
    return {line.get_label(): (line.get_xdata()[0], pytest.approx(line.get_ydata()[0])) for line in found}


def front(axes):
    lines = [line for line in axes.get_lines() if line.get_label() == "Pareto front"]
    return [tuple(point) for line in lines for point in np.round(line.get_xydata(), 9)]


def heading(figure):
    return " ".join(text.get_text() for text in figure.texts)


def test_pareto_members_worked_by_hand():
    cost = [1, 2, 2, 3, 4, 4]
    score = [0.5, 0.7, 0.6, 0.7, 0.9, 0.9]
    assert pareto(cost, score).tolist() == [True, True, False, False, True, True]


def test_among_equal_costs_the_best_and_among_equal_scores_the_cheapest_is_on_the_front():
    assert pareto([5, 5, 5], [0.1, 0.3, 0.2]).tolist() == [False, True, False]
    assert pareto([3, 1, 2], [0.4, 0.4, 0.4]).tolist() == [False, True, False]


def test_rows_count_forward_and_backward():
    records = [run("er", 0.8, replay_rows=40, extra_forward_rows=7, extra_backward_rows=3), run("naive", 0.5)]
    axes = cost_and_accuracy(records).axes[0]
    assert points(axes) == {"er": (2 * 140 + 10, 0.8), "naive": (200, 0.5)}


def test_acc_is_left_wc_acc_right_each_with_its_front():
    records = [run("a", 0.6, low=0.6), run("b", 0.8, low=0.2, replay_rows=50)]
    left, right = cost_and_accuracy(records).axes
    assert [axes.get_title(loc="left") for axes in (left, right)] == ["ACC", "WC-ACC"]
    assert front(left) == [(200, 0.6), (300, 0.8)]
    assert points(right) == {"a": (200, 0.6), "b": (300, (0.2 + 0.8) / 2)}
    assert front(right) == [(200, 0.6)]


def test_upper_bounds_on_another_stream_are_hollow_and_off_the_front():
    records = [run("er", 0.7), run("naive", 0.5, replay_rows=1), run("joint", 0.9, fingerprint="merged")]
    figure = cost_and_accuracy(records)
    axes = figure.axes[0]
    assert front(axes) == [(200, 0.7)]
    faces = {
        line.get_label(): line.get_markerfacecolor() for line in axes.get_lines() if line.get_label() in points(axes)
    }
    assert faces["joint"] == "white"
    assert "white" not in (faces["er"], faces["naive"])
    assert "hollow" in heading(figure)


def test_an_upper_bound_is_off_the_front_where_only_one_strategy_follows_the_stream():
    records = [run("joint", 0.9, fingerprint="merged"), run("naive", 0.5)]
    assert front(cost_and_accuracy(records).axes[0]) == [(200, 0.5)]
    assert front(cost_and_accuracy(records, strategies=["joint"]).axes[0]) == []


def test_who_trained_on_another_stream_than_most_is_off_the_front_whatever_its_name():
    records = [run("er", 0.7), run("naive", 0.5), run("oracle", 0.9, fingerprint="other")]
    assert front(cost_and_accuracy(records).axes[0]) == [(200, 0.7)]


def test_points_are_means_over_seeds_with_bars_from_three_seeds_on():
    axes = cost_and_accuracy(
        [run("er", 0.5 + 0.1 * seed, seed=seed, steps=10 + seed) for seed in range(3)], cost="steps"
    ).axes[0]
    assert points(axes) == {"er": (11, 0.6)}
    (bars,) = axes.containers
    across, up = (segments.get_segments()[0] for segments in bars.lines[2])
    np.testing.assert_allclose(across[:, 0], 11 + np.array([-1, 1]) * half_width([10, 11, 12]))
    np.testing.assert_allclose(up[:, 1], 0.6 + np.array([-1, 1]) * half_width([0.5, 0.6, 0.7]))
    assert not cost_and_accuracy([run("er", 0.5, seed=seed) for seed in range(2)]).axes[0].containers


def test_the_cost_can_be_a_short_name_or_any_entry_of_a_record():
    records = [run("er", 0.8, memory_bytes=500, state_bytes=20, weights=7)]
    assert points(cost_and_accuracy(records, cost="memory").axes[0]) == {"er": (520, 0.8)}
    assert points(cost_and_accuracy(records, cost="weights").axes[0]) == {"er": (7, 0.8)}
    with pytest.raises(Refused, match="no record has the cost 'weight'; did you mean 'weights'"):
        cost_and_accuracy(records, cost="weight")
    with pytest.raises(Refused, match="no record has the cost 'seconds'"):
        cost_and_accuracy(records, cost="seconds")


def test_strategies_whose_cost_is_not_recorded_are_named_and_left_out():
    records = [run("er", 0.8), replace(run("other", 0.9), cost={})]
    figure = cost_and_accuracy(records)
    assert list(points(figure.axes[0])) == ["er"]
    assert "cost unknown: other" in heading(figure)


def test_the_axis_is_logarithmic_only_where_costs_spread_widely():
    assert cost_and_accuracy([run("a", 0.5), run("b", 0.6, replay_rows=300)]).axes[0].get_xscale() == "linear"
    assert cost_and_accuracy([run("a", 0.5), run("b", 0.6, replay_rows=9000)]).axes[0].get_xscale() == "log"


def test_seconds_come_with_the_warning_that_machines_differ():
    assert "one machine only" in heading(cost_and_accuracy([run("a", 0.5, train_seconds=3.0)], cost="seconds"))


def test_the_caption_speaks_of_a_front_only_where_one_is_drawn():
    joint = [run("joint", 0.9)]
    assert "ringed" not in heading(cost_and_accuracy(joint))
    assert "ringed" in heading(cost_and_accuracy([*joint, run("er", 0.8)]))


def test_a_panel_without_points_says_why():
    trace = trace_from(np.eye(2), [5, 5], lambda *_: np.array([0.8, 0.8]), every=0)
    figure = cost_and_accuracy([replace(record("er", 0, trace), cost=ROWS)])
    assert points(figure.axes[0]) == {"er": (200, 0.8)}
    assert "no evaluations between" in figure.axes[1].texts[0].get_text()
