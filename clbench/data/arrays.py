"""From arrays of pixels and labels, of whatever form, to a checked :class:`~clbench.core.types.Dataset`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from clbench.core.types import Dataset, Rows
from clbench.data import pixel_values
from clbench.data.labels import encode, label_array
from clbench.data.pixel_values import Layout


def from_arrays(
    name: str,
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    *,
    class_names: Sequence[str] | None = None,
    scale: float | None = None,
    layout: Layout | None = None,
) -> Dataset:
    """Make a data set of a user's own arrays (numpy, torch, or anything ``numpy.asarray`` takes).

    Args:
        name: How records call it.
        x_train: Images (N, H, W), (N, H, W, C) or (N, C, H, W); or vectors (N, F). Images of whole numbers in [0, 255]
            are kept as uint8, everything else as float32. An array that has the right form already is not copied:
            leave it unchanged afterwards.
        y_train: (N,) or (N, 1) labels: integers, floats that hold whole numbers, truth values or strings; they are
            renumbered 0..C-1 in ascending order.
        x_test: As ``x_train``, same row shape.
        y_test: As ``y_train``; the same classes, each with at least one row.
        class_names: With integer labels: the name of label i at position i, or one name per distinct label, ascending.
        scale: What values are divided by to lie in [0, 1], such as 255; where it is at most 1, the factor itself. By
            default 255 for 8-bit values, also those held as floats, and 1 for masks of 0 and 1 and other floats.
        layout: ``NHWC`` where channels come last, ``NCHW`` where they come first; by default told from the shape.

    Raises:
        Refused: Empty or mismatched arrays, non-finite values, values or axes that can be read in several ways, or
            labels that do not fit, with the cure.
    """
    train, test = (x_train, y_train), (x_test, y_test)
    where = f"data set {name!r}"
    return assemble(name, train, test, where=where, class_names=class_names, scale=scale, layout=layout)


def assemble(
    name: str,
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    *,
    where: str,
    class_names: Sequence[str] | None = None,
    scale: float | None = None,
    layout: Layout | None = None,
) -> Dataset:
    """As :func:`from_arrays`; ``where`` is how messages call the origin, such as a file's path."""
    x_train, x_test, factor = pixel_values.read(train[0], test[0], where=where, scale=scale, layout=layout)
    raw_train = label_array(train[1], len(x_train), f"{where}: y_train")
    raw_test = label_array(test[1], len(x_test), f"{where}: y_test")
    y_train, y_test, names = encode(raw_train, raw_test, class_names, where)
    rows = Rows(x_train, y_train), Rows(x_test, y_test)
    return Dataset(name, *rows, class_names=names, scale=factor, checksum=checksum(*rows, factor))


def checksum(train: Rows, test: Rows, scale: float) -> str:
    """BLAKE2b over all arrays (type, shape, bytes) and the scale, 32 hex digits."""
    digest = hashlib.blake2b(repr(scale).encode(), digest_size=16)
    for array in (train.x, train.y, test.x, test.y):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
