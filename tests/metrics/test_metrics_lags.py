"""Lags, transfer, first visits and curves by plain loops over recurring streams, against the package."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import trace_from

from clbench.core.record import Kind
from clbench.metrics import Undefined, acc_absent, acc_present, by_lag
from clbench.metrics.curves import arrival, experience_boundaries, one_task, over_seeds, selected, series, switched
from clbench.metrics.learning_speed import first_visits
from clbench.metrics.retention import lags
from clbench.metrics.transfer import fwt, start_scores

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def recurring(draw, every=(1,)):
    """A trace of a stream in which tasks come and go; scores are multiples of 1/10, rows of tasks differ."""
    n, tasks = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(SEEDS))
    present = rng.random((n, tasks)) < 0.4
    present[np.arange(n), rng.integers(0, tasks, n)] = True
    lengths = rng.integers(2, 9, n).tolist()
    scores = lambda *_: rng.integers(0, 11, tasks) / 10  # noqa: E731
    made = trace_from(present, lengths, scores, every=draw(st.sampled_from(every)), at_switch=scores)
    return replace(made, rows=rng.integers(1, 200, tasks))


def ends(trace):
    """Experience -> position of the last look at its end."""
    return {int(trace.experience[k]): k for k in range(len(trace.step)) if trace.kind[k] == Kind.END}


def visits(trace, task):
    return [e for e in range(trace.n_experiences) if trace.present[e, task]]


def lag_of(trace, experience, task, since, unit):
    """Time since the last or first visit had ended when an experience ended; ``None`` before."""
    when = [e for e in visits(trace, task) if e <= experience]
    if not when:
        return None
    start = when[0] if since == "first" else when[-1]
    at = ends(trace)
    return experience - start if unit == "experiences" else int(trace.step[at[experience]] - trace.step[at[start]])


@pytest.mark.parametrize("since", ["last", "first"])
@pytest.mark.parametrize("unit", ["experiences", "iterations"])
@given(trace=recurring())
def test_lags_are_counted_from_the_end_of_a_visit(trace, since, unit):
    found = lags(trace, since=since, unit=unit)
    for e in range(trace.n_experiences):
        for task in range(trace.n_tasks):
            expected = lag_of(trace, e, task, since, unit)
            assert found[e, task] == (-1 if expected is None else expected)


@pytest.mark.parametrize("since", ["last", "first"])
@given(trace=recurring())
def test_accuracy_by_lag_is_the_mean_over_all_pairs_at_that_lag(trace, since):
    pairs = {}
    for e, k in ends(trace).items():
        for task in range(trace.n_tasks):
            lag = lag_of(trace, e, task, since, "experiences")
            if lag is not None:
                pairs.setdefault(lag, []).append(trace.score[k, task])
    table = by_lag(trace, since=since)
    assert table.lag.tolist() == sorted(pairs)
    assert table.pairs.tolist() == [len(pairs[lag]) for lag in sorted(pairs)]
    assert table.accuracy.tolist() == pytest.approx([sum(pairs[lag]) / len(pairs[lag]) for lag in sorted(pairs)])


@given(recurring())
def test_present_and_absent_tasks_are_lag_zero_and_all_others(trace):
    table = by_lag(trace)
    assert acc_present(trace) == pytest.approx(table.accuracy[0])
    later = table.pairs[1:]
    if len(later):
        assert acc_absent(trace) == pytest.approx((table.accuracy[1:] * later).sum() / later.sum())
    else:
        with pytest.raises(Undefined):
            acc_absent(trace)


@given(recurring())
def test_forward_transfer_compares_the_end_before_a_first_visit_with_the_start(trace):
    at = ends(trace)
    gains = [
        trace.score[at[visits(trace, task)[0] - 1], task] - trace.score[0, task]
        for task in range(trace.n_tasks)
        if visits(trace, task) and visits(trace, task)[0] > 0
    ]
    assert start_scores(trace).tolist() == trace.score[0].tolist()
    # at the end of an experience tasks still to come were looked at, in these traces
    if gains:
        assert fwt(trace, shared_classes=True) == pytest.approx(sum(gains) / len(gains))
    else:
        with pytest.raises(Undefined):
            fwt(trace, shared_classes=True)


@given(recurring(), st.sampled_from([0.3, 0.7, 1.0]))
def test_iterations_to_a_criterion_are_those_of_the_first_look_that_reaches_it(trace, criterion):
    at, found = ends(trace), first_visits(trace, criterion=criterion)
    assert found.task.tolist() == [t for t in range(trace.n_tasks) if visits(trace, t)]
    for place, task in enumerate(found.task):
        first = visits(trace, task)[0]
        began = int(trace.step[at[first - 1]]) if first else 0
        looks = [(0, trace.score[at[first - 1] if first else 0, task])]
        looks += [
            (int(trace.step[k]) - began, trace.score[k, task])
            for k in range(len(trace.step))
            if trace.experience[k] == first and trace.kind[k] in (Kind.STEP, Kind.END)
        ]
        reached = [since for since, score in looks if score >= criterion - 1e-9]
        assert found.censored[place] == (not reached)
        assert found.iterations[place] == (reached[0] if reached else looks[-1][0])


# ---------------------------------------------------------------------------------------------- curves


def by_step(trace, wanted):
    """Iteration -> mean score and error over wanted(look) tasks; looks at switches left out, the last one counts."""
    found = {}
    for k in range(len(trace.step)):
        tasks = [t for t in wanted(k) if not np.isnan(trace.score[k, t])]
        if tasks and trace.kind[k] != Kind.SWITCH:
            errors = [np.sqrt(trace.score[k, t] * (1 - trace.score[k, t]) / trace.rows[t]) for t in tasks]
            found[int(trace.step[k])] = (
                sum(trace.score[k, t] for t in tasks) / len(tasks),
                np.sqrt(sum(np.square(errors))) / len(tasks),
            )
    return found


@given(recurring(every=(1, 3)))
def test_the_curve_of_the_tasks_seen_is_their_mean_at_each_iteration(trace):
    def seen(k):
        return [t for t in range(trace.n_tasks) if visits(trace, t) and visits(trace, t)[0] <= trace.experience[k]]

    expected = by_step(trace, seen)
    found = series(trace, selected(trace, "seen"))
    assert found.x.tolist() == sorted(expected)
    assert found.y.tolist() == pytest.approx([expected[step][0] for step in sorted(expected)])
    assert found.error.tolist() == pytest.approx([expected[step][1] for step in sorted(expected)])


@given(recurring(every=(1, 3)))
def test_the_first_task_is_the_lowest_of_the_first_experience(trace):
    task = min(t for t in range(trace.n_tasks) if trace.present[0, t])
    expected = by_step(trace, lambda _: [task])
    found = series(trace, selected(trace, "first"))
    assert found.x.tolist() == sorted(expected)
    assert found.y.tolist() == pytest.approx([expected[step][0] for step in sorted(expected)])


@given(recurring())
def test_the_curve_of_a_task_begins_at_the_switch_into_its_first_visit(trace):
    at = ends(trace)
    for task in range(trace.n_tasks):
        found, when = one_task(trace, task), visits(trace, task)
        if not when:
            assert len(found.x) == 0
            continue
        assert found.x[0] == (trace.step[at[when[0] - 1]] if when[0] else 0)
        assert found.y[0] == trace.score[at[when[0] - 1] if when[0] else 0, task]
        assert found.x[-1] == trace.step[-1]


@given(recurring())
def test_boundaries_are_iterations_before_experiences_and_the_end(trace):
    at = ends(trace)
    assert experience_boundaries(trace).tolist() == [0, *(trace.step[at[e]] for e in range(trace.n_experiences))]


@given(recurring())
def test_experiences_that_a_seen_task_is_absent_from_have_switches(trace):
    expected = [
        e
        for e in range(1, trace.n_experiences)
        if any(visits(trace, t) and visits(trace, t)[0] < e and not trace.present[e, t] for t in range(trace.n_tasks))
    ]
    if expected:
        assert switched(trace) == expected
    else:
        with pytest.raises(Undefined):
            switched(trace)


@given(recurring())
def test_what_the_arrival_of_outputs_changes_is_measured_at_the_switch(trace):
    at = ends(trace)
    everyone = np.ones(trace.n_tasks, dtype=bool)
    for e in range(1, trace.n_experiences):
        k = next(k for k in range(len(trace.step)) if trace.kind[k] == Kind.SWITCH and trace.experience[k] == e)
        change = np.mean([trace.score[k, t] - trace.score[at[e - 1], t] for t in range(trace.n_tasks)])
        assert arrival(trace, e, everyone) == pytest.approx(change)


def test_without_a_look_at_the_switch_the_arrival_is_unknown():
    trace = trace_from(np.eye(2), [2, 2], lambda *_: np.ones(2), at_switch=None)
    assert np.isnan(arrival(trace, 1, np.ones(2, dtype=bool)))


def test_the_mean_over_seeds_is_taken_where_all_of_them_were_looked_at():
    traces = [trace_from(np.eye(2), [2, 2], lambda *_, v=value: np.full(2, v)) for value in (0.2, 0.4, 0.9)]
    found = over_seeds([series(trace, selected(trace, "first")) for trace in traces])
    assert found.seeds == 3
    assert found.mean.tolist() == pytest.approx([0.5] * len(found.x))
    assert found.x.tolist() == [0, 1, 2, 3, 4]
    # t of 2 degrees of freedom is 4.3027; the deviation is sqrt(0.13)
    assert found.half.tolist() == pytest.approx([4.302652729911275 * np.sqrt(0.13) / np.sqrt(3)] * 5)


def test_one_seed_keeps_the_error_of_its_rows():
    trace = trace_from(np.eye(2), [2, 2], lambda *_: np.full(2, 0.5))
    found = over_seeds([series(trace, selected(trace, "first"))])
    assert found.half.tolist() == pytest.approx([0.05] * 5)  # sqrt(0.25 / 100)
