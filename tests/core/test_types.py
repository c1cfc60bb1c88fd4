"""Streams, experiences and the hash of values, on a stream of three experiences written out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clbench.core.types import Dataset, Experience, Rows, Stream, Task, content_hash

ROWS = Rows(np.arange(24, dtype=np.float32).reshape(6, 4), np.array([0, 1, 2, 0, 1, 2]))


def dataset(**changes):
    fields = {
        "name": "six",
        "train": ROWS,
        "test": ROWS,
        "class_names": ("a", "b", "c"),
        "scale": 1.0,
        "checksum": "7f",
    }
    return Dataset(**{**fields, **changes})


def stream(**changes):
    built = []

    def build(position):
        built.append(position)
        return Experience(position, np.array([position, position + 3]), position, 0, (position,))

    tasks = tuple(Task(i, f"class {i}", np.array([i, i + 3]), (i,), view=i) for i in range(3))
    fields = {
        "name": "by class",
        "dataset": dataset(),
        "tasks": tasks,
        "length": 3,
        "build": build,
        "n_outputs": 3,
        "seed": 5,
        "description": {"scenario": "by class", "order": [0, 1, 2]},
    }
    return Stream(**{**fields, **changes}), built


def test_the_shape_of_a_data_set_is_that_of_one_row_and_its_classes_are_those_with_a_name():
    assert dataset().shape == (4,)
    assert dataset(train=Rows(np.zeros((2, 3, 8, 8), np.uint8), np.zeros(2, np.int64))).shape == (3, 8, 8)
    assert dataset().n_classes == 3
    assert len(ROWS) == 6


def test_an_experience_is_built_when_it_is_asked_for_and_not_before():
    made, built = stream()
    assert len(made) == 3
    assert built == []
    assert made[1].classes == (1,)
    assert built == [1]
    assert [e.id for e in made] == [0, 1, 2]


def test_positions_count_from_both_ends_and_slices_are_lists():
    made, _ = stream()
    assert [made[-1].id, made[-3].id] == [2, 0]
    assert [e.id for e in made[1:]] == [1, 2]
    assert [e.id for e in made[::-2]] == [2, 0]
    assert made[3:] == []


@pytest.mark.parametrize("position", [3, -4, 100])
def test_a_position_outside_the_stream_is_an_index_error_with_the_length(position):
    made, built = stream()
    with pytest.raises(IndexError, match=f"experience {position} .*3"):
        made[position]
    assert built == []


def test_a_stream_counts_as_a_sequence_for_membership_and_reversal():
    made, _ = stream()
    assert [e.id for e in reversed(made)] == [2, 1, 0]


@pytest.mark.parametrize(
    ("task", "expected"), [(4, (4,)), (np.array([2, 0, 2, 0]), (0, 2)), (np.array([1, 1, 1, 1]), (1,))]
)
def test_tasks_of_an_experience_are_ascending_and_each_is_named_once(task, expected):
    experience = Experience(0, np.arange(4), task, 0, (0,))
    assert experience.tasks == expected
    assert all(type(t) is int for t in experience.tasks)
    assert len(experience) == 4


def test_without_drift_every_task_keeps_its_own_view():
    made, _ = stream()
    assert made.task_views(-1).tolist() == made.task_views(2).tolist() == [0, 1, 2]


def test_where_the_world_drifts_the_views_are_those_of_the_running_experience_and_of_the_first_before_it():
    made, _ = stream(views_at=lambda e: np.full(3, 10 * e))
    assert made.task_views(2).tolist() == [20, 20, 20]
    assert made.task_views(-1).tolist() == made.task_views(0).tolist() == [0, 0, 0]


def test_labels_are_raw_labels_without_a_map_and_output_units_of_the_view_with_one():
    made, _ = stream()
    assert made.labels(ROWS, np.array([5, 0]), 0).tolist() == [2, 0]
    mapped, _ = stream(label_map=np.array([[0, 1, 2], [3, 4, 5]]))
    assert mapped.labels(ROWS, np.array([5, 0]), 1).tolist() == [5, 3]
    assert mapped.labels(ROWS, np.array([5, 0, 1]), np.array([0, 1, 1])).tolist() == [2, 3, 4]


def test_the_fingerprint_is_the_hash_of_data_description_seed_and_version():
    made, _ = stream()
    description = {"order": [0, 1, 2], "scenario": "by class"}
    assert made.fingerprint == content_hash({"data": "7f", "description": description, "seed": 5, "version": 1})
    assert made.fingerprint in repr(made)
    assert len(made.fingerprint) == 16


def test_the_fingerprint_names_a_family_only_where_it_is_not_classification():
    made, _ = stream()
    other, _ = stream(dataset=dataset(family="regression"))
    assert made.family == "classification"
    assert other.family == "regression"
    assert made.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "changes", [{"seed": 6}, {"description": {"scenario": "by class"}}, {"dataset": dataset(checksum="80")}]
)
def test_another_seed_description_or_data_set_is_another_fingerprint(changes):
    assert stream(**changes)[0].fingerprint != stream()[0].fingerprint


def test_names_do_not_count_in_the_fingerprint():
    assert stream(name="other")[0].fingerprint == stream()[0].fingerprint
    assert stream(dataset=dataset(name="other"))[0].fingerprint == stream()[0].fingerprint


def test_the_hash_of_a_value_is_the_start_of_the_sha256_of_its_json():
    # printf '{"a":[1,2],"b":"x"}' | sha256sum
    assert content_hash({"b": "x", "a": [1, 2]}) == "d0f56dda38d34376"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, min_size=2))
def test_the_order_of_keys_changes_no_hash(value):
    assert content_hash(dict(reversed(value.items()))) == content_hash(value)


@pytest.mark.parametrize(("one", "other"), [([1, 2], [2, 1]), (1, True), ("1", 1), ({"a": None}, {}), (1, 1.0)])
def test_values_that_json_writes_differently_have_different_hashes(one, other):
    assert content_hash(one) != content_hash(other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_a_number_that_json_has_no_word_for_has_no_hash(value):
    with pytest.raises(ValueError, match="JSON"):
        content_hash(value)
