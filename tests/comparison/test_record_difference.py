"""The first difference between two traces."""

import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic import dipping, trace_from

from clbench.comparison.record_difference import first_difference
from clbench.core.measure import Measure
from clbench.core.record import Kind


def changed(trace, column, place, value):
    values = getattr(trace, column).copy()
    values[place] = value
    return replace(trace, **{column: values})


TRACE = trace_from(np.eye(2, dtype=bool), [3, 3], lambda step, _: np.array([0.5, 0.25]))
"""Evaluations: 0 start, 1 switch to 0, 2 to 4 steps 1 to 3, 5 end, 6 switch to 1, 7 to 9 steps 4 to 6, 10 end."""


def test_equal_traces_have_no_difference_and_seconds_do_not_count():
    assert first_difference(TRACE, replace(TRACE, seconds=np.arange(11.0))) is None
    assert first_difference(dipping(3), dipping(3)) is None


def test_the_first_of_two_scores_that_differ_is_named_with_its_moment_its_task_and_both_values():
    other = changed(changed(TRACE, "score", (8, 1), 0.75), "score", (9, 0), 0.0)
    found = first_difference(TRACE, other)
    assert (found.column, found.evaluation, found.step, found.kind, found.experience) == ("score", 8, 5, "step", 1)
    assert (found.task, found.scores) == (1, (0.25, 0.75))
    assert str(found) == "the first difference is after step 5 in experience 1: accuracy on task 1 is 25 % and 75 %"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (0, "at the start"),
        (1, "at the switch to experience 0 (step 0)"),
        (5, "at the end of experience 0 (step 3)"),
        (10, "at the end of experience 1 (step 6)"),
    ],
)
def test_a_moment_is_said_by_its_kind(place, words):
    other = changed(TRACE, "score", (place, 0), 0.125)
    assert (
        str(first_difference(TRACE, other)) == f"the first difference is {words}: accuracy on task 0 is 50 % and 12.5 %"
    )


def test_one_bit_of_a_score_is_a_difference_and_is_printed_with_the_digits_that_show_it():
    found = first_difference(TRACE, changed(TRACE, "score", (2, 0), np.nextafter(0.5, 1)))
    assert str(found).endswith("is 50 % and 50.00000000000001 %")


def test_a_task_that_was_evaluated_in_one_run_only_differs_and_unevaluated_ones_are_equal():
    partly = changed(TRACE, "score", (8, 1), np.nan)
    assert first_difference(partly, partly) is None
    found = first_difference(TRACE, partly)
    assert found.scores == (0.25, None)
    assert str(found).endswith("accuracy on task 1 is 25 % and not evaluated")


def test_an_earlier_moment_wins_over_a_later_score():
    other = changed(changed(TRACE, "score", (9, 0), 0.0), "step", 4, 7)
    found = first_difference(TRACE, other)
    assert (found.column, found.evaluation, found.scores) == ("step", 4, None)
    assert str(found) == "the evaluations were made at other moments, first after step 3 in experience 0"


def test_a_trace_that_ends_earlier_differs_at_its_end():
    found = first_difference(TRACE, TRACE.at(np.arange(7)))
    assert (found.column, found.evaluation, found.counts) == ("step", 7, (11, 7))
    assert str(found) == "the evaluations differ: there are 11 and 7 of them"
    assert str(first_difference(TRACE.at(np.arange(7)), TRACE)) == "the evaluations differ: there are 7 and 11 of them"


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("rows", np.array([100, 99]), "their numbers of evaluation samples are not equal"),
        ("present", np.ones((2, 2), bool), "the experiences do not hold samples of the same tasks"),
    ],
)
def test_other_tasks_are_a_difference_of_the_whole_trace(column, value, words):
    found = first_difference(TRACE, replace(TRACE, **{column: value}))
    assert (found.column, found.evaluation) == (column, None)
    assert str(found) == f"the tasks differ: {words}"


def test_traces_with_other_numbers_of_tasks_are_compared_without_an_error():
    assert first_difference(TRACE, dipping(0)).column == "rows"


def test_another_column_counts_if_both_traces_have_recorded_it():
    masked = replace(TRACE, masked=np.full((11, 2), 0.5))
    found = first_difference(masked, changed(masked, "masked", (3, 1), 0.25))
    assert (found.column, found.evaluation) == ("masked", None)
    assert str(found) == "column masked of the traces differs, and the scores are equal"
    assert first_difference(masked, TRACE) is None
    assert first_difference(TRACE, masked) is None


def test_scores_are_shown_as_people_read_their_measure():
    loss = Measure(name="error", short="MSE", lower_is_better=True)
    found = first_difference(replace(TRACE, measure=loss), changed(replace(TRACE, measure=loss), "score", (2, 0), -1.5))
    assert str(found).endswith("error on task 0 is -0.5 and 1.5")


def test_the_data_is_plain_and_holds_the_sentence():
    data = first_difference(TRACE, changed(TRACE, "score", (2, 0), 1.0)).data()
    assert json.loads(json.dumps(data)) == {
        "column": "score", "evaluation": 2, "step": 1, "kind": "step", "experience": 0, "task": 0,
        "scores": [0.5, 1.0], "counts": [11, 11],
        "text": "the first difference is after step 1 in experience 0: accuracy on task 0 is 50 % and 100 %",
    }  # fmt: skip
    assert TRACE.kind[2] == Kind.STEP
