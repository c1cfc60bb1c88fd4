"""scikit-learn's diabetes study: a small real data set of numbers to predict, without a download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clbench.core.types import Dataset
from clbench.data.arrays import assemble
from clbench.data.number_targets import REGRESSION, number_array, strata
from clbench.data.stratified import stratified

TEST_ROWS = 110
"""A quarter of the 442 patients."""


def diabetes(_data_dir: Path) -> Dataset:
    """Load 332 training and 110 test patients with ten measurements each, and a fixed split.

    The target is a measure of the progression of diabetes one year later, 25 to 346. Measurements are age, sex, body
    mass index, blood pressure and six blood values, each standardised by the training samples.

    Args:
        _data_dir: Not used: the data comes with scikit-learn.

    Source: Efron, Hastie, Johnstone and Tibshirani 2004, "Least Angle Regression", Annals of Statistics 32, 407, as
    shipped by scikit-learn.
    """
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    x, target = bunch.data.astype(np.float64), number_array(bunch.target, len(bunch.data), "data set 'diabetes'")
    test = stratified(strata(target), TEST_ROWS, "data/diabetes")
    x = ((x - x[~test].mean(axis=0)) / x[~test].std(axis=0)).astype(np.float32)  # (442, 10)
    splits = (x[~test], target[~test]), (x[test], target[test])
    return assemble(
        "diabetes", *splits, where="data set 'diabetes'", family=REGRESSION, target_names=["progression"], scale=1
    )


diabetes.family = REGRESSION  # type: ignore[attr-defined]
