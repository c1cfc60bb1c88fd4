"""Decoding of images of any kind into one array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.data.resizing import check_resize, resized

if TYPE_CHECKING:
    from PIL.Image import Image

GREY_MODES = ("1", "L", "LA")


def decode_all(
    count: int,
    open_image: Callable[[int], Image],
    *,
    where: Callable[[int], str],
    size: int | None,
    background: str | None = None,
    resize: Mapping[str, Any] | None = None,
) -> NDArray[np.uint8]:
    """Decode ``count`` images of one shape, with the orientation of their EXIF data.

    Args:
        count: Number of images, at least 1.
        open_image: A function from a position to its image.
        where: A function from a position to the image's name in messages.
        size: Side in pixels to resize to; ``None`` keeps the size of images.
        background: Colour behind transparent pixels: ``black``, ``white``, ``grey`` or ``#rrggbb``; black by default.
            With a colour that is not grey, images with transparency become colour images.
        resize: Shorter side, crop and interpolation; see :func:`clbench.data.resizing.resized`.

    Returns:
        (N, C, H, W) with one channel if all images are grey, otherwise three.

    Raises:
        Refused: An image is unreadable, or its shape differs from that of the first one; the message names it.
    """
    check_resize(size, resize)
    out: NDArray[np.uint8] = np.empty((0, 1, 0, 0), dtype=np.uint8)
    for i in range(count):
        pixels = _decode(i, open_image, where, size, background or "black", resize)  # (C, H, W)
        if i == 0:
            out = np.empty((count, *pixels.shape), dtype=np.uint8)
        if pixels.shape[1:] != out.shape[2:]:
            raise Refused(
                f"{where(i)} is {pixels.shape[2]}x{pixels.shape[1]} pixels and {where(0)} is "
                f"{out.shape[3]}x{out.shape[2]}; set 'size' in the dataset mapping to bring all images to one size, "
                "or resize: {shorter: 256, crop: 224}"
            )
        if len(pixels) > out.shape[1]:
            out = out.repeat(3, axis=1)
        out[i] = pixels  # a grey image is repeated over the three channels
    return out


def _decode(
    i: int,
    open_image: Callable[[int], Image],
    where: Callable[[int], str],
    size: int | None,
    background: str,
    resize: Mapping[str, Any] | None,
) -> NDArray[np.uint8]:
    try:
        image: Any = _upright(open_image(i))
        if image.mode.startswith(("I", "F")):
            raise Refused(f"{where(i)} has more than 8 bits per channel (mode {image.mode!r}); convert it to 8 bits")
        if image.has_transparency_data:
            image = _over(background, image)
        image = image.convert("L" if image.mode in GREY_MODES else "RGB")
        pixels = np.asarray(resized(image, size, resize, where(i)))
    except Refused:
        raise
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # Pillow raises all of these for damaged files
        raise Refused(f"{where(i)} is not a readable image ({error}); replace it or remove it") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _upright(image: Image) -> Image:
    """Rotate and mirror the image according to its EXIF orientation."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _over(background: str, image: Any) -> Any:
    """Draw an image with transparent pixels over a plain background."""
    from PIL import Image, ImageColor

    colour = ImageColor.getrgb(background)
    grey = image.mode in GREY_MODES and len(set(colour)) == 1
    ground = Image.new("RGBA", image.size, colour)
    flat = Image.alpha_composite(ground, image.convert("RGBA"))
    return flat.convert("RGB").getchannel(0) if grey else flat.convert("RGB")
