"""Metrics by plain loops over recurring streams, written from their formulas without arrays, against the package."""

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
    aaa,
    aia,
    bwt,
    forgetting,
    forgetting_last,
    la,
    wf,
    wp,
)
from clbench.metrics.accumulation import acc_last, accumulation, all_accuracy
from clbench.metrics.accuracy_matrix import acc
from clbench.metrics.interval import half_width
from clbench.metrics.learning_speed import lca
from clbench.metrics.sample_weighted import acc_seen, seen_accuracy

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def recurring(draw, experiences=(1, 6), every=(1, 3)):
    """A trace of a stream in which tasks come and go; scores are multiples of 1/10, rows of tasks differ."""
    n, tasks = draw(st.integers(*experiences)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(SEEDS))
    present = rng.random((n, tasks)) < 0.4
    present[np.arange(n), rng.integers(0, tasks, n)] = True
    lengths = rng.integers(3, 12, n).tolist()
    made = trace_from(present, lengths, lambda *_: rng.integers(0, 11, tasks) / 10, every=draw(st.sampled_from(every)))
    return replace(made, rows=rng.integers(1, 200, tasks))


def same(metric, trace, expected):
    """The metric has the value, or is undefined where there is none."""
    if expected is None:
        with pytest.raises(Undefined):
            metric(trace)
    else:
        assert metric(trace) == pytest.approx(expected, abs=1e-12)


# ---------------------------------------------------------------------------------------------- the matrix R, by loops


def end_matrix(trace):
    """R as a dict of (experience, task) -> score of the last look at the end of the experience."""
    found = {}
    for k in range(len(trace.step)):
        if trace.kind[k] == Kind.END:
            for task in range(trace.n_tasks):
                found[int(trace.experience[k]), task] = trace.score[k, task]
    return found


def visits(trace):
    """Task -> the experiences that have rows of it; tasks without any are left out."""
    made = {t: [e for e in range(trace.n_experiences) if trace.present[e, t]] for t in range(trace.n_tasks)}
    return {task: when for task, when in made.items() if when}


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else None


@given(recurring())
def test_final_accuracy_is_the_mean_of_the_last_row_over_visited_tasks(trace):
    r, last = end_matrix(trace), trace.n_experiences - 1
    same(acc, trace, mean(r[last, t] for t in visits(trace)))


@given(recurring())
def test_learning_accuracy_is_taken_at_the_end_of_first_visits(trace):
    r = end_matrix(trace)
    same(la, trace, mean(r[when[0], t] for t, when in visits(trace).items()))


@given(recurring())
def test_incremental_accuracy_averages_rows_over_the_tasks_seen_by_then(trace):
    r, when = end_matrix(trace), visits(trace)
    rows = [[r[e, t] for t in when if when[t][0] <= e] for e in range(trace.n_experiences)]
    same(aia, trace, mean(mean(row) for row in rows if row))


@given(recurring())
def test_backward_transfer_is_the_change_since_first_visits(trace):
    r, last = end_matrix(trace), trace.n_experiences - 1
    old = {t: when for t, when in visits(trace).items() if when[0] < last}
    same(bwt, trace, mean(r[last, t] - r[when[0], t] for t, when in old.items()))


@given(recurring())
def test_forgetting_is_the_fall_from_the_best_earlier_row(trace):
    r, last = end_matrix(trace), trace.n_experiences - 1
    old = {t: when for t, when in visits(trace).items() if when[0] < last}
    same(forgetting, trace, mean(max(r[e, t] for e in range(w[0], last)) - r[last, t] for t, w in old.items()))


@given(recurring())
def test_forgetting_since_last_visits_leaves_out_tasks_of_the_last_experience(trace):
    r, last = end_matrix(trace), trace.n_experiences - 1
    gone = {t: when for t, when in visits(trace).items() if when[-1] < last}
    same(forgetting_last, trace, mean(r[when[-1], t] - r[last, t] for t, when in gone.items()))


@given(recurring())
def test_accuracy_on_the_rows_seen_counts_every_row_once(trace):
    r, when, last = end_matrix(trace), visits(trace), trace.n_experiences - 1
    correct = sum(r[last, t] * trace.rows[t] for t in when)
    same(acc_seen, trace, correct / sum(trace.rows[t] for t in when))
    curve = seen_accuracy(trace)
    for e in range(trace.n_experiences):
        seen = [t for t in when if when[t][0] <= e]
        assert curve[e] == pytest.approx(sum(r[e, t] * trace.rows[t] for t in seen) / sum(trace.rows[t] for t in seen))


# ---------------------------------------------------------------------------------------------- along training


def steps(trace):
    """Looks after steps: (step, experience, scores of the tasks met by then by task)."""
    when = visits(trace)
    for k in range(len(trace.step)):
        if trace.kind[k] == Kind.STEP:
            e = int(trace.experience[k])
            yield int(trace.step[k]), e, {t: trace.score[k, t] for t in when if when[t][0] <= e}


def largest_change(trace, window, sign):
    looks = list(steps(trace))
    changes = []
    for task in visits(trace):
        own = [scores[task] for _, _, scores in looks if task in scores]
        pairs = [sign * (own[m] - own[n]) for n in range(len(own)) for m in range(max(0, n - window + 1), n + 1)]
        changes += [max(pairs)] if pairs else []
    return mean(changes)


@given(recurring(every=(1,)), st.integers(2, 15))
def test_windowed_forgetting_and_plasticity_are_the_largest_changes_between_looks_of_a_window(trace, window):
    same(wf(window).function, trace, largest_change(trace, window, 1))
    same(wp(window).function, trace, largest_change(trace, window, -1))


@given(recurring(every=(1,)), st.integers(2, 12))
def test_a_wider_window_never_shows_a_smaller_change(trace, window):
    for family in (wf, wp):
        assert family(window + 1).function(trace) >= family(window).function(trace) >= 0


@given(recurring())
def test_anytime_accuracy_weighs_looks_by_the_iterations_since_the_one_before(trace):
    total = weights = before = 0
    for step, _, scores in steps(trace):
        if scores:
            total += (step - before) * mean(scores.values())
            weights += step - before
        before = step
    same(aaa, trace, total / weights if weights else None)


@given(recurring(every=(1,)), st.integers(0, 3))
def test_the_area_of_the_learning_curve_is_the_mean_over_the_first_batches_of_first_visits(trace, beta):
    when, ends = visits(trace), {}
    for k in range(len(trace.step)):
        if trace.kind[k] == Kind.END:
            ends[int(trace.experience[k])] = k
    areas = []
    for task, visit in when.items():
        first = visit[0]
        began = int(trace.step[ends[first - 1]]) if first else 0
        before = trace.score[ends[first - 1] if first else 0, task]
        during = {step: scores[task] for step, e, scores in steps(trace) if e == first}
        if any(began + b not in during for b in range(1, beta + 1)):
            areas = None
            break
        areas.append(mean([before, *(during[began + b] for b in range(1, beta + 1))]))
    same(lca(beta).function, trace, None if areas is None else mean(areas))


# ---------------------------------------------------------------------------------------------- accumulation


@given(recurring(experiences=(1, 6)), st.integers(1, 4))
def test_accuracy_on_all_data_is_a_running_mean_over_ends(trace, last):
    r, when = end_matrix(trace), visits(trace)
    weight = sum(trace.rows[t] for t in when)
    whole = [sum(r[e, t] * trace.rows[t] for t in when) / weight for e in range(trace.n_experiences)]
    if len(whole) < last:
        with pytest.raises(Undefined, match="experiences"):
            all_accuracy(trace, last=last)
        return
    expected = [mean(whole[i : i + last]) for i in range(len(whole) - last + 1)]
    np.testing.assert_allclose(all_accuracy(trace, last=last), expected)
    assert acc_last(last).function(trace) == pytest.approx(expected[-1])


@given(recurring(experiences=(5, 8)), st.integers(1, 3))
def test_knowledge_accumulation_is_the_slope_of_a_least_squares_line(trace, last):
    y = all_accuracy(trace, last=last)
    learned = np.arange(last, trace.n_experiences + 1)
    assert accumulation(trace, last=last) == pytest.approx(np.polyfit(learned, y, 1)[0], abs=1e-9)
    assert accumulation(trace, last=last, log=True) == pytest.approx(np.polyfit(np.log(learned), y, 1)[0], abs=1e-9)


def growing(accuracies):
    """One experience per value, all of them of one task, whose accuracy at its end is the value."""
    values = iter([0.0, *accuracies])
    return trace_from(
        np.ones((len(accuracies), 1)), [1] * len(accuracies), lambda *_: np.array([next(values)]), every=0
    )


def test_a_line_has_its_own_slope_and_two_points_have_none():
    trace = growing([0.1 + 0.02 * i for i in range(10)])
    assert accumulation(trace, last=1) == pytest.approx(0.02)
    assert accumulation(trace, last=4) == pytest.approx(0.02)
    with pytest.raises(Undefined, match="needs 12"):
        accumulation(trace, last=10)


def test_a_mean_over_no_end_is_refused():
    for function in (lambda: acc_last(0), lambda: all_accuracy(growing([0.1]), last=0)):
        with pytest.raises(Refused, match="1 or more"):
            function()


# ---------------------------------------------------------------------------------------------- intervals


@pytest.mark.parametrize(("n", "t"), [(2, 12.7062047364), (3, 4.30265272991), (5, 2.77644510520), (10, 2.26215716279)])
def test_the_half_width_is_students_t_times_the_standard_error(n, t):
    values = np.arange(n, dtype=float) ** 2
    s = math.sqrt(sum((v - mean(values)) ** 2 for v in values) / (n - 1))  # t from printed tables
    assert half_width(values) == pytest.approx(t * s / math.sqrt(n), rel=1e-8)


def test_intervals_are_taken_over_the_first_axis_and_one_seed_has_none():
    values = np.stack([np.arange(6.0).reshape(2, 3) * factor for factor in (1, 2, 4)])
    found = half_width(values)
    assert found.shape == (2, 3)
    assert found[1, 2] == pytest.approx(half_width(np.array([5.0, 10.0, 20.0])))
    assert np.isnan(half_width(values[:1])).all()


def test_more_confidence_is_a_wider_interval_and_equal_seeds_have_none_at_all():
    values = np.array([0.1, 0.4, 0.3])
    assert half_width(values, confidence=0.99) > half_width(values) > half_width(values, confidence=0.5) > 0
    assert half_width(np.array([0.5, 0.5, 0.5])) == 0
