"""Domains: where each sample comes from, such as a hospital, a machine or a year, as numbers with names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.types import Index
from clbench.data.labels import label_array, some


def numbered(values: tuple[Any, Any], rows: Sequence[int], where: str) -> tuple[tuple[Index, Index], tuple[str, ...]]:
    """Return the position of each sample's domain among all domains, and the names of the domains in ascending order.

    Args:
        values: The domain of each training sample (N,) and of each test sample: integers or strings.
        rows: Number of training and of test samples.
        where: Name of the origin in messages.

    Raises:
        Refused: A value is missing or of another type, or a domain has no training or no test samples.
    """
    told = f"{where}: domains"
    train, test = (label_array(value, count, told) for value, count in zip(values, rows, strict=True))
    if train.dtype.kind != test.dtype.kind:
        train, test = train.astype(str), test.astype(str)
    kinds = np.unique(np.concatenate([train, test]))
    for what, held in (("training", train), ("test", test)):
        lacking = np.setdiff1d(kinds, held)
        if len(lacking):
            raise Refused(
                f"{told}: {some(lacking)} has no {what} samples, so it could not be "
                f"{'learned' if what == 'training' else 'evaluated'}; add some, or remove its samples"
            )
    codes = (np.searchsorted(kinds, train).astype(np.int64), np.searchsorted(kinds, test).astype(np.int64))
    return codes, tuple(str(kind) for kind in kinds)


def strata(classes: NDArray[Any], domains: NDArray[Any]) -> Index:
    """Return the number (N,) of each sample's pair of class and domain, from which samples are drawn in proportion."""
    first, second = (np.unique(each, return_inverse=True)[1] for each in (classes, domains))
    pairs = first.astype(np.int64) * (int(second.max()) + 1) + second
    codes: Index = np.unique(pairs, return_inverse=True)[1].astype(np.int64)
    return codes
