"""Herding: samples whose mean comes closest to the mean of a class; and the exemplars of a memory that shrinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from clbench.core.errors import Refused
from clbench.training.batch import ROW, VIEW, Y


def exemplars(new: Tensor, kept: Tensor, size: int, features: Callable[[Tensor], Tensor]) -> Tensor:
    """Return which samples a memory of ``size`` keeps at the end of an experience: ``size`` // s for each of s classes.

    A class of the experience is herded, with what is kept of it. Of the others the first ones stay, since every
    beginning of a herded list is a good choice of its length.

    Args:
        new: (5, n) samples of the experience.
        kept: (5, m) samples that the memory keeps, in the order of herding within each class.
        size: Number of slots M.
        features: From samples (5, k) to features (k, H).

    Raises:
        Refused: A class would have none.
    """
    classes = torch.cat([kept[Y], new[Y]]).unique().tolist()
    each = size // len(classes)
    if not each:
        raise Refused(
            f"memory.size {size} leaves no exemplar for each of the {len(classes)} classes seen so far; "
            "memory.policy shrinking_herding needs at least one sample per class"
        )
    return of_quotas(new, kept, dict.fromkeys(classes, each), features)


def of_quotas(new: Tensor, kept: Tensor, quotas: Mapping[int, int], features: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the samples of each class that stay, as many as its quota says; see :func:`exemplars`.

    Args:
        new, kept, features: As in :func:`exemplars`.
        quotas: Class -> number of samples.
    """
    chosen = []
    for c, each in quotas.items():
        own, known = new[:, new[Y] == c], kept[:, kept[Y] == c]
        if not own.shape[1]:
            chosen.append(known[:, :each])
            continue
        samples = torch.cat([known[:, ~known_again(known, own)], own], dim=1)
        chosen.append(samples[:, herd(features(samples), each)])
    return torch.cat(chosen, dim=1)


def known_again(known: Tensor, own: Tensor) -> Tensor:
    """Return which samples (5, m) are among others (5, n) too, (m,) bool."""
    return (known[[ROW, VIEW], :, None] == own[[ROW, VIEW], None, :]).all(0).any(1)


def herd(features: Tensor, n: int) -> Tensor:
    """Return the first ``n`` samples in the order of herding, (min(n, N),) int64.

    Each sample brings the mean of the chosen ones closest to the mean of all. Every beginning of the list is therefore
    a good choice of its length. Features are scaled to unit length first; the mean of all is not scaled, since it is
    compared with a mean.

    Args:
        features: (N, H) features.
        n: Number of samples.

    Source: Rebuffi et al. 2017, algorithm 4; each sample is chosen at most once.
    """
    unit = F.normalize(features.double())
    mean, total = unit.mean(0), unit.new_zeros(unit.shape[1])
    free, half, chosen = unit.new_zeros(len(unit)), unit.square().sum(1) / 2, []
    for k in range(1, min(n, len(unit)) + 1):
        # |mean - (total + f) / k|² = constant - 2 / k² · (f · (k mean - total) - |f|² / 2)
        best = (unit @ (k * mean - total) - half + free).argmax()
        chosen.append(best)
        free[best] = -torch.inf
        total = total + unit[best]
    return torch.stack(chosen)
