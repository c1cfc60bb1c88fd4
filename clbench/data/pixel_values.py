"""The meaning of numbers in an array: which axis holds the channels, and which factor brings values to [0, 1].

Both are derived from shapes and values if there is a single interpretation. If there are two, the data set is refused
until its ``layout`` or ``scale`` is set.
"""

from __future__ import annotations

from numbers import Real
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused, did_you_mean
from clbench.data.labels import as_array

Layout = Literal["NCHW", "NHWC"]
"""Channels first, or channels last."""

DIM = 32
"""8-bit images with a smaller largest value are assumed to have fewer bits."""
FAR = 32.0
"""Largest absolute value of floats that may be standardised, or features; larger ones have another scale."""

Values = NDArray[Any]


def read(
    train: Any, test: Any, *, where: str, scale: float | None = None, layout: Layout | None = None
) -> tuple[Values, Values, float]:
    """Return training and test samples as uint8 or float32, images as (N, C, H, W), and the factor to [0, 1].

    Args:
        train: Images (N, H, W), (N, H, W, C) or (N, C, H, W), or vectors (N, F).
        test: As ``train``, with the same shape of a sample.
        where: Name of the origin in messages.
        scale: Divisor of the values, or factor if at most 1; by default it is derived from the values.
        layout: Position of the channels; by default it is derived from the shape.

    Raises:
        Refused: Arrays are empty, do not match or are ambiguous, or values are not finite.
    """
    named = {f"{where}: x_train": train, f"{where}: x_test": test}
    arrays = [_images_first(_numbers(value, name), layout, name) for name, value in named.items()]
    for array, name in zip(arrays, named, strict=True):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Refused(f"{name} contains NaN or infinite values; replace them or remove their samples")
    dtype, factor = _kept_as(arrays, scale, where)
    x_train, x_test = (np.require(_cast(array, dtype), _stored(array, dtype), ["C", "W"]) for array in arrays)
    if x_train.shape[1:] != x_test.shape[1:] or x_train.dtype != x_test.dtype or _mixed(arrays):
        raise Refused(
            f"{where}: training samples are {arrays[0].dtype} of shape {x_train.shape[1:]} and test samples "
            f"{arrays[1].dtype} of shape {x_test.shape[1:]}; bring both to the same type and shape"
        )
    return x_train, x_test, factor


def _mixed(arrays: list[Values]) -> bool:
    """Return whether one array holds images as floats and the other as integers, perhaps on another scale."""
    return all(x.ndim == 4 for x in arrays) and {x.dtype.kind in "iu" for x in arrays} == {True, False}


def _cast(array: Values, dtype: type | None) -> Values:
    return array if dtype is None else array.astype(dtype, copy=False)


def _stored(array: Values, dtype: type | None) -> Any:
    kind = array.dtype if dtype is None else np.dtype(dtype)
    return np.uint8 if kind == np.uint8 else np.float32


def _numbers(value: Any, where: str) -> Values:
    x = as_array(value, where)
    if x.ndim not in (2, 3, 4) or x.size == 0 or x.dtype.kind not in "buif":
        raise Refused(
            f"{where} has shape {x.shape} and type {x.dtype}; it must hold numbers, at least one sample, as images "
            f"(N, H, W), (N, H, W, C) or (N, C, H, W), or as vectors (N, F)"
        )
    return x


# --------------------------------------------------------------------------------------------------- axes


def _images_first(x: Values, layout: Layout | None, where: str) -> Values:
    """Return images as (N, C, H, W), and vectors unchanged."""
    if layout not in (None, *get_args(Layout)):
        raise Refused(f"layout = {layout!r} is not known; {did_you_mean(str(layout), get_args(Layout))}", "layout")
    if layout is not None and x.ndim != 4:
        raise Refused(f"{where} has samples of shape {x.shape[1:]}, which have no axis of channels; leave layout out")
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 2:
        return x
    last = channels_last(x.shape[1:]) if layout is None else layout == "NHWC"
    if last is None:
        raise Refused(
            f"{where} has samples of shape {x.shape[1:]}, and it is ambiguous which axis holds the channels; set "
            "layout of the data set to NHWC if they are last, or to NCHW if they are first"
        )
    return x.transpose(0, 3, 1, 2) if last else x


def channels_last(shape: tuple[int, ...]) -> bool | None:
    """Return whether channels are the last axis of images of a shape, or the first; ``None`` if ambiguous.

    An axis of 1 or 3 holds them; the first axis is preferred to the last. Otherwise, two equal axes longer than 4 are
    height and width. Otherwise, an axis of 2 or 4 beside two longer ones holds them.
    """
    first, middle, last = shape
    if first in (1, 3) or last in (1, 3):
        return first not in (1, 3)
    if middle == last != first:
        return False
    if first == middle != last:
        return True if middle > 4 else None
    if last in (2, 4) and min(first, middle) > 4:
        return True
    if first in (2, 4) and min(middle, last) > 4:
        return False
    return None


# --------------------------------------------------------------------------------------------------- scale


def _kept_as(arrays: list[Values], scale: float | None, where: str) -> tuple[type | None, float]:
    """Return the type of stored samples, ``None`` for their own, and the factor that brings them to [0, 1]."""
    low, high = min(float(x.min()) for x in arrays), max(float(x.max()) for x in arrays)
    images, byte = arrays[0].ndim == 4, low >= 0 and high <= 255
    integers = all(x.dtype.kind in "iu" for x in arrays)
    eight_bit = all(x.dtype == np.uint8 for x in arrays) or (integers and images and byte)
    if _mixed(arrays):
        return None, 1.0  # and refused
    if scale is not None:
        return np.uint8 if eight_bit else None, factor(scale)
    if images and high > FAR and low >= 0 and not integers:
        _same_scale(arrays, where)
    if eight_bit:
        return np.uint8, _eight_bit(low, high, where)
    if all(x.dtype.kind in "iuf" for x in arrays) and low >= 0 and (images or (low, high) == (0, 255)):
        if high > 1 and all(map(_whole, arrays)):
            if byte:
                return np.uint8, _eight_bit(low, high, where)
            raise _off(low, high, where)
        if images and 128 <= high <= 255:
            return None, 1 / 255
    if images and (integers or max(-low, high) > FAR):
        raise _off(low, high, where)
    return None, 1.0


def _same_scale(arrays: list[Values], where: str) -> None:
    """Refuse images if one split has been brought to [0, 1] and the other has not."""
    highest = [float(x.max()) for x in arrays]
    if any(top <= 1 and not _whole(x) for top, x in zip(highest, arrays, strict=True)):
        raise Refused(
            f"{where} has training values up to {highest[0]:.6g} and test values up to {highest[1]:.6g}; bring both to "
            "the same scale, or set scale of the data set where they are"
        )


def factor(scale: float) -> float:
    """Return the factor for a setting ``scale``: 255 and 1/255 mean the same."""
    if not isinstance(scale, Real) or not (scale > 0 and np.isfinite(scale)):
        raise Refused(
            f"scale = {scale!r} is not allowed: it is the divisor of the values, above 0, such as 255", "scale"
        )
    return float(scale) if scale <= 1 else 1 / float(scale)


def _eight_bit(low: float, high: float, where: str) -> float:
    if high == 1:  # a mask
        return 1.0
    if 1 < high < DIM:
        raise _off(low, high, where)
    return 1 / 255


def _off(low: float, high: float, where: str) -> Refused:
    return Refused(
        f"{where} has values from {low:.6g} to {high:.6g}, and models need values in [0, 1]; set scale of the "
        "data set to the largest possible value (16, 255, 4095 for 12 bits, 65535 for 16), or to 1 to take them as "
        "they are"
    )


def _whole(x: Values) -> bool:
    """Return whether all values are integers; in chunks, to avoid a second copy of everything."""
    if x.dtype.kind in "iu":
        return True
    return all(bool((part == np.rint(part)).all()) for part in (x[i : i + 1024] for i in range(0, len(x), 1024)))
