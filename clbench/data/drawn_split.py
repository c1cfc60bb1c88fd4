"""Test samples of a data set that comes in one part: the setting ``split``, and a stratified draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from clbench.core.errors import Refused
from clbench.core.types import Index, Mask
from clbench.data.domains import strata
from clbench.data.labels import label_array
from clbench.data.number_targets import REGRESSION, number_array
from clbench.data.number_targets import strata as ranges
from clbench.data.row_files import taken
from clbench.data.stratified import SPLIT_SEED, of_each, stratified


def split_off_test(
    x: NDArray[Any],
    y: NDArray[Any],
    purpose: str = "data/test",
    *,
    test: float = 0.2,
    where: str,
    groups: Index | None = None,
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Split a data set without a test split by a fixed stratified draw, equal for every seed of a run.

    Args:
        x: (N, ...) samples.
        y: (N,) labels of any kind.
        purpose, test, where: As in :func:`draw_test`.
        groups: (N,) groups to stratify by instead of labels.

    Raises:
        Refused: A class has a single sample, or would have no training sample.
    """
    held = draw_test(y if groups is None else groups, purpose, test=test, where=where)
    return [(taken(x, kept), y[kept]) for kept in (~held, held)]


def draw_test(
    y: NDArray[Any],
    purpose: str = "data/test",
    *,
    test: float = 0.2,
    seed: int = SPLIT_SEED,
    where: str,
    domains: NDArray[Any] | None = None,
) -> Mask:
    """Choose the test samples of a data set that has none, in proportion to the size of classes.

    Args:
        y: (N,) labels of any kind, or groups of samples.
        purpose: Purpose of the draw.
        test: Fraction of test samples; at least one of each class.
        seed: Seed of the draw.
        where: Name of the data set in messages.
        domains: (N,) domains; test samples are then drawn from each class of each domain that has two samples or more.

    Returns:
        (N,) mask of the test samples.

    Raises:
        Refused: A class or domain has a single sample, or would have no training sample.
    """
    for what, of in (("class", y), *([] if domains is None else [("domain", domains)])):
        names, counts = np.unique(of, return_counts=True)
        if counts.min() < 2:
            raise Refused(
                f"{where}: {what} {str(names[counts.argmin()])!r} has a single sample, which cannot be both a training "
                "and a test sample; add samples of it, remove it, or give training and test samples separately"
            )
    kinds = np.unique(y, return_inverse=True)[1]
    classes = int(kinds.max()) + 1
    if domains is None:
        held = stratified(kinds, min(len(y), max(classes, round(len(y) * test))), purpose, seed)
    else:
        held = of_each(strata(kinds, domains), test, purpose, seed)
    if len(np.unique(kinds[~held])) < classes:
        raise Refused(f"{where}: test = {test:g} leaves a class without training samples; choose a smaller fraction")
    return held


def groups_to_draw(y: Any, rows: int, family: str | None, where: str) -> NDArray[Any]:
    """Return what test samples are drawn in proportion to, (N,): the labels, or the ranges of numbers to predict.

    Args:
        y: (N,) labels, or with ``regression`` (N,) or (N, D) numbers.
        rows: N.
        family: The family of the data set.
        where: Name of ``y`` in messages.

    Raises:
        Refused: These are no labels, or no numbers.
    """
    return ranges(number_array(y, rows, where)) if family == REGRESSION else label_array(y, rows, where)


def written_split(written: Any) -> Any:
    """Return the setting ``split`` with its values filled in; a column's name stays as it is.

    Raises:
        ValueError: A key is unknown, or a value is not allowed.
    """
    if not isinstance(written, Mapping):
        return written
    filled = {"test": 0.2, "seed": SPLIT_SEED, **written}
    unknown = sorted(set(filled) - {"test", "seed"})
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not known in it; write {{test: 0.2, seed: 0}}, or the name of a column")
    test, seed = filled["test"], filled["seed"]
    if isinstance(test, bool) or not isinstance(test, int | float) or not 0 < test < 1:
        raise ValueError(f"test = {test!r} is no fraction of test samples, in (0, 1); write {{test: 0.2, seed: 0}}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed = {seed!r} is not a whole number from 0 on; write {{test: 0.2, seed: 0}}")
    return {"test": float(test), "seed": seed}


Split = Annotated[str | dict[str, Any] | None, AfterValidator(written_split)]
"""How a data set is divided: a column's name, or ``{test: 0.2, seed: 0}`` for a draw."""


def drawn(split: Any, where: str) -> dict[str, Any]:
    """Return ``test`` and ``seed`` for :func:`draw_test`, from the setting ``split`` of data that is no table.

    Raises:
        Refused: It names a column.
    """
    if isinstance(split, str):
        raise Refused(f"{where}: split = {split!r} names a column; write split: {{test: 0.2, seed: 0}}", "split")
    try:
        filled: dict[str, Any] = written_split(split or {})
    except ValueError as error:
        raise Refused(f"{where}: split: {error}", "split") from None
    return filled


def refuse_split(split: Any, where: str) -> None:
    """Refuse the setting ``split`` of data that has test samples of its own."""
    if split is not None:
        raise Refused(f"{where} has test samples of its own, and split is set; leave split out", "split")
