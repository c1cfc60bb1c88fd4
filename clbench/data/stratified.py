"""Fixed draws of samples in proportion to the sizes of classes, equal for every run of a benchmark."""

from __future__ import annotations

import numpy as np

from clbench.core.rng import Generator
from clbench.core.types import Index, Mask

SPLIT_SEED = 0
"""Seed of every fixed split: held-out samples are part of a benchmark, and equal for all its runs."""


def stratified(y: Index, n: int, purpose: str, seed: int = SPLIT_SEED) -> Mask:
    """Choose ``n`` samples, with classes in proportion to their size and at least one sample from each.

    Args:
        y: (N,) labels 0..C-1, each present.
        n: Number of samples, from C to N.
        purpose: Purpose of the draw. The choice depends only on it, on ``y``, on ``n`` and on the seed.
        seed: Seed of the draw.

    Returns:
        (N,) mask of the chosen samples.
    """
    quota = _allocate(np.bincount(y), n)
    order = Generator(seed, purpose).permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]  # class by class, shuffled within each
    starts = np.concatenate(([0], np.cumsum(np.bincount(y))[:-1]))
    rank = np.arange(len(y)) - starts[y[order]]
    mask = np.zeros(len(y), dtype=np.bool_)
    mask[order[rank < quota[y[order]]]] = True
    return mask


def of_each(groups: Index, fraction: float, purpose: str, seed: int = SPLIT_SEED) -> Mask:
    """Choose a fraction of samples, at least one of each group (N,) that has two or more; a single one is not taken."""
    held = np.bincount(groups)[groups] > 1
    kinds, codes = np.unique(groups[held], return_inverse=True)
    if len(kinds):
        held[held] = stratified(codes, min(len(codes), max(len(kinds), round(fraction * len(groups)))), purpose, seed)
    return held


def _allocate(counts: Index, n: int) -> Index:
    """Distribute ``n`` places among classes in proportion by largest remainder, at least one each; (C,), sums to
    ``n``."""
    # Integers throughout, so that ties are resolved equally on every machine.
    share, remainder = np.divmod(n * counts, counts.sum())
    lifted = share == 0
    places = np.where(lifted, 1, share)
    left = n - int(places.sum())
    if left > 0:
        places[np.argsort(np.where(lifted, 0, -remainder), kind="stable")[:left]] += 1
    for _ in range(-left):  # places that rare classes got beyond their share are taken from the largest
        places[places.argmax()] -= 1
    return places
