"""Two runs compared: what counts as the same, and the words for the first difference."""

import pytest
import torch

from clbench.testing.compare_runs import difference, leaves, size


def test_leaves_are_named_by_their_path():
    state = {"anchor": torch.ones(2), "heads": {"a": [torch.zeros(1), 3]}, "sizes": [1, 2, "x"]}
    assert [name for name, _ in leaves(state, "state of A")] == [
        "state of A: anchor",
        "state of A: heads: a[0]",
        "state of A: heads: a[1]",
        "state of A: sizes",
    ]
    assert dict(leaves(state))["sizes"] == [1, 2, "x"]  # a list of plain values is one leaf


def test_the_same_leaves_have_no_difference():
    ours = {"w": torch.tensor([1.0, float("nan")]), "n": 3, "name": "x", "list": [1, 2]}
    theirs = {"w": torch.tensor([1.0, float("nan")]), "n": 3, "name": "x", "list": [1, 2]}
    assert difference(ours, theirs) == ""


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ({"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([1.0, 2.5])}, "w (off by up to 0.5)"),
        ({"w": torch.zeros(2)}, {"w": torch.zeros(3)}, "w (of shapes (2,) and (3,))"),
        ({"w": torch.zeros(2)}, {"w": torch.zeros(2, dtype=torch.float64)}, "w (off by up to 0)"),
        ({"n": 1}, {"n": 2}, "n (1 and 2)"),
        ({"n": 1}, {"n": 1.0}, "n (1 and 1.0)"),
        ({"n": "a" * 50}, {"n": "b" * 50}, "n"),
        ({"n": 1, "m": 2}, {"n": 1}, "m (present after one run only)"),
        ({}, {"w": torch.zeros(1)}, "w (present after one run only)"),
    ],
)
def test_the_first_difference_is_told_in_words(ours, theirs, words):
    assert difference(ours, theirs) == words


def test_a_difference_in_the_last_bit_is_one():
    one = torch.tensor([1.0])
    assert difference({"w": one}, {"w": torch.nextafter(one, torch.tensor([2.0]))}).startswith("w (off by")


def test_a_value_that_is_nan_in_one_run_alone_is_a_difference():
    assert difference({"w": torch.tensor([float("nan")])}, {"w": torch.tensor([1.0])}) != ""


def test_tensors_without_values_are_compared_by_shape_and_type():
    empty = torch.empty(2, device="meta")
    assert difference({"w": empty}, {"w": torch.empty(2, device="meta")}) == ""
    assert difference({"w": empty}, {"w": torch.empty(3, device="meta")}) != ""


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, 0),
        ({"w": torch.zeros(10)}, 40),
        ({"w": torch.zeros(10, dtype=torch.float64), "i": torch.zeros(3, dtype=torch.int8)}, 83),
        ({"n": 3, "name": "abc", "rows": [1, 2, 3, 4]}, 8 + 24 + 32),
        ({"deep": [{"w": torch.zeros(2, 3)}, torch.zeros(1)]}, 24 + 4),
    ],
)
def test_the_size_of_a_state_is_that_of_its_tensors_and_eight_bytes_a_number(state, expected):
    assert size(state) == expected
