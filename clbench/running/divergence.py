"""What may help a run that diverged."""

from __future__ import annotations

from clbench.core.types import Dataset

FAR = 10.0
"""Largest absolute value of inputs that are near [0, 1]; standardised ones are rarely larger."""


def remedy(dataset: Dataset) -> str:
    """Return what may help with the inputs of a data set; empty if they are near [0, 1] or normalised."""
    if dataset.tokens or dataset.std:
        return ""
    low, high = (float(value) * dataset.scale for value in (dataset.train.x.min(), dataset.train.x.max()))
    if max(-low, high) <= FAR:
        return ""
    return (
        f"; its inputs reach from {low:.6g} to {high:.6g}, far from [0, 1]: set normalize: mean-std in the data set "
        "(--set stream.dataset.normalize=mean-std)"
    )
