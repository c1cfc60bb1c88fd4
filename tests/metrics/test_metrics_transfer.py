"""Metrics against a baseline, and how fast tasks are learned, on traces worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import trace_from

from clbench.core.errors import Refused
from clbench.core.record import Kind
from clbench.metrics import (
    Undefined,
    compute,
    facilitation,
    first_visits,
    fwt,
    intransigence,
    lca,
    learning_curves,
)

START = [0.1, 0.2, 0.3]
ENDS = [[0.9, 0.5, 0.4], [0.8, 0.95, 0.7], [0.6, 0.8, 1.0]]


SHARED, SPLIT = np.full((3, 2), 2, dtype=np.int8), np.eye(3, dtype=np.int8) + 1
"""Units of three tasks with the same two classes, and with one class each under a shared head."""


def three_tasks(ends=ENDS, *, start=START, present=None, units=None):
    """Three experiences of two iterations, with the given accuracies at the start and when they end."""
    present = np.eye(3) if present is None else present
    trace = trace_from(present, [2] * len(present), lambda _, e: np.array(start if e < 0 else ends[e]))
    return trace if units is None else replace(trace, units=units)


# ---------------------------------------------------------------------------------------------------- FWT


def test_forward_transfer_is_the_accuracy_before_a_first_visit_above_that_at_the_start():
    trace = three_tasks(units=SHARED)
    assert compute(trace, ["fwt"])["fwt"].value == pytest.approx(((0.5 - 0.2) + (0.7 - 0.3)) / 2)


def test_forward_transfer_uses_the_end_before_the_first_of_several_visits():
    trace = three_tasks(present=[[1, 0, 0], [1, 1, 0], [0, 1, 1]], units=SHARED)
    assert fwt(trace) == pytest.approx(((0.5 - 0.2) + (0.7 - 0.3)) / 2)


def test_forward_transfer_of_a_class_incremental_stream_is_undefined_because_future_classes_are_never_predicted():
    value = compute(three_tasks(units=SPLIT), ["fwt"])["fwt"]
    assert math.isnan(value.value)
    assert value.reason.startswith("class-incremental with a shared head")


def test_forward_transfer_is_defined_where_tasks_have_heads_of_their_own_or_share_classes_among_idle_units():
    heads = 2 * np.eye(3, dtype=np.int8)
    idle = np.repeat(np.array([[2, 2, 1]], dtype=np.int8), 3, axis=0)
    for units in (heads, idle):
        assert fwt(three_tasks(units=units)) == pytest.approx(0.35)


def test_forward_transfer_is_undefined_where_the_trace_cannot_tell_and_defined_where_the_caller_can():
    assert "the record is older" in compute(three_tasks(), ["fwt"])["fwt"].reason
    assert fwt(three_tasks(), shared_classes=True) == pytest.approx(0.35)
    with pytest.raises(Undefined, match="class-incremental"):
        fwt(three_tasks(units=SHARED), shared_classes=False)


def test_forward_transfer_needs_a_task_that_comes_later_and_a_look_at_the_start():
    with pytest.raises(Undefined, match="first visited in the first experience"):
        fwt(three_tasks(present=np.ones((3, 3))))
    trace = three_tasks()
    late = trace.kind != Kind.START
    cut = {name: getattr(trace, name)[late] for name in ("step", "kind", "experience", "score")}
    with pytest.raises(Undefined, match="no evaluation before the first iteration"):
        fwt(replace(trace, **cut, seconds=np.zeros(0)), shared_classes=True)


# ---------------------------------------------------------------------------------------------------- intransigence


def test_intransigence_compares_with_cumulative_training_up_to_the_first_visit():
    better = [[0.95, 0.1, 0.1], [0.9, 0.96, 0.1], [0.9, 0.9, 0.98]]
    found = intransigence(three_tasks(), three_tasks(better))
    assert found == pytest.approx(((0.95 - 0.9) + (0.96 - 0.95) + (0.98 - 1.0)) / 3)


def test_intransigence_compares_with_the_end_of_joint_training_where_that_is_one_experience():
    joint = trace_from([[1, 1, 1]], [6], lambda *_: np.array([0.99, 0.97, 0.95]))
    found = compute(three_tasks(), ["intransigence"], reference=joint)["intransigence"].value
    assert found == pytest.approx((0.09 + 0.02 - 0.05) / 3)


def test_intransigence_is_undefined_without_a_reference_for_the_reference_itself_and_across_streams():
    trace = three_tasks()
    reason = compute(trace, ["intransigence"])["intransigence"].reason
    assert reason.startswith("no joint reference run in these records")
    with pytest.raises(Undefined, match="is the reference"):
        intransigence(trace, trace)
    with pytest.raises(Undefined, match="in other experiences"):
        intransigence(trace, three_tasks(present=[[1, 1, 0], [0, 0, 1], [0, 0, 1]]))
    with pytest.raises(Undefined, match="not evaluated on all tasks"):
        intransigence(trace, trace_from([[1, 1]], [6], lambda *_: np.array([0.9, 0.9])))


# ---------------------------------------------------------------------------------------------------- LCA


def rising(lengths=(4, 4), every=1):
    """Two tasks: 0.1 at the start, then 0.2, 0.4, ... on the first; 0.3 before the second, then 0.5, 0.6, ..."""

    def accuracy(step, experience):
        if experience < 0:
            return np.array([0.1, 0.0])
        if experience == 0:
            return np.array([0.2 * step, 0.3])
        return np.array([0.5, 0.4 + 0.1 * (step - lengths[0])])

    return trace_from(np.eye(2), lengths, accuracy, every=every)


def test_learning_curve_area_averages_the_zero_shot_accuracy_and_that_after_each_of_the_first_batches():
    assert lca(0)(rising()).value == pytest.approx((0.1 + 0.3) / 2)
    assert lca(2)(rising()).value == pytest.approx(((0.1 + 0.2 + 0.4) / 3 + (0.3 + 0.5 + 0.6) / 3) / 2)


def test_learning_curve_area_without_the_zero_shot_accuracy_averages_beta_values():
    assert lca(2, zero_shot=False)(rising()).value == pytest.approx(((0.2 + 0.4) / 2 + (0.5 + 0.6) / 2) / 2)


def test_learning_curve_area_is_that_of_first_visits():
    def accuracy(step, experience):
        return np.array([0.9, 0.1]) if experience == 2 else np.array([0.1 * step, 0.1 * step])

    trace = trace_from([[1, 0], [0, 1], [1, 0]], [3, 3, 3], accuracy)
    np.testing.assert_allclose(learning_curves(trace, 2), [[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]])


def test_learning_curve_area_is_undefined_where_batches_are_left_out_or_a_visit_is_too_short():
    value = lca(3)(rising((4, 2)))
    assert math.isnan(value.value)
    assert "task 1 was evaluated after 2 of 3 batches" in value.reason
    assert "2 of 4 batches" in lca(4)(rising(every=2)).reason


def test_a_learning_curve_of_no_values_is_refused():
    with pytest.raises(Refused, match="use 1 or more"):
        lca(-1)
    with pytest.raises(Refused, match="use 1 or more"):
        lca(0, zero_shot=False)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(0, 6))
def test_learning_curve_area_agrees_with_counting_batches_one_by_one(seed, tasks, beta):
    rng = np.random.default_rng(seed)
    trace = trace_from(np.eye(tasks), [6] * tasks, lambda *_: rng.random(tasks))
    areas = []
    for task in range(tasks):
        before = max(
            k for k in range(len(trace.step)) if trace.experience[k] == task - 1 and trace.kind[k] != Kind.STEP
        )
        curve = [trace.score[before, task]]
        for kind, experience, score in zip(trace.kind, trace.experience, trace.score, strict=True):
            if kind == Kind.STEP and experience == task:
                curve.append(score[task])
        areas.append(sum(curve[: beta + 1]) / (beta + 1))
    assert lca(beta)(trace).value == pytest.approx(sum(areas) / tasks)


# ---------------------------------------------------------------------------------------------------- facilitation


def reaching(times, *, length=6, before=0.0):
    """Tasks, one an experience, that jump to 0.9 after so many iterations of their experience; ``None`` is never."""

    def accuracy(step, experience):
        since = [step - length * task for task in range(len(times))]
        return np.array([before if t is None or s < t else 0.9 for t, s in zip(times, since, strict=True)], dtype=float)

    return trace_from(np.eye(len(times)), [length] * len(times), accuracy)


def test_iterations_to_a_criterion_are_counted_from_the_switch_and_censored_at_the_end_of_the_visit():
    found = first_visits(reaching([5, None, 2, 0]))
    assert found.task.tolist() == found.experience.tolist() == [0, 1, 2, 3]
    assert found.iterations.tolist() == [5, 6, 2, 0]
    assert found.censored.tolist() == [False, True, False, False]


def test_only_the_first_visit_counts_for_the_criterion():
    trace = trace_from([[1, 0], [0, 1], [1, 0]], [3, 3, 3], lambda step, _: np.array([0.9 * (step > 6), 0.9]))
    found = first_visits(trace)
    assert found.iterations.tolist() == [3, 0]
    assert found.censored.tolist() == [True, False]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([5, 3, 2], 1.0),
        ([1, 3, 4], -1.0),
        ([2, 1, 3], -0.5),  # 1 - 6 (1 + 1 + 0) / (3 * 8) = 0.5
        ([None, 4, 3, 1], 1.0),
        ([4, 4, 2], math.sqrt(3) / 2),  # ranks 1, 2, 3 against 2.5, 2.5, 1
    ],
)
def test_facilitation_is_minus_the_rank_correlation_of_order_and_iterations(times, expected):
    assert facilitation(reaching(times)) == pytest.approx(expected)


def test_facilitation_counts_the_tasks_that_never_reach_the_criterion():
    values = compute(reaching([None, 4, 3, 1]), ["facilitation_censored"])
    assert values["facilitation_censored"].value == 0.25


@pytest.mark.parametrize(
    ("trace", "reason"),
    [
        (reaching([3, 2]), "needs three tasks"),
        (reaching([None] * 3), "no task reached 90 %"),
        (reaching([2, 2, 2]), "every task took 2 iterations"),
        (trace_from(np.ones((1, 3)), [4], lambda *_: np.full(3, 0.95)), "in the same experience"),
    ],
)
def test_facilitation_says_why_it_has_no_value(trace, reason):
    assert reason in compute(trace, ["facilitation"])["facilitation"].reason


def test_a_criterion_outside_0_to_1_is_refused():
    with pytest.raises(Refused, match="use one above 0"):
        first_visits(reaching([1, 2, 3]), criterion=0)
