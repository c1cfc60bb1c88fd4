"""Heights of barriers, on lines whose values were made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from clbench.metrics.weight_line import WeightLine, height, instability

AT = np.linspace(0, 1, 5)


def line(score, loss=None, old=(True,)):
    score = np.array(score, dtype=float).reshape(len(AT), -1)
    loss = np.zeros_like(score) if loss is None else np.array(loss, dtype=float).reshape(len(AT), -1)
    return WeightLine("er", 0, "end 0", "end 1", AT, np.arange(score.shape[1]), np.array(old), score, loss)


def test_the_height_is_the_largest_excess_over_the_straight_line_between_the_ends():
    error = [0.1, 0.2, 0.5, 0.25, 0.3]  # the straight line: 0.1, 0.15, 0.2, 0.25, 0.3
    assert height(AT, np.array(error)) == pytest.approx(0.3)
    assert instability(np.array(error)) == pytest.approx(0.5 - 0.2)


def test_equal_points_have_no_barrier():
    assert height(AT, np.full(5, 0.3)) == 0
    assert instability(np.full(5, 0.3)) == 0


def test_a_convex_error_has_a_negative_barrier_and_still_an_instability():
    error = (AT - 1) ** 2  # below its chord 1 - a by a (1 - a): at most by 3/16 at the inner points that are nearest
    assert height(AT, error) == pytest.approx(-3 / 16)
    assert instability(error) == pytest.approx(0.5)


def test_a_straight_line_between_different_ends_has_no_barrier():
    assert height(AT, 2 - 0.5 * AT) == pytest.approx(0, abs=1e-15)


def test_a_line_averages_over_tasks_and_separates_the_old_ones():
    made = line([[0.8, 0.0], [0.6, 0.2], [0.2, 0.6], [0.6, 0.8], [0.8, 0.8]], old=(True, False))
    assert made.old_barrier == pytest.approx(0.6)  # 0.8 - 0.2
    assert made.task_barriers == pytest.approx([0.6, 0.0])  # the chord of task 1: 0, 0.2, 0.4, 0.6, 0.8
    assert made.barrier == pytest.approx(0.6 - 0.4)  # chord 0.4, 0.5, 0.6, 0.7, 0.8; means 0.4, 0.4, 0.4, 0.7, 0.8
    assert np.isnan(line([[0.5]] * 5, old=(False,)).old_barrier)


def test_the_loss_counts_upwards_where_scores_count_downwards():
    made = line([[0.5]] * 5, loss=[[1.0], [1.5], [3.0], [1.5], [1.0]])
    assert made.loss_barrier == pytest.approx(2.0)
    assert made.barrier == 0
