"""Metrics that weigh rows, and those of other read-outs: task-masked accuracy and accuracy per class."""

import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic import trace_from

from clbench import metrics
from clbench.core.record import Kind, Trace
from clbench.metrics import a_auc, class_end_scores, compute, forgetting_local, seen_accuracy

NAN = math.nan


def uneven():
    """Task 0 has 30 rows, task 1 has 10; looks after iterations 2 and 4, then 6."""
    return Trace(
        step=np.array([0, 2, 4, 4, 6, 6]),
        kind=np.array([Kind.START, Kind.STEP, Kind.STEP, Kind.END, Kind.STEP, Kind.END]),
        experience=np.array([-1, 0, 0, 0, 1, 1]),
        score=np.array([[0.0, 0.0], [0.4, NAN], [0.8, NAN], [0.8, 0.1], [0.5, 0.9], [0.5, 0.9]]),
        rows=np.array([30, 10]),
        present=np.array([[True, False], [False, True]]),
        every=2,
    )


def test_accuracy_on_the_rows_seen_weighs_tasks_by_their_rows():
    np.testing.assert_allclose(seen_accuracy(uneven()), [0.8, (30 * 0.5 + 10 * 0.9) / 40])
    values = compute(uneven(), ["acc_seen", "aia_seen", "acc", "aia"])
    assert values["acc_seen"].value == pytest.approx(0.6)
    assert values["aia_seen"].value == pytest.approx((0.8 + 0.6) / 2)
    assert values["acc"].value == pytest.approx(0.7)


def test_a_auc_weighs_rows_where_aaa_weighs_tasks():
    values = compute(uneven(), ["a_auc", "aaa"])
    assert values["a_auc"].value == pytest.approx((0.4 + 0.8 + 0.6) / 3)
    assert values["aaa"].value == pytest.approx((0.4 + 0.8 + 0.7) / 3)


def test_a_auc_is_an_area_over_iterations_so_that_sparse_looks_weigh_more():
    trace = uneven()
    trace = replace(trace, step=np.array([0, 1, 4, 4, 6, 6]))
    assert a_auc(trace) == pytest.approx((1 * 0.4 + 3 * 0.8 + 2 * 0.6) / 6)


def test_a_auc_counts_every_exposed_row_of_a_query_once():
    """The query of i-Blurry's evaluation: correct over all rows of the classes exposed so far, one row at a time."""
    rng = np.random.default_rng(0)
    rows, tasks, length = np.array([7, 3, 5]), 3, 6
    counts = rng.integers(0, rows + 1, (tasks * length + 1, tasks))
    trace = trace_from(np.eye(tasks), [length] * tasks, lambda step, _: counts[step] / rows)
    queries = []
    for step in range(1, tasks * length + 1):
        exposed = range((step - 1) // length + 1)
        outcomes = [row < counts[step, task] for task in exposed for row in range(rows[task])]
        queries.append(sum(outcomes) / len(outcomes))
    assert a_auc(replace(trace, rows=rows)) == pytest.approx(sum(queries) / len(queries))


# ---------------------------------------------------------------------------------------------------- read-outs


def with_readouts():
    masked = np.array([[0.5, 0.5], [0.6, NAN], [0.9, NAN], [0.9, 0.6], [0.8, 1.0], [0.7, 1.0]])
    classes = np.array(
        [[0, 0, NAN], [0.4, NAN, NAN], [0.8, NAN, NAN], [0.8, 0.1, NAN], [0.5, 0.9, NAN], [0.5, 0.9, NAN]]
    )
    return replace(uneven(), masked=masked, class_score=classes)


def test_masked_accuracy_is_acc_of_the_task_masked_read_out():
    assert compute(with_readouts(), ["masked_acc"])["masked_acc"].value == pytest.approx((0.7 + 1.0) / 2)


def test_class_accuracy_averages_classes_and_leaves_out_units_without_rows():
    np.testing.assert_equal(class_end_scores(with_readouts()), [[0.8, 0.1, NAN], [0.5, 0.9, NAN]])
    assert compute(with_readouts(), ["acc_class"])["acc_class"].value == pytest.approx(0.7)


def test_local_forgetting_is_what_the_masked_read_out_loses_by_rows():
    assert forgetting_local(with_readouts()) == pytest.approx(30 / 40 * (0.9 - 0.7))
    assert metrics.forgetting_global(with_readouts()) == pytest.approx(30 / 40 * (0.8 - 0.5))


def test_metrics_of_what_was_not_recorded_say_which_setting_records_it():
    values = compute(uneven(), ["masked_acc", "forgetting_local", "acc_class"])
    assert "set evaluation.masked to true" in values["masked_acc"].reason
    assert "set evaluation.masked to true" in values["forgetting_local"].reason
    assert "set evaluation.classes to true" in values["acc_class"].reason
