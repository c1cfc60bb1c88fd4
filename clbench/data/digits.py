"""scikit-learn's handwritten digits: small, real, and always there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clbench.core.types import Dataset
from clbench.data.arrays import assemble
from clbench.data.splits import stratified

TEST_ROWS = 359
"""A fifth of the 1797 images."""


def digits(_data_dir: Path) -> Dataset:
    """1438 training and 359 test images (1, 8, 8) of ten digits, values 0..16, split once and for all.

    Args:
        _data_dir: Not used: the images come with scikit-learn.

    Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", test part, as shipped by scikit-learn.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)  # (1797, 8, 8), (1797,)
    test = stratified(y, TEST_ROWS, "data/digits")
    return assemble("digits", (x[~test], y[~test]), (x[test], y[test]), where="data set 'digits'", scale=1 / 16)
