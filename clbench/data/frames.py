"""Data sets from pandas frames that a program holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clbench.core.errors import Refused
from clbench.core.types import Dataset
from clbench.data.table_columns import Categories, Missing
from clbench.data.tables import TableSettings, from_frames


def from_frame(
    frame: Any,
    test: Any = None,
    *,
    name: str = "frame",
    label: str | Sequence[str] | None = None,
    group: str | None = None,
    split: str | Mapping[str, Any] | None = None,
    categories: Categories | None = None,
    missing: Missing | None = None,
    ignore: Sequence[str] | None = None,
    family: str | None = None,
    scale: float | None = None,
) -> Dataset:
    """Make a data set from a pandas frame, as ``csv:`` does from a file.

    Args:
        frame: The frame: a row for each sample, a column of labels, and inputs in all other columns.
        test: A frame of test samples with the same columns; by default test samples are drawn from ``frame``.
        name: Name of the data set in records.
        label, group, split, categories, missing, ignore: As in :func:`clbench.data.load`.
        family: ``regression`` if labels are numbers to predict.
        scale: As in :func:`clbench.data.from_arrays`.

    Returns:
        The data set, for ``clbench.run(..., dataset=...)`` and ``clbench.stream``.

    Raises:
        Refused: These are no frames, columns are unknown, or columns cannot be used.
    """
    frames = [each for each in (frame, test) if each is not None]
    for each in frames:
        if not hasattr(each, "columns"):
            raise Refused(
                f"from_frame takes pandas frames, and this is a {type(each).__name__}; use from_arrays for arrays"
            )
    plain = [each if hasattr(each, "iloc") else each.to_pandas() for each in frames]
    settings = TableSettings(label, group, split, categories, missing, ignore, family)
    return from_frames(name, plain, settings, where=f"data set {name!r}", scale=scale)
