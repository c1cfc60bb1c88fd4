"""Decoding images of any kind into one array."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clbench.parameters import Refused

if TYPE_CHECKING:
    from PIL.Image import Image

GREY_MODES = ("1", "L", "LA")


def decode_all(
    count: int, open_image: Callable[[int], Image], *, where: Callable[[int], str], size: int | None
) -> NDArray[np.uint8]:
    """Decode ``count`` images of one shape.

    Args:
        count: How many, at least 1.
        open_image: From a position to its image.
        where: From a position to how messages call it.
        size: Side in pixels to resize to; ``None`` leaves images as they are.

    Returns:
        (N, C, H, W) with one channel if all images are grey, else three.

    Raises:
        Refused: An unreadable image, or one whose shape differs from the first one's, by name.
    """
    out: NDArray[np.uint8] = np.empty((0, 1, 0, 0), dtype=np.uint8)
    for i in range(count):
        pixels = _decode(i, open_image, where, size)  # (C, H, W)
        if i == 0:
            out = np.empty((count, *pixels.shape), dtype=np.uint8)
        if pixels.shape[1:] != out.shape[2:]:
            raise Refused(
                f"{where(i)} is {pixels.shape[2]}x{pixels.shape[1]} pixels and {where(0)} is "
                f"{out.shape[3]}x{out.shape[2]}; set 'size' in the dataset mapping to bring all images to one size"
            )
        if len(pixels) > out.shape[1]:
            out = out.repeat(3, axis=1)
        out[i] = pixels  # a grey image is spread over the three channels
    return out


def _decode(
    i: int, open_image: Callable[[int], Image], where: Callable[[int], str], size: int | None
) -> NDArray[np.uint8]:
    try:
        image: Any = open_image(i)
        if image.mode.startswith(("I", "F")):
            raise Refused(f"{where(i)} has more than 8 bits per channel (mode {image.mode!r}); convert it to 8 bits")
        image = image.convert("L" if image.mode in GREY_MODES else "RGB")
        if size is not None:
            image = image.resize((size, size), resample=_bilinear())
        pixels = np.asarray(image)
    except Refused:
        raise
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # Pillow raises all of these for broken files
        raise Refused(f"{where(i)} is not a readable image ({error}); replace it or remove it") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _bilinear() -> Any:
    from PIL.Image import Resampling

    return Resampling.BILINEAR
