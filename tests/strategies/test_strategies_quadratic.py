"""What quadratic penalties share, on more weights than are worked on at a time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from clbench.strategies.quadratic import PIECE, add_penalty_gradient, pieces


@pytest.mark.parametrize("weighed", [True, False])
def test_pieces_of_a_penalty_s_gradient_are_bit_for_bit_the_whole(weighed):
    generator = torch.Generator().manual_seed(0)
    w, anchor, importance, g = (torch.randn(2 * PIECE + 37, generator=generator) for _ in range(4))
    difference = (w - anchor) * importance if weighed else w - anchor
    whole = g.add(difference, alpha=0.3)
    learner = SimpleNamespace(w=w, g=g)
    add_penalty_gradient(learner, importance if weighed else None, anchor, 0.3)
    assert learner.g.equal(whole)


def test_pieces_are_views_in_order():
    a, b = torch.arange(PIECE + 5), torch.zeros(PIECE + 5)
    found = list(pieces(a, b))
    assert [len(first) for first, _ in found] == [PIECE, 5]
    assert torch.cat([first for first, _ in found]).equal(a)
    for _, second in found:
        second.fill_(1)
    assert bool(b.eq(1).all())
