"""From arrays of pixels and labels, of whatever form, to a checked :class:`~clbench.types.Dataset`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.parameters import Refused
from clbench.types import Dataset, Index, Rows


def from_arrays(
    name: str,
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    *,
    class_names: Sequence[str] | None = None,
    scale: float | None = None,
) -> Dataset:
    """Make a data set of a user's own arrays (numpy, torch, or anything ``numpy.asarray`` takes).

    Args:
        name: How records call it.
        x_train: Images (N, H, W), (N, H, W, C) with C of 1 or 3, or (N, C, H, W); or vectors (N, F). Integer images in
            [0, 255] are kept as uint8, everything else as float32. An array that has the right form already is not
            copied: leave it unchanged afterwards.
        y_train: (N,) or (N, 1) integer or string labels; they are renumbered 0..C-1 in ascending order.
        x_test: As ``x_train``, same row shape.
        y_test: As ``y_train``; the same classes, each with at least one row.
        class_names: With integer labels: the name of label i at position i, or one name per distinct label, ascending.
        scale: Factor from stored values to [0, 1]; by default 1/255 for uint8 and 1 for floats.

    Raises:
        Refused: Empty or mismatched arrays, non-finite values, or labels that do not fit, with the cure.
    """
    return assemble(
        name, (x_train, y_train), (x_test, y_test), where=f"data set {name!r}", class_names=class_names, scale=scale
    )


def assemble(
    name: str,
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    *,
    where: str,
    class_names: Sequence[str] | None = None,
    scale: float | None = None,
) -> Dataset:
    """As :func:`from_arrays`; ``where`` is how messages call the origin, such as a file's path."""
    x_train, x_test = _values(train[0], f"{where}: x_train"), _values(test[0], f"{where}: x_test")
    if x_train.shape[1:] != x_test.shape[1:] or x_train.dtype != x_test.dtype:
        raise Refused(
            f"{where}: training rows are {x_train.dtype} of shape {x_train.shape[1:]} and test rows {x_test.dtype} of "
            f"shape {x_test.shape[1:]}; bring both to the same type and shape"
        )
    raw_train = _label_array(train[1], len(x_train), f"{where}: y_train")
    raw_test = _label_array(test[1], len(x_test), f"{where}: y_test")
    kinds, names = _classes(raw_train, class_names, where)
    _check_test_labels(raw_test, kinds, names, where)
    rows = Rows(x_train, _encode(raw_train, kinds)), Rows(x_test, _encode(raw_test, kinds))
    factor = float(scale) if scale is not None else (1 / 255 if x_train.dtype == np.uint8 else 1.0)
    return Dataset(name, *rows, class_names=names, scale=factor, checksum=checksum(*rows, factor))


def checksum(train: Rows, test: Rows, scale: float) -> str:
    """BLAKE2b over all arrays (type, shape, bytes) and the scale, 32 hex digits."""
    digest = hashlib.blake2b(repr(scale).encode(), digest_size=16)
    for array in (train.x, train.y, test.x, test.y):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _numpy(value: Any, where: str) -> NDArray[Any]:
    try:
        return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (ValueError, TypeError) as error:
        raise Refused(
            f"{where} is not an array ({error}); pass a numpy array or torch tensor with equal rows"
        ) from None


def _values(value: Any, where: str) -> NDArray[Any]:
    """Rows as uint8 or float32, images as (N, C, H, W)."""
    x = _numpy(value, where)
    if x.ndim not in (2, 3, 4) or x.size == 0 or x.dtype.kind not in "buif":
        raise Refused(
            f"{where} has shape {x.shape} and type {x.dtype}; it must hold numbers, at least one row, as images "
            f"(N, H, W), (N, H, W, C) or (N, C, H, W), or as vectors (N, F)"
        )
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    if x.ndim == 4 and x.dtype.kind in "iu" and x.dtype != np.uint8 and x.min() >= 0 and x.max() <= 255:
        x = x.astype(np.uint8)
    x = np.require(x, np.uint8 if x.dtype == np.uint8 else np.float32, ["C", "W"])
    if x.dtype == np.float32 and not np.isfinite(x).all():
        raise Refused(f"{where} contains NaN or infinite values; replace them or drop their rows")
    return x


def _label_array(value: Any, rows: int, where: str) -> NDArray[Any]:
    """Labels as (N,) int64 or strings, one per row."""
    y = _numpy(value, where)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise Refused(f"{where} has shape {y.shape}; pass one class label per row, shape (N,), not one-hot rows")
    if len(y) != rows:
        raise Refused(f"{where} has {len(y)} labels for {rows} rows; pass exactly one label per row")
    if y.dtype.kind == "O" and all(isinstance(label, str) for label in y):
        y = y.astype(str)
    if y.dtype.kind not in "iuU":
        raise Refused(f"{where} has labels of type {y.dtype}; labels must be integers or strings")
    return y.astype(np.int64) if y.dtype.kind in "iu" else y


def _classes(raw: NDArray[Any], class_names: Sequence[str] | None, where: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The distinct training labels, ascending, and their names."""
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


def _check_test_labels(raw: NDArray[Any], kinds: NDArray[Any], names: tuple[str, ...], where: str) -> None:
    unknown = np.setdiff1d(raw, kinds) if raw.dtype.kind == kinds.dtype.kind else np.unique(raw)
    if len(unknown):
        raise Refused(
            f"{where}: test labels {_some(unknown)} do not occur among the training labels {_some(kinds)}; correct "
            f"them or drop their rows"
        )
    missing = [name for kind, name in zip(kinds, names, strict=True) if kind not in raw]
    if missing:
        raise Refused(
            f"{where}: no test rows for class {_some(missing)}, so it could not be evaluated; add test rows, or drop "
            f"its training rows"
        )


def _encode(raw: NDArray[Any], kinds: NDArray[Any]) -> Index:
    return np.searchsorted(kinds, raw).astype(np.int64)


def _some(values: Sequence[Any] | NDArray[Any]) -> str:
    """The first five, for a message."""
    text = ", ".join(str(value) for value in values[:5])
    return text + (f", ... ({len(values)} in all)" if len(values) > 5 else "")


def check_range(y: NDArray[Any], classes: int, where: str) -> None:
    """Refuse integer labels outside of ``[0, classes)``: in a file that names its classes they mean damage."""
    wrong = y[(y < 0) | (y >= classes)] if y.dtype.kind in "iu" else y[:0]
    if len(wrong):
        raise Refused(
            f"{where}: {len(wrong)} labels are out of range (the first is {wrong[0]}); with {classes} classes they "
            f"must lie in 0..{classes - 1}; repair the file or get it again"
        )
