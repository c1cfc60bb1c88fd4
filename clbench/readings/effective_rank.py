"""The effective rank of the features."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from clbench.readings.reading import Inspected, Samples, Which


def effective_rank(
    learner: Inspected,
    _panel: Samples,
    /,
    *,
    form: Literal["entropy", "share"] = "entropy",
    share: Annotated[float, Field(gt=0, le=1)] = 0.99,
    tasks: Which = "current",
) -> float:
    """Return the effective rank of the features, the inputs of the last layer: how many directions they use.

    The matrix has a row for each evaluation sample. Its mean is not subtracted.

    Args:
        form: ``entropy``: the exponential of the entropy of the singular values, which are divided by their sum.
            ``share``: the smallest number of singular values whose sum is at least ``share`` of the sum of all.
        share: Of the form ``share``.
        tasks: The tasks whose evaluation samples are used.

    Source: Roy and Vetterli 2007, *The effective rank* (entropy); Kumar et al. 2021, arXiv 2010.14498 (srank, 99 %).
    """
    return rank_of(learner.features(learner.tasks(tasks)), form=form, share=share)


def rank_of(features: Any, *, form: str, share: float = 0.99) -> float:
    """Return the effective rank of a matrix (n, H); 0 for a matrix of zeros, NaN if a value is not finite."""
    import torch

    matrix = features.double()
    if not bool(matrix.isfinite().all()):
        return math.nan
    values = torch.linalg.svdvals(matrix)  # descending
    total = values.sum()
    if not float(total) > 0:
        return 0.0
    parts = values / total
    if form == "entropy":
        return float(torch.special.entr(parts).sum().exp())
    return float((parts.cumsum(0) < share - 1e-12).sum()) + 1.0
