"""Conversion of arrays of pixels and labels in any form to a checked :class:`~clbench.core.types.Dataset`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.core.types import Dataset, Rows
from clbench.data import pixel_values
from clbench.data.domains import numbered
from clbench.data.labels import as_array, encode, label_array
from clbench.data.number_targets import REGRESSION, labelled, number_array
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
    family: str | None = None,
    target_names: Sequence[str] | None = None,
    tokens: bool = False,
    domains: tuple[Any, Any] | None = None,
) -> Dataset:
    """Make a data set from arrays (NumPy, torch, or anything that ``numpy.asarray`` accepts).

    Args:
        name: Name of the data set in records.
        x_train: Images (N, H, W), (N, H, W, C) or (N, C, H, W), or vectors (N, F). Images of whole numbers in [0, 255]
            are stored as uint8, all others as float32. An array that has this form already is not copied: do not change
            it afterwards.
        y_train: (N,) or (N, 1) labels: integers, floats with integer values, booleans or strings. They are renumbered
            0..C-1 in ascending order.
        x_test: As ``x_train``, with the same shape of a sample.
        y_test: As ``y_train``, with the same classes, each with at least one sample.
        class_names: With integer labels: the name of label i at position i, or one name per distinct label, ascending.
        scale: Divisor that brings values to [0, 1], such as 255; a value of at most 1 is a factor. The default is 255
            for 8-bit values, also if stored as floats, and 1 for masks of 0 and 1 and other floats.
        layout: ``NHWC`` if channels are last, ``NCHW`` if they are first; by default it is derived from the shape.
        family: ``regression`` if ``y_train`` and ``y_test`` are numbers to predict, (N,) or (N, columns); by default
            they are class labels.
        target_names: With ``regression``: the name of each column.
        tokens: Whether ``x_train`` and ``x_test`` are integers that identify something, such as words: samples (N, L)
            of them reach the model as int64. By default they are values, and reach it as float32.
        domains: The domain of each training sample (N,) and of each test sample, such as a hospital or a year: integers
            or strings. The scenario ``by_group`` makes an experience of each.

    Raises:
        Refused: Arrays are empty or do not match, values are not finite, values or axes are ambiguous, or labels do not
            fit; the message says how to fix it.
    """
    train, test = (x_train, y_train), (x_test, y_test)
    where = f"data set {name!r}"
    return assemble(
        name,
        train,
        test,
        where=where,
        class_names=class_names,
        scale=scale,
        layout=layout,
        family=family,
        target_names=target_names,
        tokens=tokens,
        domains=domains,
    )


def assemble(
    name: str,
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    *,
    where: str,
    class_names: Sequence[str] | None = None,
    scale: float | None = None,
    layout: Layout | None = None,
    family: str | None = None,
    target_names: Sequence[str] | None = None,
    tokens: bool = False,
    domains: tuple[Any, Any] | None = None,
    input_names: Sequence[str] = (),
) -> Dataset:
    """Make a data set as :func:`from_arrays` does.

    Args:
        name, train, test, class_names, scale, layout, family, target_names, tokens, domains: As there.
        where: Name of the origin in messages, such as a file's path.
        input_names: The name of each value of a vector, if it has one.
    """
    if family not in (None, "classification", REGRESSION):
        raise Refused(
            f"{where}: family = {family!r} is not known here; choose classification (class labels) or {REGRESSION} "
            "(numbers to predict)",
            "family",
        )
    if tokens:
        x_train, x_test, factor = *(token_rows(x, where) for x in (train[0], test[0])), 1.0
    else:
        x_train, x_test, factor = pixel_values.read(train[0], test[0], where=where, scale=scale, layout=layout)
    if family == REGRESSION:
        target = (
            number_array(train[1], len(x_train), f"{where}: y_train"),
            number_array(test[1], len(x_test), f"{where}: y_test"),
        )
        made = labelled((x_train, x_test), target, name=name, where=where, scale=factor, target_names=target_names)
        made = replace(made, checksum=checksum(made.train, made.test, factor), tokens=tokens)
        return _with_domains(replace(made, input_names=tuple(input_names)), domains, where)
    raw_train = label_array(train[1], len(x_train), f"{where}: y_train")
    raw_test = label_array(test[1], len(x_test), f"{where}: y_test")
    y_train, y_test, names = encode(raw_train, raw_test, class_names, where)
    rows = Rows(x_train, y_train), Rows(x_test, y_test)
    made = Dataset(
        name,
        *rows,
        class_names=names,
        scale=factor,
        checksum=checksum(*rows, factor),
        tokens=tokens,
        input_names=tuple(input_names),
    )
    return _with_domains(made, domains, where)


def _with_domains(dataset: Dataset, domains: tuple[Any, Any] | None, where: str) -> Dataset:
    """Return the data set with the domain of each sample, which its checksum then covers."""
    if domains is None:
        return dataset
    codes, names = numbered(domains, (len(dataset.train), len(dataset.test)), where)
    train, test = (replace(rows, domain=code) for rows, code in zip((dataset.train, dataset.test), codes, strict=True))
    total = checksum(train, test, dataset.scale)
    return replace(dataset, train=train, test=test, domain_names=names, checksum=total)


def token_rows(value: Any, where: str) -> NDArray[np.int64]:
    """Return samples (N, L) of integers from 0 on, as int64.

    Raises:
        Refused: They are something else.
    """
    x = as_array(value, where)
    if x.ndim != 2 or not x.size or x.dtype.kind not in "iu" or int(x.min()) < 0:
        raise Refused(
            f"{where} has inputs of shape {x.shape} and type {x.dtype}; tokens are integers from 0 on in samples "
            "(N, length); leave tokens out if these are values"
        )
    return np.ascontiguousarray(x, dtype=np.int64)


def checksum(train: Rows, test: Rows, scale: float) -> str:
    """Return BLAKE2b over all arrays (type, shape, bytes) and the scale, 32 hex digits."""
    digest = hashlib.blake2b(repr(scale).encode(), digest_size=16)
    more = [each for rows in (train, test) for each in (rows.target, rows.domain, rows.listed) if each is not None]
    for array in (train.x, train.y, test.x, test.y, *more):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
