"""Conversion of labels in any form to classes 0..C-1 with names; labels that cannot be classes are refused."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.types import Index

Labels = NDArray[Any]


def encode(
    train: Labels, test: Labels, class_names: Sequence[str] | None, where: str
) -> tuple[Index, Index, tuple[str, ...]]:
    """Return classes 0..C-1 in ascending order of the labels, and their names.

    Args:
        train: (N,) labels of :func:`label_array`.
        test: As ``train``, with the same classes, each with at least one sample.
        class_names: With integer labels: the name of label i at position i, or one name per distinct label, ascending.
        where: Name of the origin in messages.

    Raises:
        Refused: Labels or names do not fit; the message says how to fix it.
    """
    if train.dtype.kind == test.dtype.kind == "b" and class_names is None:
        class_names = ("False", "True")
    train, test = _alike(train, test, where)
    kinds, names = _classes(train, class_names, where)
    _check_test_labels(test, kinds, names, where)
    return np.searchsorted(kinds, train).astype(np.int64), np.searchsorted(kinds, test).astype(np.int64), names


def label_array(value: Any, rows: int, where: str) -> Labels:
    """Return labels as (N,) int64, strings or booleans, one per sample. Floats with integer values become integers."""
    y = as_array(value, where)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise Refused(
            f"{where} has shape {y.shape}; pass one class label per sample, shape (N,), not one-hot rows (which hold "
            "the labels y.argmax(1))"
        )
    if len(y) != rows:
        raise Refused(f"{where} has {len(y)} labels for {rows} samples; pass exactly one label per sample")
    if y.dtype.kind in "OT":
        y = _from_objects(y, where)
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8")
    if y.dtype.kind == "f":
        y = _whole(y, where)
    if y.dtype.kind not in "iuUb":
        raise Refused(f"{where} has labels of type {y.dtype}; labels must be integers or strings")
    return y.astype(np.int64) if y.dtype.kind in "iu" else y


def as_array(value: Any, where: str) -> NDArray[Any]:
    """Convert to an array anything that ``numpy.asarray`` accepts, torch tensors, and sparse matrices."""
    if np.ma.isMaskedArray(value) and np.ma.getmaskarray(value).any():
        raise Refused(f"{where} has masked values; fill them or remove their samples")
    try:
        if hasattr(value, "detach"):
            tensor = value.detach().cpu()
            return np.asarray(tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor)
        return np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise Refused(
            f"{where} is not an array ({error}); pass a numpy array or torch tensor with rows of equal length"
        ) from None


def _from_objects(y: NDArray[Any], where: str) -> Labels:
    """Convert labels of Python's own types."""
    absent = [i for i, label in enumerate(y) if label is None or label != label]
    if absent:
        raise Refused(f"{where} has no label in row {absent[0]} ({len(absent)} in all); remove such rows or label them")
    for kinds, dtype in (
        ((str,), str),
        ((bool, np.bool_), bool),
        ((Integral,), np.int64),
        ((Real,), np.float64),
        ((bytes,), np.bytes_),
    ):
        if all(isinstance(label, kinds) for label in y):
            return y.astype(dtype)
    found = sorted({type(label).__name__ for label in y})
    raise Refused(f"{where} has labels of type {' and '.join(found)}; labels must be integers or strings, all alike")


def _whole(y: NDArray[Any], where: str) -> Index:
    """Convert floats with integer values to integers."""
    absent = np.flatnonzero(~np.isfinite(y))
    if len(absent):
        raise Refused(f"{where} has no label in row {absent[0]} ({len(absent)} in all); remove such rows or label them")
    broken = y[y != np.rint(y)]
    if len(broken):
        raise Refused(
            f"{where} has labels such as {broken[0]:g}, which are not whole numbers; labels must be integers or "
            "strings that name classes; where these are numbers to be predicted, set family: regression"
        )
    return y.astype(np.int64)


def _alike(train: Labels, test: Labels, where: str) -> tuple[Labels, Labels]:
    """Convert both label arrays to int64, or both to strings."""
    train, test = (y.astype(np.int64) if y.dtype.kind == "b" else y for y in (train, test))
    if train.dtype.kind == test.dtype.kind:
        return train, test
    found = [_numbers(y) if y.dtype.kind == "U" else y for y in (train, test)]
    if found[0] is None or found[1] is None:
        raise Refused(
            f"{where}: training labels are {_kind(train)} and test labels {_kind(test)}; write both in the same way"
        )
    return found[0], found[1]


def _numbers(y: Labels) -> Index | None:
    """Return the integers that strings contain; ``None`` if one of them is no integer."""
    try:
        spelled = y.astype(np.float64)
    except ValueError:
        return None
    return spelled.astype(np.int64) if (spelled == np.rint(spelled)).all() else None


def _kind(y: Labels) -> str:
    return f"{'strings' if y.dtype.kind == 'U' else 'integers'} (such as {y[0].item()!r})"


def _classes(raw: Labels, class_names: Sequence[str] | None, where: str) -> tuple[Labels, tuple[str, ...]]:
    """Return the distinct training labels, ascending, and their names."""
    kinds = np.unique(raw)
    if class_names is None:
        return kinds, tuple(str(kind) for kind in kinds)
    if kinds.dtype.kind == "U":
        raise Refused(f"{where}: class_names goes with integer labels, but labels are strings already; leave it out")
    if kinds[0] >= 0 and kinds[-1] < len(class_names):
        return kinds, tuple(str(class_names[kind]) for kind in kinds)
    if len(kinds) == len(class_names):
        return kinds, tuple(str(name) for name in class_names)
    raise Refused(
        f"{where}: training labels go from {kinds[0]} to {kinds[-1]} ({len(kinds)} distinct), but there are "
        f"{len(class_names)} class names; correct the labels or give one name per label"
    )


def _check_test_labels(raw: Labels, kinds: Labels, names: tuple[str, ...], where: str) -> None:
    unknown = np.setdiff1d(raw, kinds)
    if len(unknown):
        raise Refused(
            f"{where}: test labels {some(unknown)} do not occur among the training labels {some(kinds)}; correct "
            f"them or remove their samples"
        )
    missing = [name for kind, name in zip(kinds, names, strict=True) if kind not in raw]
    if missing:
        raise Refused(
            f"{where}: no test samples for class {some(missing)}, so it could not be evaluated; add test samples, or "
            f"remove its training samples"
        )


def some(values: Sequence[Any] | NDArray[Any]) -> str:
    """Format the first five values for a message."""
    text = ", ".join(str(value) for value in values[:5])
    return text + (f", ... ({len(values)} in all)" if len(values) > 5 else "")


def check_range(y: NDArray[Any], classes: int, where: str) -> None:
    """Refuse integer labels outside of ``[0, classes)``; in a file that names its classes they mean damage."""
    wrong = y[(y < 0) | (y >= classes)] if y.dtype.kind in "iu" else y[:0]
    if len(wrong):
        raise Refused(
            f"{where}: {len(wrong)} labels are out of range (the first is {wrong[0]}); with {classes} classes they "
            f"must lie in 0..{classes - 1}; repair the file or get it again"
        )
