"""When the evaluator looks: the schedules worked out by hand, in a run, resumed, and in the key of a cell."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from support import ready, same_trace, train_until, trained

from clbench.benchmark import evaluation_schedules
from clbench.core.errors import Refused
from clbench.core.record import Kind
from clbench.metrics import gap_depth, wf
from clbench.running.plan import plan

DENSE = "evaluation.schedule={dense: {steps: 3, growth: 1.5}}"


def step_looks(trace):
    return trace.step[trace.kind == Kind.STEP].tolist()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"steps": 3, "growth": 1.5}, [1, 2, 3, 4, 6, 9, 13, 19, 28]),  # 4.5, 6, 9, 13.5, 19.5, 28.5, 42
        ({"steps": 1, "growth": 2.0}, [1, 2, 4, 8, 16, 32]),
        ({"steps": 2, "growth": 1.01}, [*range(1, 41)]),  # at least one more
        ({}, [*range(1, 21), 22, 24, 26, 28, 30, 33, 36, 39]),
    ],
)
def test_dense_looks_follow_the_growth_factor_after_the_first_steps(settings, expected):
    due = evaluation_schedules.due({"dense": settings}, 1)
    assert [since for since in range(1, 41) if due(1000 + since, since)] == expected
    assert [since for since in (28, 4, 5, 9, 1) if due(since, since)] == [s for s in (28, 4, 5, 9, 1) if s in expected]


def test_the_other_schedules_read_the_clock_of_the_stream():
    for written, period, expected in (
        ("every", 3, [3, 6, 9]),
        ("every", 0, []),
        ("ends", 3, []),
        ({"at": [7, 2, 7]}, 3, [2, 7]),
    ):
        due = evaluation_schedules.due(written, period)
        assert [step for step in range(1, 10) if due(step, 1)] == expected


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("denser", "did you mean 'dense'"),
        ({"dense": {"growth": 1.0}}, "growth"),
        ({"dense": {"period": 3}}, "period"),
        ({"at": []}, "for the ends of experiences only, write ends"),
        ({"at": [0, 4]}, "iterations of the whole stream from 1"),
        ({"at": [1.5]}, "iterations of the whole stream from 1"),
        ("at", "iterations of the whole stream from 1"),
        ({"every": 5}, "its period is evaluation.every"),
        ({"dense": {}, "at": [1]}, "one name"),
    ],
)
def test_a_schedule_that_does_not_exist_is_refused_in_one_sentence(written, message):
    with pytest.raises(Refused, match=message) as caught:
        evaluation_schedules.canonical(written)
    assert "\n" not in str(caught.value)


def test_a_run_looks_densely_after_every_switch_and_sees_what_a_look_at_every_step_sees():
    whole, sparse = trained("naive", "training.epochs=6"), trained("naive", "training.epochs=6", DENSE)
    starts = np.cumsum([0, *(6 * -(-len(e) // 16) for e in whole.stream)])
    expected = [
        start + since
        for start, end in pairwise(starts)
        for since in (1, 2, 3, 4, 6, 9, 13, 19, 28)
        if start + since <= end
    ]
    trace, every = sparse.evaluator.trace(), whole.evaluator.trace()
    assert step_looks(trace) == expected
    assert torch.equal(sparse.learner.w, whole.learner.w)
    taken = np.isin(every.step, step_looks(trace)) & (every.kind == Kind.STEP)
    np.testing.assert_array_equal(every.score[taken], trace.score[trace.kind == Kind.STEP])
    np.testing.assert_array_equal(every.score[every.kind == Kind.END], trace.score[trace.kind == Kind.END])
    assert gap_depth(trace) <= gap_depth(every)  # the minimum of fewer looks


def test_windows_are_undefined_on_looks_without_one_period_and_the_reason_is_given():
    trace = trained("naive", DENSE).evaluator.trace()
    assert trace.every == 0
    value = wf(2)(trace)
    assert np.isnan(value.value)
    assert "uneven" in value.reason


def test_given_iterations_are_looked_at_beside_start_and_ends():
    trace = trained("naive", "evaluation.schedule={at: [3, 11, 9999]}").evaluator.trace()
    assert step_looks(trace) == [3, 11]
    assert (trace.kind == Kind.START).sum() == 1
    assert (trace.kind == Kind.END).sum() == 5


def test_a_run_that_goes_on_inside_an_experience_keeps_its_place_in_the_schedule():
    changes = ("training.epochs=6", DENSE, "evaluation.masked=true", "evaluation.classes=true")
    whole, part, rest = (ready("er", *changes) for _ in range(3))
    whole.train()
    rest.restore(train_until(part, 31).snapshot())
    rest.train()
    assert same_trace(rest, whole)
    ours, theirs = rest.evaluator.trace(), whole.evaluator.trace()
    np.testing.assert_array_equal(ours.masked, theirs.masked)
    np.testing.assert_array_equal(ours.class_score, theirs.class_score)


# --------------------------------------------------------------------------------------------------- in a cell


def evaluation(*changes):
    cell = plan("split-digits", strategies=["naive"], seeds=[0], overrides=changes).cells[0]
    return cell.config["evaluation"], cell.key


def test_settings_at_their_default_are_not_in_the_cell_so_that_older_cells_keep_their_keys():
    assert evaluation()[0] == {"every": 1, "tasks": "seen", "rows_per_task": "all"}
    written = (
        "evaluation.schedule=every", "evaluation.masked=false", "evaluation.precision=float32",
        "evaluation.classes=false",
    )  # fmt: skip
    assert evaluation(*written) == evaluation()


def test_two_ways_to_write_a_schedule_are_one_cell():
    assert evaluation("evaluation.schedule=ends") == evaluation("evaluation.every=0")
    dense = evaluation("evaluation.schedule=dense")
    assert dense[0]["schedule"] == {"dense": {"steps": 20, "growth": 1.1}}
    assert dense == evaluation("evaluation.schedule={dense: {growth: 1.1}}", "evaluation.every=50")
    assert evaluation("evaluation.schedule={at: [5, 1]}") == evaluation("evaluation.schedule={at: [1, 5, 5]}")
    keys = {evaluation(c)[1] for c in ("evaluation.schedule=dense", "evaluation.masked=true", "evaluation.every=0")}
    assert len(keys) == 3
    assert evaluation()[1] not in keys


def test_a_mistake_in_a_schedule_is_told_with_its_place():
    with pytest.raises(Refused, match=r"evaluation.*there is no evaluation schedule 'denser'; did you mean 'dense'"):
        evaluation("evaluation.schedule=denser")
