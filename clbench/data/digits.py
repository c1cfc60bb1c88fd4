"""scikit-learn's handwritten digits: a small real data set without a download."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clbench.core.types import Dataset, Index
from clbench.data.arrays import assemble
from clbench.data.stratified import stratified

TEST_ROWS = 359
"""A fifth of the 1797 images."""


def digits(_data_dir: Path) -> Dataset:
    """Load 1438 training and 359 test images (1, 8, 8) of ten digits, with values 0..16 and a fixed split.

    Args:
        _data_dir: Not used: the images come with scikit-learn.

    Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", test part, as shipped by scikit-learn.
    """
    x, y = _read()
    test = stratified(y, TEST_ROWS, "data/digits")
    return assemble("digits", (x[~test], y[~test]), (x[test], y[test]), where="data set 'digits'", scale=1 / 16)


def _read() -> tuple[NDArray[np.uint8], Index]:
    """Read all images (1797, 8, 8) and labels (1797,), in scikit-learn's order.

    They are read from scikit-learn's own file, since importing ``sklearn.datasets`` takes longer than a short run. If
    the file is elsewhere, the import is used.
    """
    package = find_spec("sklearn")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz" if package and package.origin else None
    if file is not None and file.is_file():
        with gzip.open(file, "rt") as lines:
            table = np.loadtxt(lines, delimiter=",", dtype=np.int64)  # (1797, 65), with the label last
        return table[:, :-1].reshape(-1, 8, 8).astype(np.uint8), table[:, -1]
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
