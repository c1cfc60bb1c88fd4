"""Weights that do not move: ranges of a mask are kept as single weights are, bit for bit, for every optimiser."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clbench.models.flat_weights import flatten
from clbench.training import frozen_weights
from clbench.training.frozen_weights import FrozenWeights

OPTIMIZERS = {
    "sgd": lambda w: torch.optim.SGD([w], lr=0.1),
    "momentum": lambda w: torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.1),
    "adam": lambda w: torch.optim.Adam([w], lr=0.1),
}
FEW = torch.zeros(40, dtype=torch.bool)
FEW[:7] = FEW[20:33] = FEW[39:] = True
MANY = torch.arange(40) % 2 == 0


def steps(optimizer, masks):
    """Weights after each step, under a mask (or None) for each, and the optimiser's state at the end."""
    torch.manual_seed(0)
    flat = flatten(nn.Linear(39, 1))
    frozen, made, found = FrozenWeights(flat), OPTIMIZERS[optimizer](flat.w), []
    for mask in masks:
        frozen.freeze("own", mask)
        flat.g.normal_()
        frozen.step(made)
        found.append(flat.w.detach().clone())
    state = [t for t in made.state.get(flat.w, {}).values() if isinstance(t, torch.Tensor)]
    return found, state


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("masks", [[FEW] * 5, [None, FEW, FEW, MANY, MANY, MANY, FEW, FEW, FEW, None]])
def test_ranges_are_kept_as_single_weights_are(optimizer, masks, monkeypatch):
    by_range, state = steps(optimizer, masks)
    monkeypatch.setattr(frozen_weights, "MOST_RANGES", 0)
    one_by_one, other = steps(optimizer, masks)
    assert all(torch.equal(a, b) for a, b in zip(by_range, one_by_one, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(state, other, strict=True))
    assert len(state) == len(other)
    for before, after, mask in zip(by_range, by_range[1:], masks[1:], strict=False):
        if mask is not None:
            assert torch.equal((before == after), mask)


def test_the_ranges_of_a_mask_are_where_it_is_true():
    assert frozen_weights._ranges_of(FEW) == (slice(0, 7), slice(20, 33), slice(39, 40))
    assert frozen_weights._ranges_of(torch.zeros(5, dtype=torch.bool)) == ()
    assert frozen_weights._ranges_of(torch.ones(5, dtype=torch.bool)) == (slice(0, 5),)
    assert frozen_weights._ranges_of(torch.arange(100) % 2 == 0) is None


def test_a_mask_that_is_changed_in_place_counts_as_another():
    torch.manual_seed(0)
    flat = flatten(nn.Linear(39, 1))
    frozen, optimizer, mask = FrozenWeights(flat), torch.optim.SGD([flat.w], lr=0.1), FEW.clone()
    frozen.freeze("own", mask)
    for _ in range(3):
        flat.g.normal_()
        frozen.step(optimizer)
    mask[:7] = False
    before = flat.w.detach().clone()
    flat.g.normal_()
    frozen.step(optimizer)
    assert torch.equal(before == flat.w.detach(), mask)
