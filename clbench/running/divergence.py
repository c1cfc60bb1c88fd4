"""The reason of a run that diverged: what was not finite, and what may help."""

from __future__ import annotations

from contextlib import suppress

from clbench.core.errors import Refused
from clbench.core.types import Dataset
from clbench.running.cell_key import Cell
from clbench.running.plan import given_stream, rows
from clbench.running.user_objects import UserObjects
from clbench.training.loss_check import Diverged

FAR = 10.0
"""Largest absolute value of inputs that are near [0, 1]; standardised ones are rarely larger."""


def reason(error: Diverged, cell: Cell, *, data_dir: str | None, given: UserObjects | None) -> str:
    """Return the reason for the record; if inputs are far from [0, 1], it names their normalisation.

    Args:
        error: What ended the run.
        cell: The cell.
        data_dir: The directory of data sets.
        given: The user's objects that replace names.
    """
    with suppress(Refused):
        if given is not None and given.stream is not None:
            dataset = given_stream(given.stream, cell.seed).dataset
        else:
            own = None if given is None else given.dataset
            dataset = rows(cell.config["stream"], data_dir=data_dir, dataset=own)
        return f"{error}{remedy(dataset)}"
    return str(error)


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
