"""Metrics on traces small enough to work out by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from synthetic import dipping, trace_from

from clbench.core.errors import Refused
from clbench.core.record import Kind, Trace
from clbench.metrics import (
    CANONICAL,
    COLUMNS,
    FAMILIES,
    METRICS,
    Metric,
    Undefined,
    board_names,
    compute,
    first_visits,
    get,
    lca,
    metric_names,
    min_acc,
    split_number,
    switches,
    wf,
    wp,
)
from clbench.metrics.interval import half_width

NAN = math.nan
TWO_TASKS = [  # step, kind, experience, scores: the dip of task 0 after the switch at 2 is 0.6 deep
    (0, Kind.START, -1, [0.1, 0.1]),
    (1, Kind.STEP, 0, [0.5, NAN]),
    (2, Kind.STEP, 0, [0.8, NAN]),
    (2, Kind.END, 0, [0.8, 0.0]),
    (3, Kind.STEP, 1, [0.4, 0.3]),
    (4, Kind.STEP, 1, [0.2, 0.6]),
    (5, Kind.STEP, 1, [0.6, 0.8]),
    (6, Kind.STEP, 1, [0.75, 0.9]),
    (6, Kind.END, 1, [0.1, 0.1]),
    (6, Kind.END, 1, [0.7, 0.9]),  # the end of the stream is looked at again, and this look counts
]
RETURNING = [  # task 0 is visited again in experience 2
    (0, Kind.START, -1, [0.1, 0.1]),
    (1, Kind.STEP, 0, [0.6, NAN]),
    (2, Kind.STEP, 0, [0.9, NAN]),
    (2, Kind.END, 0, [0.9, 0.0]),
    (3, Kind.STEP, 1, [0.3, 0.5]),
    (4, Kind.STEP, 1, [0.5, 0.8]),
    (4, Kind.END, 1, [0.5, 0.8]),
    (5, Kind.STEP, 2, [0.7, 0.2]),
    (6, Kind.STEP, 2, [0.8, 0.4]),
    (6, Kind.END, 2, [0.8, 0.4]),
]


def written(looks, present, *, every=1):
    """A trace of hand-written looks, with looks at switches at which nothing has changed since the look before."""
    looks = list(looks)
    for at in reversed(range(len(looks))):
        if looks[at][2] >= 0 and looks[at][2] not in {look[2] for look in looks[:at]}:
            before = looks[at - 1] if at else (0, None, -1, looks[0][3])
            looks.insert(at, (before[0], Kind.SWITCH, looks[at][2], before[3]))
    step, kind, experience, score = zip(*looks, strict=True)
    present = np.array(present, dtype=bool)
    return Trace(
        step=np.array(step),
        kind=np.array(kind, dtype=np.int64),
        experience=np.array(experience),
        score=np.array(score, dtype=float),
        rows=np.full(present.shape[1], 10),
        present=present,
        every=every,
    )


def two_tasks(*, intermediate_end=False):
    looks = TWO_TASKS if intermediate_end else [look for look in TWO_TASKS if look[1:] != TWO_TASKS[8][1:]]
    return written(looks, [[1, 0], [0, 1]])


def returning():
    return written(RETURNING, [[1, 0], [0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("acc", (0.7 + 0.9) / 2),
        ("aia", (0.8 + 0.8) / 2),
        ("la", (0.8 + 0.9) / 2),
        ("bwt", 0.7 - 0.8),
        ("forgetting", 0.8 - 0.7),
        ("aaa", (0.5 + 0.8 + 0.35 + 0.4 + 0.7 + 0.825) / 6),
        ("min_acc", 0.2),
        ("wc_acc", (0.2 + 0.9) / 2),
        ("wf10", (0.6 + 0.0) / 2),
        ("wp10", (0.55 + 0.6) / 2),
        ("gap_depth", 0.6),
        ("recovery", 4.0),
        ("recovery_censored", 1.0),
        ("recovery50", 3.0),
        ("recovery50_censored", 0.0),
        ("gap_residual", 0.1),
        ("gap_transient", 0.5),
        ("gap_area", (0.4 + 0.6 + 0.2 + 0.05) / 4),
        ("forgetting_last", 0.1),
        ("forgetting_global", 0.5 * 0.1),
        ("acc_present", (0.8 + 0.9) / 2),
        ("acc_absent", 0.7),
        ("acc_seen", 0.8),
        ("aia_seen", 0.8),
    ],
)
def test_metrics_of_a_stream_of_two_tasks_are_those_worked_out_by_hand(name, value):
    assert compute(two_tasks(), [name])[name].value == pytest.approx(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("acc", 0.6),
        ("aia", (0.9 + 0.65 + 0.6) / 3),
        ("la", (0.9 + 0.8) / 2),
        ("bwt", ((0.8 - 0.9) + (0.4 - 0.8)) / 2),
        ("forgetting", ((0.9 - 0.8) + (0.8 - 0.4)) / 2),
        ("aaa", (0.6 + 0.9 + 0.4 + 0.65 + 0.45 + 0.6) / 6),
        ("min_acc", (0.3 + 0.2) / 2),
        ("wc_acc", (0.8 + 0.2) / 2),  # task 0 is present at the end, so its minimum while absent does not count
        ("gap_depth", (0.6 + 0.6) / 2),
        ("gap_residual", (0.4 + 0.4) / 2),
        ("gap_transient", (0.2 + 0.2) / 2),
        ("forgetting_last", 0.8 - 0.4),  # of task 1 alone: task 0 has just been learned again
        ("forgetting_global", (0.5 * 0.4 + 0.5 * 0.1 + 0.5 * 0.4) / 2),
        ("acc_present", (0.9 + 0.8 + 0.8) / 3),
        ("acc_absent", (0.5 + 0.4) / 2),
    ],
)
def test_metrics_of_a_stream_whose_first_task_returns_are_those_worked_out_by_hand(name, value):
    assert compute(returning(), [name])[name].value == pytest.approx(value)


def test_the_last_of_several_end_looks_counts_and_all_of_them_count_for_minima():
    values = compute(two_tasks(intermediate_end=True), ["acc", "min_acc"])
    assert values["acc"].value == pytest.approx(0.8)
    assert values["min_acc"].value == pytest.approx(0.1)


def test_windows_hold_the_current_look_so_that_pairs_are_one_less_apart():
    assert wf(2)(two_tasks()).value == pytest.approx(0.4 / 2)  # 0.8 to 0.4 in one step
    assert wf(3)(two_tasks()).value == pytest.approx(0.6 / 2)  # 0.8 to 0.2 in two
    assert wp(2)(two_tasks()).value == pytest.approx((0.4 + 0.3) / 2)


def test_switches_tell_depth_residual_transient_area_and_iterations():
    found = switches(two_tasks())
    assert (found.task, found.experience, found.iteration, found.length) == (0, 1, 2, 4)
    assert found.lowest_after == 2
    assert found.before == pytest.approx(0.8)
    assert found.residual == pytest.approx(0.1)
    assert found.transient == pytest.approx(0.5)
    assert found.area == pytest.approx((0.4 + 0.6 + 0.2 + 0.05) / 4)
    # Medians of three after the switch are 0.4, 0.4, 0.6, 0.7, 0.7: half of the depth (0.5) is back after 3 iterations.
    assert switches(two_tasks(), level=0.5).recovery == 3
    assert found.censored.all()
    assert found.recovery == 4


def test_a_single_high_look_is_no_recovery_but_two_in_a_row_are():
    def dip(step, experience):
        return np.array([{11: 0.1, 13: 0.9, 16: 0.9, 17: 0.9}.get(step, 0.9 if experience < 1 else 0.2), 0.5])

    found = switches(trace_from(np.eye(2), [10, 10], dip))
    assert found.lowest_after == 1
    assert found.recovery == 6


def test_accuracy_that_comes_back_to_the_level_exactly_has_recovered():
    scores = [0.1, 0.1, 0.82, 0.82, 0.82, 0.82]  # 0.1 + 0.9 * (0.9 - 0.1) = 0.82, which floats miss by a rounding
    dip = lambda step, experience: np.array([0.9 if step <= 5 else scores[step - 6], 0.5])  # noqa: E731
    assert switches(trace_from(np.eye(2), [5, 6], dip)).recovery == 3


@pytest.mark.parametrize("level", [0, -0.5, 1.1])
def test_recovery_to_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(Refused, match="use a level above 0"):
        switches(two_tasks(), level=level)


def test_gains_after_a_switch_have_no_depth_and_no_recovery():
    trace = trace_from(np.eye(2), [3, 3], lambda step, _: np.array([0.1 * step, 0.5]))
    assert switches(trace).depth == 0
    assert switches(trace).residual == pytest.approx(-0.3)
    values = compute(trace, ["gap_depth", "recovery", "recovery_censored"])
    assert values["gap_depth"].value == 0
    assert "never fell" in values["recovery"].reason
    assert "never fell" in values["recovery_censored"].reason


def test_anytime_accuracy_weighs_a_look_by_the_iterations_since_the_one_before():
    looks = [
        (2, Kind.STEP, 0, [0.2]),
        (10, Kind.STEP, 0, [1.0]),
        (10, Kind.END, 0, [1.0]),
    ]
    trace = written(looks, [[1]], every=8)
    assert compute(trace, ["aaa"])["aaa"].value == pytest.approx((2 * 0.2 + 8 * 1.0) / 10)


def test_tasks_that_are_never_visited_do_not_count():
    wider = written([(*look[:3], [*look[3], 0.0]) for look in RETURNING], [[1, 0, 0], [0, 1, 0], [1, 0, 0]])
    for name, value in compute(wider).items():
        np.testing.assert_equal(value.value, compute(returning(), [name])[name].value)


def test_a_stream_of_one_experience_has_accuracy_but_no_old_tasks():
    values = compute(written(TWO_TASKS[:4], [[1, 0]]))
    assert values["acc"].value == values["wc_acc"].value == values["la"].value == 0.8
    for name in (
        "min_acc",
        "bwt",
        "forgetting",
        "forgetting_last",
        "forgetting_global",
        "gap_depth",
        "recovery",
        "fwt",
    ):
        assert math.isnan(values[name].value)
        assert values[name].reason


def test_metrics_of_step_looks_are_undefined_with_the_reason_where_only_ends_were_looked_at():
    values = compute(dipping(0, tasks=3, length=10, every=0))
    for name in ("aaa", "wf10", "wp100", "gap_depth", "recovery", "min_acc", "wc_acc"):
        assert "no evaluations between ends" in values[name].reason
    assert values["acc"].defined


def test_worst_case_accuracy_of_ends_alone_is_the_accuracy_where_every_task_is_present_at_the_end():
    looks = [look for look in RETURNING if look[1] != Kind.STEP]
    values = compute(written(looks, [[1, 0], [0, 1], [1, 1]], every=0), ["wc_acc", "min_acc"])
    assert values["wc_acc"].value == pytest.approx((0.8 + 0.4) / 2)
    assert "no evaluations between ends" in values["min_acc"].reason


def test_looks_at_current_tasks_give_learning_curves_and_no_minima():
    """Task 0 is not looked at in experience 1, task 1 not in experience 0, but at ends."""
    looks = [
        (step, kind, e, [s if kind != Kind.STEP or t == e else NAN for t, s in enumerate(scores)])
        for step, kind, e, scores in TWO_TASKS
    ]
    trace = written(looks, [[1, 0], [0, 1]])
    assert lca(2)(trace).value == lca(2)(two_tasks()).value == pytest.approx((1.4 / 3 + 0.9 / 3) / 2)
    assert first_visits(trace).iterations.tolist() == [2, 4]
    assert first_visits(trace).censored.tolist() == [True, False]
    for name in ("min_acc", "wc_acc"):
        reason = compute(trace, [name])[name].reason
        assert reason.startswith("task 0 was absent and not evaluated after iteration 3")
    for name in ("aaa", "wf10", "gap_depth"):
        assert "task 0 was not evaluated after iteration 3" in compute(trace, [name])[name].reason


def test_a_task_that_is_not_looked_at_along_its_own_visit_has_no_time_to_a_criterion():
    looks = [(step, kind, e, [s, NAN] if kind == Kind.STEP else [s, o]) for step, kind, e, (s, o) in TWO_TASKS]
    with pytest.raises(Undefined, match="task 1 was not evaluated throughout its first visit"):
        first_visits(written(looks, [[1, 0], [0, 1]]))
    assert "task 1 was evaluated after 0 of 2 batches" in lca(2)(written(looks, [[1, 0], [0, 1]])).reason


def test_a_run_that_stopped_early_has_no_metrics_at_all():
    present = [[1, 0], [0, 1]]
    stopped = written(TWO_TASKS[:6], present)
    for name, value in compute(stopped, reference=two_tasks()).items():
        assert math.isnan(value.value), name
        assert "stopped" in value.reason


def test_windows_refuse_uneven_looks_and_say_where():
    looks = [look for look in TWO_TASKS if look[0] != 4]
    value = compute(written(looks, [[1, 0], [0, 1]]), ["wf10"])["wf10"]
    assert math.isnan(value.value)
    assert "iterations 3 and 5" in value.reason


@pytest.mark.parametrize(
    ("steps", "fine"),
    [
        ([(5, 0), (10, 0), (15, 1), (20, 1)], True),  # one grid for the whole stream
        ([(5, 0), (10, 0), (12, 0), (17, 1), (22, 1)], True),  # a last look that comes early
        ([(5, 0), (10, 0), (18, 1), (23, 1)], True),  # the count starts again after 13 iterations
        ([(5, 0), (10, 0), (20, 1), (25, 1)], False),  # a look was left out over the boundary
        ([(5, 0), (7, 0), (12, 0), (17, 1)], False),  # an early look that is not the last
        ([(5, 0), (12, 0), (17, 1), (22, 1)], False),  # a late one
    ],
)
def test_even_looks_may_restart_at_boundaries_but_not_skip(steps, fine):
    looks = [(step, Kind.STEP, experience, [0.5, 0.5]) for step, experience in steps]
    looks.insert(sum(e == 0 for _, e in steps), (14, Kind.END, 0, [0.5, 0.5]))
    looks.append((30, Kind.END, 1, [0.5, 0.5]))
    assert wf(10)(written(looks, np.eye(2), every=5)).defined == fine


def test_a_window_of_one_look_is_refused():
    with pytest.raises(Refused, match="use 2 or more"):
        wf(1)


def test_all_canonical_metrics_are_registered_under_their_own_names():
    assert CANONICAL[: len(COLUMNS)] == COLUMNS
    assert {"acc", "aaa", "min_acc", "wc_acc", "wf10", "wp100", "gap_depth", "forgetting", "bwt"} <= set(COLUMNS)
    assert {"a_auc", "lca10", "fwt", "intransigence", "accumulation"} <= set(CANONICAL) - set(COLUMNS)
    assert {entry.name for entry in METRICS} == set(CANONICAL)
    for name in CANONICAL:
        metric = get(name)
        assert metric.name == name
        assert metric.formula
        assert metric.source
        assert metric.low < metric.high
        assert "\n" not in metric.formula + metric.source + metric.needs
    assert len({get(name).title for name in CANONICAL}) == len(CANONICAL)


def test_an_unknown_metric_is_answered_with_the_nearest_one():
    with pytest.raises(Refused, match="did you mean 'forgetting'"):
        compute(two_tasks(), ["forgeting"])


def test_a_program_can_add_its_own_metric_and_something_else_is_refused(monkeypatch):
    monkeypatch.setattr(METRICS, "_added", {})
    own = Metric(
        name="worst",
        title="Worst",
        function=lambda trace: float(np.nanmin(trace.score[-1])),
        formula="min over tasks of R[last, i]",
        low=0,
        high=1,
        higher_is_better=True,
        source="this test",
        needs="evaluations at ends",
    )
    METRICS.add("worst", own)
    METRICS.add("broken", 3)
    assert compute(two_tasks(), ["worst"])["worst"].value == pytest.approx(0.7)
    assert metric_names()[-2:] == ["broken", "worst"]
    assert board_names() == [*COLUMNS, "broken", "worst"]
    with pytest.raises(Refused, match=r"has to be a clbench\.metrics\.Metric"):
        compute(two_tasks())


def test_functions_alone_raise_what_compute_turns_into_a_reason():
    with pytest.raises(Undefined, match="no task was ever absent"):
        min_acc(written(TWO_TASKS[:4], [[1, 0]]))


def test_half_width_agrees_with_scipy_and_one_seed_has_none():
    values = np.random.default_rng(0).normal(size=(5, 3))
    low, high = stats.t.interval(0.95, 4, values.mean(axis=0), stats.sem(values, axis=0))
    np.testing.assert_allclose(half_width(values), (high - low) / 2)
    assert np.isnan(half_width([0.5]))
    assert half_width([0.5, 0.5]) == 0


@pytest.mark.parametrize("name", ["wf10", "wp100", "lca10", "acc_last20"])
def test_a_registered_metric_with_a_number_is_the_member_of_its_family(name):
    registered, made = get(name), FAMILIES[split_number(name)[0]](split_number(name)[1])
    assert {**vars(made), "function": None} == {**vars(registered), "function": None}


def test_any_number_makes_a_metric_of_a_family():
    trace = dipping(0, tasks=3, length=12)
    names = ["wf3", "wp7", "lca4", "acc_last2", "facilitation80", "facilitation90"]
    values = compute(trace, names)
    assert [get(name).name for name in names] == names
    assert values["wf3"] == wf(3)(trace)
    assert values["wp7"] == wp(7)(trace)
    assert values["lca4"] == lca(4)(trace)
    assert values["facilitation90"] == compute(trace, ["facilitation"])["facilitation"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("wf1", "use 2 or more"),
        ("acc_last0", "use 1 or more"),
        ("facilitation101", "from 1 to 100"),
        ("wf050", "did you mean"),
        ("wg50", "there is no metric called"),
        ("wf", "did you mean"),
    ],
)
def test_a_number_that_means_nothing_and_an_unknown_family_are_refused(name, sentence):
    with pytest.raises(Refused, match=sentence):
        get(name)


def test_the_docs_tell_of_every_metric():
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in CANONICAL if f"`{name}`" not in text] == []
    assert [name for name in CANONICAL if name in COLUMNS and f"`{name}` +" in text] == []
    assert [name for name in CANONICAL if name not in COLUMNS and f"`{name}` +" not in text] == []
