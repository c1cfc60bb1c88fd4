"""What a trace derives from its arrays, on traces of a few evaluations written out by hand."""

import dataclasses

import numpy as np
import pytest

from clbench.core.record import Kind, Record, Trace

PRESENT = np.array([[True, False, False], [False, True, False], [True, False, False]])


def trace(**changes):
    """Two tasks that are seen and one that never comes, looked at five times."""
    nan = np.nan
    fields = {
        "step": np.array([0, 10, 20, 20, 30]),
        "kind": np.array([Kind.START, Kind.END, Kind.END, Kind.SWITCH, Kind.END]),
        "experience": np.array([-1, 0, 1, 2, 2]),
        "score": np.array([[0.5, 0.5, 0.5], [1.0, nan, nan], [0.8, 0.9, nan], [0.8, 0.9, nan], [0.9, 0.6, nan]]),
        "rows": np.array([100, 25, 4]),
        "present": PRESENT,
    }
    return Trace(**{**fields, **changes})


def test_a_trace_has_the_tasks_of_its_scores_and_the_experiences_of_its_presence():
    assert (trace().n_tasks, trace().n_experiences) == (3, 3)


def test_the_first_visit_of_a_task_that_never_comes_is_the_number_of_experiences():
    assert trace().first_visit.tolist() == [0, 1, 3]


def test_a_task_is_seen_from_the_beginning_of_its_first_experience():
    assert trace().seen.tolist() == [
        [False, False, False],
        [True, False, False],
        [True, True, False],
        [True, True, False],
        [True, True, False],
    ]


def test_where_first_rows_are_recorded_a_task_is_seen_after_the_step_that_held_one():
    seen = trace(counted=np.array([0, 15, -1])).seen
    assert seen[:, 0].tolist() == [False, True, True, True, True]  # the batch after step 0 held its first row
    assert seen[:, 1].tolist() == [False, False, True, True, True]
    assert not seen[:, 2].any()


def test_the_standard_error_of_an_accuracy_is_that_of_a_share():
    found = trace().standard_error
    assert found[0, 0] == pytest.approx(0.05)  # sqrt(0.5 * 0.5 / 100)
    assert found[2, 1] == pytest.approx(0.06)  # sqrt(0.9 * 0.1 / 25)
    assert found[1, 0] == 0
    assert np.isnan(found[1, 1])


def test_the_standard_error_shrinks_by_the_part_of_the_task_that_was_looked_at():
    found = trace(population=np.array([400, 25, 13])).standard_error
    assert found[0, 0] == pytest.approx(0.05 * np.sqrt(300 / 399))
    assert found[2, 1] == 0  # all its rows were looked at
    assert found[0, 2] == pytest.approx(np.sqrt(0.25 / 4 * 9 / 12))


def test_the_standard_error_of_other_scores_comes_from_their_spread():
    spread = np.full((5, 3), 2.0)
    found = trace(spread=spread).standard_error
    assert found[0].tolist() == pytest.approx([0.2, 0.4, 1.0])


def test_the_error_of_accuracies_given_by_hand_has_their_shape():
    assert trace().error_of(np.array([0.5, 0.5, 0.5])).tolist() == pytest.approx([0.05, 0.1, 0.25])
    assert trace().error_of(np.full((4, 3), 0.9)).shape == (4, 3)


@pytest.mark.parametrize("chosen", [np.array([1, 4]), np.array([False, True, False, False, True])])
def test_some_of_the_looks_are_a_trace_of_their_own(chosen):
    whole = trace(
        seconds=np.arange(5.0),
        masked=np.arange(15.0).reshape(5, 3),
        competing=np.arange(15).reshape(5, 3).astype(np.int32),
        further=np.arange(15.0).reshape(5, 3).astype([("r2", "f8")]),
    )
    part = whole.at(chosen)
    assert part.step.tolist() == [10, 30]
    assert part.seconds.tolist() == [1, 4]
    assert part.masked[:, 0].tolist() == [3, 12]
    assert part.competing[:, 1].tolist() == [4, 13]
    assert part.further["r2"][:, 2].tolist() == [5, 14]
    assert part.present is whole.present
    assert part.rows.tolist() == [100, 25, 4]
    assert whole.step.tolist() == [0, 10, 20, 20, 30]


def test_columns_that_were_not_recorded_stay_empty_in_a_part():
    part = trace().at(np.array([0]))
    assert part.masked.shape == part.class_score.shape == (0, 0)
    assert part.further.shape == (0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"step": np.array([0, 10])},
        {"kind": np.zeros((5, 1), dtype=np.int64)},
        {"experience": np.array([], dtype=np.int64)},
        {"rows": np.array([100, 25])},
        {"present": PRESENT[:, :2]},
        {"present": PRESENT[0]},
        {"masked": np.zeros((5, 2))},
        {"competing": np.zeros((4, 3), dtype=np.int32)},
        {"spread": np.zeros((3, 5))},
        {"further": np.zeros((3, 5), dtype=[("r2", "f8")])},
        {"class_score": np.zeros((4, 10))},
        {"population": np.array([1, 2])},
        {"units": np.zeros((2, 10), dtype=np.int8)},
        {"counted": np.array([1, 2, 3, 4])},
    ],
)
def test_arrays_that_do_not_fit_the_scores_are_refused_with_both_shapes(changes):
    with pytest.raises(ValueError, match=rf"trace\.({next(iter(changes))}|rows) has shape "):
        trace(**changes)


def test_arrays_of_any_number_of_classes_fit():
    made = trace(class_score=np.zeros((5, 10)), units=np.zeros((3, 10), dtype=np.int8), met=np.zeros(10, dtype=int))
    assert made.n_tasks == 3


def record(*names, **fields):
    cell = {
        "benchmark": {"name": "mine", "version": 3},
        "strategy": [{"name": name, "parameters": {}} for name in names],
        "seed": "4",
    }
    return Record("0" * 16, cell, "label", "done", **fields)


def test_a_record_names_its_benchmark_with_the_version_and_has_a_whole_seed():
    assert record("er").benchmark == "mine@3"
    assert record("er").seed == 4


@pytest.mark.parametrize(
    ("names", "engine"),
    [
        (("er",), "clbench"),
        (("er", "ewc"), "clbench"),
        (("avalanche:Replay",), "avalanche"),
        (("avalanche:Replay", "avalanche:EWCPlugin"), "avalanche"),
        (("sklearn:GaussianNB",), "clbench"),
        (("observe:mine.py:Mine",), "clbench"),
        ((), "clbench"),
    ],
)
def test_the_engine_of_a_record_is_the_library_whose_loop_ran_it(names, engine):
    assert record(*names).engine == engine


def test_records_and_traces_are_not_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        record("er").label = "other"
    with pytest.raises(dataclasses.FrozenInstanceError):
        trace().every = 2
