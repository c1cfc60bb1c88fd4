"""Identities, bounds and an independent implementation, on random traces."""

import math
from collections import deque
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import trace_from

from clbench.core.record import Kind
from clbench.metrics import (
    Undefined,
    absent_minima,
    acc,
    acc_absent,
    acc_present,
    bwt,
    by_lag,
    compute,
    forgetting,
    forgetting_last,
    get,
    intransigence,
    la,
    switches,
    wf,
    wp,
)

SEEDS = st.integers(0, 2**32 - 1)
GAP = [
    "gap_depth",
    "gap_residual",
    "gap_transient",
    "gap_area",
    "recovery",
    "recovery_censored",
    "recovery50",
    "recovery50_censored",
]


def random_trace(seed, present, *, longest=12, every=1):
    """Scores that are multiples of 1/10, so that ties and exact levels occur."""
    rng = np.random.default_rng(seed)
    present = np.asarray(present, dtype=bool)
    lengths = rng.integers(1, longest + 1, len(present)).tolist()
    scores = lambda *_: rng.integers(0, 11, present.shape[1]) / 10  # noqa: E731
    return trace_from(present, lengths, scores, every=every, at_switch=scores)


@st.composite
def recurring(draw):
    """Traces of streams in which tasks come and go as they like; each experience has at least one."""
    experiences, tasks = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(SEEDS))
    present = rng.random((experiences, tasks)) < 0.4
    present[np.arange(experiences), rng.integers(0, tasks, experiences)] = True
    return random_trace(draw(SEEDS), present, every=draw(st.sampled_from([0, 1, 3])))


def thinned(trace, seed):
    """The trace with about half of its step looks, as an uneven schedule would have given it."""
    kept = (trace.kind != Kind.STEP) | (np.random.default_rng(seed).random(len(trace.step)) < 0.5)
    columns = {name: getattr(trace, name)[kept] for name in ("step", "kind", "experience", "score")}
    return replace(trace, **columns, every=0)


def with_readouts(trace, seed):
    """The trace with random task-masked accuracies, accuracies of 3 classes at every look, and shared classes."""
    rng = np.random.default_rng(seed)
    units = np.full((trace.n_tasks, 3), 2, dtype=np.int8)
    masked = np.where(np.isnan(trace.score), np.nan, rng.random(trace.score.shape))
    return replace(trace, masked=masked, class_score=rng.random((len(trace.step), 3)), units=units)


@given(recurring())
def test_worst_case_accuracy_never_exceeds_accuracy(trace):
    value = compute(trace, ["wc_acc"])["wc_acc"].value
    assert math.isnan(value) or value <= acc(trace) + 1e-12


@given(recurring(), SEEDS)
def test_every_metric_stays_in_its_range_or_says_why_it_has_no_value(trace, seed):
    for name, value in compute(with_readouts(trace, seed), reference=trace).items():
        metric = get(name)
        assert value.defined != bool(value.reason)
        if value.defined:
            assert metric.low - 1e-12 <= value.value <= metric.high + 1e-12


@given(recurring())
def test_backward_transfer_is_at_least_minus_forgetting(trace):
    values = compute(trace, ["bwt", "forgetting"])
    if values["bwt"].defined:
        assert values["bwt"].value >= -values["forgetting"].value - 1e-12


@given(SEEDS, st.integers(2, 8))
def test_accuracy_is_learning_accuracy_plus_backward_transfer_where_tasks_are_visited_once(seed, tasks):
    trace = random_trace(seed, np.eye(tasks))
    assert acc(trace) == pytest.approx(la(trace) + bwt(trace) * (tasks - 1) / tasks)


@given(SEEDS)
def test_with_two_tasks_forgetting_is_minus_backward_transfer(seed):
    trace = random_trace(seed, np.eye(2))
    assert forgetting(trace) == pytest.approx(-bwt(trace))


@given(SEEDS, st.integers(2, 8))
def test_last_visit_forgetting_is_minus_backward_transfer_where_tasks_are_visited_once(seed, tasks):
    trace = random_trace(seed, np.eye(tasks))
    assert forgetting_last(trace) == pytest.approx(-bwt(trace), abs=1e-12)


@given(recurring(), SEEDS)
def test_weighing_rows_or_tasks_is_the_same_where_tasks_have_equally_many_rows(trace, seed):
    uneven = thinned(trace, seed)
    for looked in (trace, uneven):
        values = compute(looked, ["acc", "acc_seen", "aia", "aia_seen", "aaa", "a_auc"])
        assert values["acc_seen"].value == pytest.approx(values["acc"].value)
        assert values["aia_seen"].value == pytest.approx(values["aia"].value)
        assert values["a_auc"].value == pytest.approx(values["aaa"].value, nan_ok=True)


@given(SEEDS, SEEDS, st.integers(1, 6))
def test_intransigence_is_the_references_learning_accuracy_minus_ones_own(seed, other, tasks):
    trace, reference = random_trace(seed, np.eye(tasks)), random_trace(other, np.eye(tasks))
    assert intransigence(trace, reference) == pytest.approx(la(reference) - la(trace), abs=1e-12)


@given(recurring())
def test_parts_of_the_gap_add_up(trace):
    values = {name: value.value for name, value in compute(trace, GAP).items()}
    if math.isnan(values["gap_depth"]):
        return
    found = switches(trace)
    np.testing.assert_allclose(found.transient + np.maximum(0, found.residual), found.depth, atol=1e-12)
    # the mean of max(0, residual) is at least max(0, the mean residual)
    assert values["gap_transient"] + max(0, values["gap_residual"]) <= values["gap_depth"] + 1e-12
    assert values["gap_area"] <= values["gap_depth"] + 1e-12
    if not math.isnan(values["recovery"]):  # it has no value if no fall is deeper than two standard errors
        assert values["recovery50"] <= values["recovery"]
        assert values["recovery50_censored"] <= values["recovery_censored"]


@given(recurring())
def test_accuracy_by_lag_averages_to_that_on_present_and_absent_tasks(trace):
    for unit in ("experiences", "iterations"):
        table = by_lag(trace, unit=unit)
        assert table.lag[0] == 0
        assert table.accuracy[0] == pytest.approx(acc_present(trace))
        if len(table) > 1:
            absent = np.average(table.accuracy[1:], weights=table.pairs[1:])
            assert absent == pytest.approx(acc_absent(trace))


@given(st.integers(1, 6))
def test_without_forgetting_all_losses_are_zero(tasks):
    trace = trace_from(np.eye(tasks), [4] * tasks, lambda step, _: np.full(tasks, 0.75))
    values = compute(trace)
    assert values["acc"].value == values["wc_acc"].value == values["aaa"].value == 0.75
    assert values["wf10"].value == values["wp10"].value == 0
    for name in ("bwt", "forgetting", "gap_depth"):
        assert math.isnan(values[name].value) if tasks == 1 else values[name].value == 0


def by_the_published_pseudocode(trace, window):
    """min-ACC, WC-ACC, WF and WP at the end of a stream that visits each task once, look by look with a deque per task.

    Minima take step and end looks, windows take step looks.
    """
    history, fall, rise, lowest, final = {}, {}, {}, {}, {}
    for kind, current, score in zip(trace.kind, trace.experience, trace.score, strict=True):
        if kind in (Kind.START, Kind.SWITCH):
            continue
        for task in range(current + 1):
            now = final[task] = float(score[task])
            if kind == Kind.STEP:
                past = history.setdefault(task, deque(maxlen=window))
                past.append(now)
                fall[task] = max(fall.get(task, 0.0), max(past) - now)
                rise[task] = max(rise.get(task, 0.0), now - min(past))
            if task < current:
                lowest[task] = min(lowest.get(task, 1.0), now)
    last = trace.n_experiences - 1
    min_acc = sum(lowest.values()) / last if last else math.nan
    wc_acc = final[last] / (last + 1) + (1 - 1 / (last + 1)) * (min_acc if last else 0.0)

    def mean(values):
        return sum(values.values()) / len(values) if values else math.nan

    return min_acc, wc_acc, mean(fall), mean(rise)


@given(SEEDS, st.integers(1, 6), st.sampled_from([1, 2, 3]), st.sampled_from([2, 3, 4, 10, 100]))
def test_metrics_agree_with_the_published_pseudocode_where_tasks_are_visited_once(seed, tasks, every, window):
    trace = random_trace(seed, np.eye(tasks), every=every)
    expected = list(by_the_published_pseudocode(trace, window))
    if tasks > 1 and not (trace.kind == Kind.STEP).any():
        expected[:2] = math.nan, math.nan  # the pseudocode takes ends for a worst case, ours wants looks between them
    values = [*compute(trace, ["min_acc", "wc_acc"]).values(), wf(window)(trace), wp(window)(trace)]
    np.testing.assert_allclose([value.value for value in values], expected, atol=1e-12)


def minimum_while_absent(trace, task):
    """The lowest score over looks at which the running experience holds nothing of a task seen before, the slow way."""
    visited, found = False, []
    for kind, experience, score in zip(trace.kind, trace.experience, trace.score, strict=True):
        if kind in (Kind.START, Kind.SWITCH):
            continue
        present = trace.present[experience, task]
        visited |= bool(present)
        if visited and not present:
            found.append(score[task])
    return min(found, default=math.inf)


@given(recurring())
def test_minima_under_recurrence_agree_with_a_walk_over_the_looks(trace):
    expected = [minimum_while_absent(trace, task) for task in range(trace.n_tasks)]
    np.testing.assert_array_equal(absent_minima(trace), expected)


@given(recurring())
def test_switches_are_exactly_the_experiences_in_which_a_seen_task_is_absent(trace):
    pairs = [
        (task, experience)
        for experience in range(trace.n_experiences)
        for task in range(trace.n_tasks)
        if trace.present[:experience, task].any() and not trace.present[experience, task]
    ]
    if not pairs or not (trace.kind == Kind.STEP).any():
        with pytest.raises(Undefined):
            switches(trace)
        return
    found = switches(trace)
    assert list(zip(found.task, found.experience, strict=True)) == pairs
    np.testing.assert_allclose(found.depth, np.maximum(0, found.before - found.lowest))
    assert (found.transient <= found.depth + 1e-12).all()
    assert (found.area <= found.depth + 1e-12).all()
    fell = found.depth > 0
    assert (found.recovery[fell] <= found.length[fell]).all()
    assert np.isnan(found.recovery[~fell]).all()


def one_switch(trace, task, experience, level, *, switch):
    """Area, iterations to recovery and whether it was censored, of one old task in one experience, look by look."""
    (before_at,) = np.flatnonzero(
        (trace.kind == (Kind.SWITCH if switch else Kind.END)) & (trace.experience == experience - (not switch))
    )
    before, start = trace.score[before_at, task], trace.step[before_at]
    looks = [k for k in range(len(trace.step)) if trace.experience[k] == experience and trace.kind[k] != Kind.SWITCH]
    series = [(int(trace.step[k] - start), float(trace.score[k, task])) for k in looks]
    length, lowest = series[-1][0], min(value for _, value in series)
    area, passed = 0.0, 0
    for since, value in series:
        area += max(0.0, before - value) * (since - passed) / length
        passed = since
    if lowest >= before:
        return area, math.nan, False
    deepest = next(n for n, (_, value) in enumerate(series) if value == lowest)
    for n in range(deepest + 1, len(series)):
        three = [series[max(n - 1, 0)][1], series[n][1], series[min(n + 1, len(series) - 1)][1]]
        if median(three) >= lowest + level * (before - lowest) - 1e-9:
            return area, series[n][0], False
    return area, length, True


@given(recurring(), st.sampled_from([0.5, 0.9, 1.0]), st.sampled_from(["switch", "end"]))
def test_area_and_recovery_agree_with_a_walk_over_the_looks_of_each_switch(trace, level, since):
    try:
        found = switches(trace, level=level, since=since)
    except Undefined:
        return
    pairs = zip(found.task, found.experience, strict=True)
    walked = [one_switch(trace, t, e, level, switch=since == "switch") for t, e in pairs]
    area, iterations, censored = zip(*walked, strict=True)
    np.testing.assert_allclose(found.area, area, atol=1e-12)
    np.testing.assert_array_equal(found.recovery, iterations)
    np.testing.assert_array_equal(found.censored, censored)


def average_loss(trace, scores):
    """Forgetting of Smith et al., written from its double sum: later experiences i, tasks n seen before."""
    ends = {int(trace.experience[k]): k for k in range(len(trace.step)) if trace.kind[k] == Kind.END}
    first = {t: min((e for e in ends if trace.present[e, t]), default=math.inf) for t in range(trace.n_tasks)}
    total = 0.0
    for i in range(1, len(ends)):
        seen = sum(int(trace.rows[t]) for t in first if first[t] <= i)
        for n in first:
            if first[n] < i:
                total += trace.rows[n] / seen * (scores[ends[first[n]], n] - scores[ends[i], n])
    return total / (len(ends) - 1)


@given(recurring(), SEEDS)
def test_global_and_local_forgetting_agree_with_their_double_sum(trace, seed):
    rows = np.random.default_rng(seed).integers(1, 50, trace.n_tasks)
    trace = replace(with_readouts(trace, seed), rows=rows)
    if trace.n_experiences < 2:
        return
    values = compute(trace, ["forgetting_global", "forgetting_local"])
    assert values["forgetting_global"].value == pytest.approx(average_loss(trace, trace.score), abs=1e-12)
    assert values["forgetting_local"].value == pytest.approx(average_loss(trace, trace.masked), abs=1e-12)
