"""Permutations and rotations of a batch, each row by its own view."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from clbench.core.compat import import_torchvision
from clbench.core.errors import Refused
from clbench.data.transforms import Permute, Rotate


def rows(n):
    return torch.arange(n)


def orders(views, values, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(values) for _ in range(views)])


def test_permute_shows_value_order_i_at_place_i():
    transform = Permute(np.array([[0, 1, 2, 3], [2, 0, 3, 1]]))
    x = torch.tensor([[10.0, 11, 12, 13], [20, 21, 22, 23]])
    shown = transform.apply(x, torch.tensor([1, 0]), rows(2))
    assert shown.tolist() == [[12, 10, 13, 11], [20, 21, 22, 23]]


def test_permute_treats_each_row_as_numpy_does_and_keeps_the_shape():
    order = orders(4, 3 * 4 * 5)
    x, view = torch.rand(9, 3, 4, 5), torch.tensor([0, 3, 1, 1, 2, 0, 3, 2, 1])
    shown = Permute(order).apply(x, view, rows(9))
    flat = x.numpy().reshape(9, -1)
    expected = np.stack([flat[i][order[v]] for i, v in enumerate(view.tolist())]).reshape(x.shape)
    assert (shown.numpy() == expected).all()


def test_permute_gives_the_same_for_a_batch_of_one_view_as_for_a_mixed_batch():
    transform = Permute(orders(3, 16))
    x = torch.rand(6, 1, 4, 4)
    single = transform.apply(x, torch.full((6,), 2), rows(6))
    mixed = transform.apply(torch.cat([x, x]), torch.tensor([2] * 6 + [1] * 6), rows(12))
    assert torch.equal(single, mixed[:6])


def test_permute_describes_itself_by_a_digest_that_tells_orders_apart():
    one, other = Permute(orders(2, 16)).describe(), Permute(orders(2, 16, seed=1)).describe()
    assert json.loads(json.dumps(one)) == one
    assert one["digest"] != other["digest"]
    assert one == Permute(orders(2, 16)).describe()


def test_permute_refuses_rows_of_another_size_and_orders_that_repeat_a_place():
    with pytest.raises(Refused, match="samples have 9 values and the permutations 16"):
        Permute(orders(2, 16)).apply(torch.rand(1, 9), torch.zeros(1, dtype=torch.int64), rows(1))
    with pytest.raises(ValueError, match="permutation of"):
        Permute(np.array([[0, 1, 1]]))


@pytest.mark.parametrize(("degrees", "quarters"), [(90, 1), (180, 2), (270, 3), (-90, 3), (450, 1)])
@pytest.mark.parametrize("side", [8, 28, 33])
def test_rotate_by_quarter_turns_is_rot90_counter_clockwise(degrees, quarters, side):
    x = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(side))
    turned = Rotate(np.array([float(degrees)])).apply(x, torch.zeros(2, dtype=torch.int64), rows(2))
    # Coordinates are of order 1 in float32: the pixel weights are off by at most some 1e-6 times the side.
    torch.testing.assert_close(turned, torch.rot90(x, quarters, dims=(2, 3)), atol=2e-5, rtol=0)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 32)])
def test_rotate_agrees_with_torchvision_for_each_row(shape):
    import_torchvision()
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import rotate

    degrees = np.array([0.0, 10.0, -33.5, 77.0])
    x = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    view = torch.tensor([1, 3, 0, 2, 1])
    shown = Rotate(degrees).apply(x, view, rows(5))
    for i, v in enumerate(view.tolist()):
        expected = rotate(x[i], float(degrees[v]), interpolation=InterpolationMode.BILINEAR, fill=None)
        torch.testing.assert_close(shown[i], expected, atol=1e-4, rtol=0)


def test_rotate_by_nothing_is_the_exact_identity_alone_and_in_a_mixed_batch():
    transform = Rotate(np.array([0.0, 45.0, 360.0]))
    x = torch.rand(3, 1, 9, 9)
    assert torch.equal(transform.apply(x, torch.tensor([0, 2, 0]), rows(3)), x)
    mixed = transform.apply(x, torch.tensor([2, 1, 0]), rows(3))
    assert torch.equal(mixed[[0, 2]], x[[0, 2]])
    assert not torch.equal(mixed[1], x[1])


def test_rotate_fills_with_zeros_from_outside():
    turned = Rotate(np.array([45.0])).apply(torch.ones(1, 1, 16, 16), torch.zeros(1, dtype=torch.int64), rows(1))
    assert turned[0, 0, 0, 0] == 0
    assert turned[0, 0, 8, 8] == pytest.approx(1.0, abs=1e-6)


def test_rotate_describes_its_angles_and_refuses_vectors():
    transform = Rotate(np.array([0.0, 30.0]))
    assert transform.describe() == {"kind": "rotate", "degrees": [0.0, 30.0]}
    with pytest.raises(Refused, match=r"not images \(C, H, W\)"):
        transform.apply(torch.rand(2, 64), torch.zeros(2, dtype=torch.int64), rows(2))
