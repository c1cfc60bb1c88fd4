"""What training does at a switch, told from what the arrival of outputs does."""

from collections import defaultdict, deque
from dataclasses import replace

import numpy as np
import pytest
from support import Disturbable, trained
from synthetic import record, trace_from

from clbench.core import store
from clbench.core.record import Kind
from clbench.core.types import content_hash
from clbench.leaderboard import board, render
from clbench.leaderboard.best_values import BEST
from clbench.metrics import COLUMNS, compute, get, lca, switches, wf, wp

SCORES = {  # of tasks 0 and 1 after each step of two experiences of 2 and 4
    0: [0.1, 0.1],
    1: [0.5, 0.0],
    2: [0.8, 0.0],
    3: [0.4, 0.3],
    4: [0.2, 0.6],
    5: [0.55, 0.8],
    6: [0.7, 0.9],
}


def two_tasks(at_switch=(0.6, 0.0), *, competing=(2, 4), **changes):
    """Two tasks, one after the other; what is lost at the switch is lost before any step."""
    trace = trace_from(
        np.eye(2),
        [2, 4],
        lambda step, _: np.array(SCORES[step]),
        at_switch=None if at_switch is None else lambda e, ended: np.array(at_switch) if e else ended,
    )
    if competing:
        classes = np.where(trace.experience < 0, 4, np.array(competing)[np.maximum(trace.experience, 0)])
        looked = np.isfinite(trace.score)
        changes = {"competing": np.where(looked, classes[:, None], 0).astype(np.int32)} | changes
    return replace(trace, **changes)


def value(name, trace):
    return compute(trace, [name])[name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gap_expansion", 0.8 - 0.6),
        ("gap_depth", 0.6 - 0.2),
        ("gap_residual", 0.6 - 0.7),
        ("gap_transient", 0.4),
        ("gap_area", (0.2 + 0.4 + 0.05 + 0.0) / 4),
        ("gap_depth_relative", 0.4 / 0.6),
        ("gap_pairs", 1),
        ("recovery", 4),  # medians of three are 0.4, 0.4, 0.55, 0.7, 0.7: 0.56 is first reached after 4
        ("recovery_censored", 0),
        ("recovery50", 3),
        ("gap_depth@1", 0.8 - 0.2),
        ("gap_residual@1", 0.1),
        ("gap_transient@1", 0.5),
        ("gap_area@1", (0.4 + 0.6 + 0.25 + 0.1) / 4),
        ("recovery@1", 4),
        ("recovery_censored@1", 1),
        ("recovery50@1", 3),
        # what was published stays: looks at switches are in none of these
        ("forgetting", 0.1),
        ("bwt", -0.1),
        ("min_acc", 0.2),
        ("wc_acc", (0.2 + 0.9) / 2),
        ("wf10", 0.6 / 2),
        ("wp10", (0.5 + 0.6) / 2),
        ("aaa", (0.5 + 0.8 + 0.35 + 0.4 + 0.675 + 0.8) / 6),
    ],
)
def test_the_parts_of_a_switch_are_those_worked_out_by_hand(name, expected):
    assert value(name, two_tasks()).value == pytest.approx(expected)


def test_looks_at_switches_change_no_metric_but_those_of_the_gap_and_of_the_first_look():
    with_looks, without = two_tasks(competing=()), two_tasks(None, competing=())
    for name, found in compute(with_looks).items():
        if not name.startswith(("gap", "recovery")) or "@1" in name:
            np.testing.assert_equal(found.value, value(name, without).value)


# --------------------------------------------------------------------------------------------------- weights that stay

FROZEN = {
    "classes": ("stream.setting=class",),
    "classes, all compete": ("stream.setting=class", "stream.output=all"),
    "task labels": ("stream.setting=task",),
    "task labels, separate heads": ("stream.setting=task", "model.heads=separate"),
    "domains": ("stream.setting=domain",),
}
OPTIMISERS = {
    "sgd": (),
    "momentum and decay": ("training.momentum=0.9", "training.weight_decay=0.01"),
    "adam": ("training.optimizer=adam", "training.lr=0.01", "training.weight_decay=0.01"),
}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("stream", FROZEN)
def test_weights_that_never_move_have_no_gap_in_any_setting(stream, optimiser):
    run = trained("frozen", *FROZEN[stream], *OPTIMISERS[optimiser], "evaluation.rows_per_task=all", model=Disturbable)
    trace = run.trace()
    found = switches(trace)
    assert (found.depth == 0).all()
    assert (found.residual == 0).all()
    assert (found.area == 0).all()
    assert value("gap_depth", trace).value == 0
    expansion = value("gap_expansion", trace).value
    assert expansion > 0 if stream == "classes" else expansion == 0


def test_for_weights_that_never_move_all_forgetting_is_expansion():
    trace = trained("frozen", "evaluation.rows_per_task=all").trace()
    found = switches(trace)
    first = [found.expansion[found.task == task].sum() for task in range(4)]
    assert value("forgetting", trace).value == pytest.approx(np.mean(first))
    assert value("gap_depth@1", trace).value == pytest.approx(value("gap_expansion", trace).value)


@pytest.mark.parametrize("strategy", ["naive", "er"])
def test_where_no_outputs_arrive_the_gap_is_what_it_was_measured_to_be_before(strategy):
    for setting in ("task", "domain"):
        trace = trained(strategy, f"stream.setting={setting}").trace()
        for name in ("gap_depth", "gap_residual", "gap_transient", "gap_area"):
            assert value(name, trace).value == value(f"{name}@1", trace).value
        assert value("gap_expansion", trace).value == 0


# --------------------------------------------------------------------------------------------------- nothing to lose


def stream_of(before, lowest, *, competing=10, rows=100, population=None):
    """Old tasks, one a switch, with an accuracy before and one at the deepest; the last look is at the deepest."""
    tasks = len(before) + 1
    deepest = np.append(lowest, 0.5)

    def accuracy(step, experience):
        scores = np.append(before, 0.5)
        old = np.arange(tasks) < experience
        return np.where(old & (np.arange(tasks) == experience - 1), deepest, np.where(old, 0.0, scores))

    trace = trace_from(
        np.eye(tasks), [3] * tasks, accuracy, at_switch=lambda e, ended: np.where(np.arange(tasks) < e, ended, 0.0)
    )
    counts = np.where(np.isfinite(trace.score), competing, 0).astype(np.int32)
    total = rows if population is None else population
    return replace(trace, competing=counts, rows=np.full(tasks, rows), population=np.full(tasks, total))


def test_having_nothing_to_lose_looks_good_in_the_depth_and_not_in_the_relative_depth():
    forgets = stream_of([0.9, 0.9, 0.9], [0.0, 0.0, 0.0])  # and every older task stays at 0
    keeps = stream_of([0.9], [0.4])
    assert value("gap_depth", forgets).value == pytest.approx((0.9 * 3) / 6)
    assert value("gap_depth", keeps).value == pytest.approx(0.5)
    assert value("gap_depth_relative", forgets).value == pytest.approx(1.0)
    assert value("gap_depth_relative", keeps).value == pytest.approx(0.5 / 0.9)
    assert (value("gap_pairs", forgets).value, value("gap_pairs", keeps).value) == (3, 1)


@pytest.mark.parametrize(
    ("before", "competing", "rows", "population", "counts"),
    [
        (0.30, 10, 100, 10**9, True),  # 0.1 + 2 sqrt(0.3 * 0.7 / 100) = 0.192
        (0.18, 10, 100, 10**9, True),  # 0.177
        (0.17, 10, 100, 10**9, False),  # 0.175
        (0.55, 2, 100, 10**9, False),
        (0.65, 2, 100, 10**9, True),
        (0.11, 10, 100, 100, True),  # all test rows were looked at: there is no error
        (0.10, 10, 100, 100, False),
    ],
)
def test_a_pair_counts_where_accuracy_is_above_chance_by_two_standard_errors(
    before, competing, rows, population, counts
):
    trace = stream_of([before], [0.0], competing=competing, rows=rows, population=population)
    assert value("gap_pairs", trace).value == counts


def test_without_any_old_task_above_chance_there_is_no_relative_depth():
    trace = stream_of([0.05, 0.1], [0.0, 0.0])
    assert value("gap_pairs", trace).value == 0
    assert "no old task was above chance" in value("gap_depth_relative", trace).reason


def test_falls_within_two_standard_errors_are_noise_and_have_no_recovery():
    noise = stream_of([0.9], [0.85], population=10**9)  # 2 sqrt(0.85 * 0.15 / 100) = 0.07
    assert "never fell by more than two standard errors" in value("recovery", noise).reason
    assert value("recovery@1", noise).value == 3
    deep = stream_of([0.9], [0.8], population=10**9)  # 0.08
    assert value("recovery_censored", deep).value == 1
    assert value("recovery", stream_of([0.9], [0.85])).value == 3  # all test rows: a fall is a fall


# --------------------------------------------------------------------------------------------------- older records


def units_of(kind):
    """(2, 4) units of two tasks with heads of their own, with the same classes, or with new classes."""
    own = np.array([[2, 2, 0, 0], [0, 0, 2, 2]], dtype=np.int8)
    return {"heads": own, "domains": np.full((2, 4), 2, dtype=np.int8), "classes": np.maximum(own, 1)}[kind]


@pytest.mark.parametrize("kind", ["heads", "domains"])
def test_an_older_record_has_the_gap_where_it_proves_that_no_outputs_arrived(kind):
    trace = two_tasks(None, competing=(), units=units_of(kind))
    assert value("gap_depth", trace).value == value("gap_depth@1", trace).value == pytest.approx(0.6)
    assert value("gap_expansion", trace).value == 0
    assert value("gap_pairs", trace).value == 1


@pytest.mark.parametrize("units", [units_of("classes"), np.zeros((0, 0), dtype=np.int8)])
def test_an_older_record_says_so_where_it_does_not_and_keeps_its_value_under_its_name(units):
    trace = two_tasks(None, competing=(), units=units)
    for name in ("gap_depth", "gap_area", "gap_residual", "gap_transient", "recovery", "recovery_censored"):
        assert "older than evaluations at switches" in value(name, trace).reason
        assert np.isfinite(value(f"{name}@1", trace).value)
    for name in ("gap_expansion", "gap_depth_relative", "gap_pairs", "wp_initial10", "lca_initial2"):
        assert "older than evaluations at switches" in value(name, trace).reason
    assert value("gap_depth@1", trace).value == pytest.approx(0.6)


def test_outputs_that_arrive_in_the_middle_of_an_experience_cannot_be_told_from_training():
    trace = two_tasks((0.8, 0.0), competing=(4, 4))
    late = trace.competing.copy()
    late[: np.flatnonzero(trace.step == 4)[0]] //= 2
    assert value("gap_depth", trace).value == pytest.approx(0.6)
    found = value("gap_depth", replace(trace, competing=late))
    assert "in experience 1 classes begin to compete after its first step" in found.reason
    assert value("gap_depth@1", replace(trace, competing=late)).value == pytest.approx(0.6)


def test_on_hidden_boundaries_the_gap_is_told_only_where_all_classes_compete_all_along():
    stream = "stream={scenario: gaussian, dataset: {name: digits, train_rows: 300}, experiences: 6, output: %s}"
    every = trained("naive", stream % "all").trace()
    assert value("gap_depth", every).value == value("gap_depth@1", every).value > 0
    frozen = trained("naive", stream % "all", "training.lr=1e-30").trace()
    assert value("gap_depth", frozen).value == 0


# --------------------------------------------------------------------------------------------------- boards


def rows(kind):
    made = {"new": two_tasks(), "old": two_tasks(None, competing=(), units=units_of("classes"))}
    return [record(f"{kind} {label}", seed, made[kind]) for label in "ab" for seed in (0, 1)]


def test_a_board_shows_the_columns_that_all_its_records_have():
    new, old, both = board(rows("new")), board(rows("old")), board(rows("new") + rows("old"))
    assert new.metrics == COLUMNS
    assert not [note for note in new.tables[0].notes if "@1" in note]
    assert [name for name in old.metrics if "gap" in name or "recovery" in name] == [
        "gap_depth@1",
        "recovery@1",
        "recovery_censored@1",
    ]
    assert [name for name in both.shown if "gap" in name] == [
        "gap_depth",
        "gap_depth@1",
        "gap_depth_relative",
        "gap_pairs",
    ]
    by_label = {row.strategy: row.metrics for row in both.tables[0].rows}
    assert by_label["new a"]["gap_depth"].mean == pytest.approx(0.4)
    assert by_label["old a"]["gap_depth"].n == 0
    assert "older than evaluations" in by_label["old a"]["gap_depth"].reason
    assert by_label["new a"]["gap_depth@1"].mean == by_label["old a"]["gap_depth@1"].mean == pytest.approx(0.6)
    (note,) = [note for note in both.tables[0].notes if "@1" in note]
    assert note.startswith("records of old a, old b do not separate")
    (note,) = [note for note in old.tables[0].notes if "@1" in note]
    assert note.startswith("the records do not separate")


@pytest.mark.parametrize("format", ["table", "md", "csv", "json", "latex", "html"])
def test_every_format_names_the_version_of_what_it_shows(format):
    text = render(board(rows("old")), format)
    assert "depth@1" in text
    assert "gap_depth," not in text
    assert "Gap depth ↓" not in text


def test_the_best_value_is_marked_only_where_forgetting_everything_cannot_have_it():
    """Naive, which forgets everything, against a method that keeps most: numbers of Split-MNIST in one pass."""
    naive = stream_of([0.95, 0.95, 0.95, 0.95], [0.0, 0.0, 0.0, 0.0])
    keeps = stream_of([0.97], [0.4])
    tasks = [record("naive", 0, naive), record("pcr", 0, keeps)]
    values = {r.label: compute(r.trace, COLUMNS) for r in tasks}
    assert values["naive"]["gap_depth"].value < values["pcr"]["gap_depth"].value
    for name in COLUMNS:
        metric, (ours, theirs) = get(name), (values[label][name].value for label in ("naive", "pcr"))
        leads = ours > theirs + 1e-9 if metric.higher_is_better else ours < theirs - 1e-9
        if name in ("gap_depth", "gap_pairs", "gap_expansion", "recovery", "recovery_censored", "la", "wp10", "wp100"):
            assert not metric.comparable
        elif name in ("acc", "aaa", "min_acc", "wc_acc", "forgetting", "bwt", "aia", "gap_depth_relative"):
            assert metric.comparable
            assert not leads


def test_a_page_marks_no_best_value_in_a_column_that_says_nothing_by_itself():
    (table,) = board(rows("new")).tables
    assert not any("gap_depth" in row.marks for row in table.rows)
    assert [row.marks["gap_depth_relative"] for row in table.rows] == [BEST, BEST]  # the two are equal
    assert table.rows[0].metrics["gap_depth_relative"].mean == pytest.approx(0.4 / 0.6)


# --------------------------------------------------------------------------------------------------- the first look


def released(trace, window, beta):
    """WF, WP and LCA as the authors' code has them: a window per task that is fed at every look at the tasks met, the
    look before the first update of the first experience included."""
    history, fall, rise = defaultdict(lambda: deque(maxlen=window)), defaultdict(float), defaultdict(float)
    curves = defaultdict(list)
    first = np.flatnonzero((trace.kind == Kind.SWITCH) & (trace.experience == 0))
    for k in np.sort(np.append(first, np.flatnonzero(trace.kind == Kind.STEP))):
        now = trace.experience[k]
        for task in range(now + 1):
            past = history[task]
            past.append(trace.score[k, task])
            fall[task] = max(fall[task], max(a - b for n, a in enumerate(past) for b in list(past)[n:]))
            rise[task] = max(rise[task], max(b - a for n, a in enumerate(past) for b in list(past)[n:]))
        if len(curves[now]) < beta:
            curves[now].append(trace.score[k, now])
    return [float(np.mean(list(each.values()))) for each in (fall, rise)] + [
        float(np.mean([np.mean(values) for values in curves.values()]))
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("window", "beta"), [(2, 1), (3, 2), (10, 3)])
def test_with_the_first_look_windows_and_learning_curves_are_those_of_the_released_code(seed, window, beta):
    rng = np.random.default_rng(seed)
    scores = lambda *_: rng.integers(0, 11, 3) / 10  # noqa: E731
    trace = trace_from(np.eye(3), [4, 5, 3], scores, at_switch=scores)
    found = [metric(trace).value for metric in (wf(window, initial=True), wp(window, initial=True))]
    found.append(lca(beta, initial=True)(trace).value)
    np.testing.assert_allclose(found, released(trace, window, beta), atol=1e-12)


def test_the_first_look_is_among_the_classes_that_compete_after_it():
    trace = trained("naive", "evaluation.rows_per_task=all").trace()
    assert trace.kind[:2].tolist() == [Kind.START, Kind.SWITCH]
    assert trace.score[1, 0] > trace.score[0, 0]  # among 2 classes, not 10


def test_only_tasks_of_the_first_experience_rise_from_the_first_look():
    trace = two_tasks()
    trace.score[1] = 0.05, 0.05  # at the first switch; after the first step it is 0.5, at the end of the visit 0.8
    assert value("wp10", trace).value == pytest.approx((0.5 + 0.6) / 2)
    assert value("wp_initial10", trace).value == pytest.approx((0.75 + 0.6) / 2)
    assert value("wf_initial10", trace).value == value("wf10", trace).value
    assert value("lca_initial2", trace).value == pytest.approx(((0.05 + 0.5) / 2 + (0.3 + 0.6) / 2) / 2)


def test_metrics_with_the_first_look_have_names_of_their_own():
    for name in ("wf_initial50", "wp_initial7", "lca_initial3"):
        assert get(name).name == name
    trace = two_tasks(None, competing=())
    assert "no evaluation before the first iteration" in value("wf_initial3", trace.at(trace.kind != Kind.START)).reason


@pytest.mark.parametrize(
    ("stream", "proves"),
    [
        ({"setting": "class", "output": "seen"}, False),
        ({"setting": "class", "output": "all"}, True),
        ({"setting": "task", "output": "seen"}, True),
        ({"setting": "domain", "output": "seen"}, True),
        ({"scenario": "gaussian", "output": "seen"}, False),
    ],
)
def test_an_older_record_on_disk_has_the_gap_where_its_settings_prove_that_no_outputs_arrive(stream, proves, tmp_path):
    made = record("er", 0, two_tasks(None, competing=()))
    cell = {**made.cell, "stream": stream}
    kept = store.load(store.save(replace(made, cell=cell, key=content_hash(cell)), tmp_path))
    assert value("gap_depth@1", kept.trace).value == pytest.approx(0.6)
    if proves:
        assert value("gap_depth", kept.trace).value == pytest.approx(0.6)
        assert value("gap_expansion", kept.trace).value == 0
        assert "does not contain the number of classes that compete" in value("gap_depth_relative", kept.trace).reason
    else:
        assert "older than evaluations at switches" in value("gap_depth", kept.trace).reason
