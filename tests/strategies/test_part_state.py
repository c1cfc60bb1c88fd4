"""What a part keeps: copies that share nothing, bytes counted by hand, and what cannot be saved."""

from __future__ import annotations

import pytest
import torch

from clbench.core.errors import Refused
from clbench.strategies.part_state import copied, tensor_bytes


def test_a_copy_shares_no_tensor_list_or_dict_with_the_state():
    weights = torch.ones(3, requires_grad=True)
    state = {"w": weights, "nested": [{"mask": torch.tensor([True])}, 2, "text", None, 0.5]}
    copy = copied(state)
    state["nested"][0]["mask"][0] = False
    state["nested"].append(3)
    with torch.no_grad():
        weights.mul_(2)
    assert copy["w"].tolist() == [1, 1, 1]
    assert not copy["w"].requires_grad
    assert copy["nested"] == [{"mask": torch.tensor([True])}, 2, "text", None, 0.5]


def test_bytes_are_those_of_tensors_wherever_they_lie():
    state = {"w": torch.zeros(3), "nested": [torch.zeros(2, 2, dtype=torch.int64), {"mask": torch.zeros(5) > 0}, 7]}
    assert tensor_bytes(state) == 3 * 4 + 4 * 8 + 5


def test_what_cannot_be_saved_is_refused_with_its_place():
    with pytest.raises(Refused, match=r"er keeps a set in state\['seen'\]\[1\]; allowed are tensors"):
        copied({"seen": [1, {2}]}, of="er")
