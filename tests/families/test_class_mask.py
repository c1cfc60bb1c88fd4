"""The class mask: which classes compete, whatever the rows."""

import pytest
import torch

from clbench.families.class_mask import ALL, ClassMask

INF = float("inf")
SHARED = torch.tensor([True, False, True])
OF_ROWS = torch.tensor([[True, False, False], [False, True, True]])


def test_where_all_classes_compete_scores_stay_the_very_tensor():
    scores = torch.randn(2, 3)
    assert ALL.masked(scores) is scores
    assert ALL.classes() is None
    assert ALL.expanded(scores).tolist() == [[True] * 3] * 2


def test_true_competes_for_one_mask_and_for_a_mask_of_each_row():
    scores = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert ClassMask(SHARED).masked(scores).tolist() == [[1, -INF, 3], [4, -INF, 6]]
    assert ClassMask(OF_ROWS).masked(scores, 0.0).tolist() == [[1, 0, 0], [0, 5, 6]]
    assert [ClassMask(each).per_row for each in (None, SHARED, OF_ROWS)] == [False, False, True]


def test_the_mask_of_some_rows_is_that_of_those_rows():
    for asked_before in (False, True):
        mask = ClassMask(OF_ROWS)
        if asked_before:
            mask.masked(torch.zeros(2, 3))
        assert mask.rows(slice(1, 2)).masked(torch.zeros(1, 3)).tolist() == [[-INF, 0, 0]]
        turned = mask.rows(torch.tensor([1, 0, 1])).masked(torch.zeros(3, 3), 7.0)
        assert turned.tolist() == [[7, 0, 0], [0, 7, 7], [7, 0, 0]]
    shared = ClassMask(SHARED)
    assert shared.rows(slice(0, 1)) is shared


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (None, [[1, 1, 1], [1, 0, 0], [1, 1, 1]]),
        (SHARED, [[1, 0, 1], [1, 0, 0], [1, 0, 1]]),
        (torch.tensor([[0, 1, 1], [0, 1, 1], [1, 1, 0]]).bool(), [[0, 1, 1], [0, 0, 0], [1, 1, 0]]),
    ],
)
def test_restricting_takes_classes_out_on_its_own_rows_and_lets_none_in(before, expected):
    mask = ClassMask(before)
    kept = None if before is None else before.clone()
    made = mask.restricted(slice(1, 2), torch.tensor([True, False, False]), 3)
    assert made.competes.int().tolist() == expected
    assert kept is None or torch.equal(mask.competes, kept)


def test_the_classes_of_a_mask_are_those_of_any_row():
    assert ClassMask(torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0]]).bool()).classes().tolist() == [True, False, True, False]
    assert ClassMask(SHARED).classes().tolist() == SHARED.tolist()


def test_a_mask_used_in_an_evaluation_serves_a_training_step_afterwards():
    mask, w = ClassMask(SHARED), torch.zeros(2, 3, requires_grad=True)
    with torch.inference_mode():
        mask.masked(torch.zeros(2, 3))
    mask.masked(w).softmax(1)[:, 0].sum().backward()
    assert w.grad[:, 1].tolist() == [0, 0]
    assert w.grad[0].tolist() == [0.25, 0, -0.25]
