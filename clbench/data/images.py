"""Decoding of images of any kind into one array."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clbench.core.errors import Refused
from clbench.data.resizing import check_resize, resized
from clbench.data.row_files import RowFile

if TYPE_CHECKING:
    from PIL.Image import Image

NAMED = 5
"""Number of broken images that a message names."""


class _Broken(Refused):
    """Report an image that cannot be used, while others may be broken too.

    Args:
        what: Its name, and what is wrong.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; replace it or remove it")
        self.what = what


GREY_MODES = ("1", "L", "LA")


def decode_all(
    count: int,
    open_image: Callable[[int], Image],
    *,
    where: Callable[[int], str],
    size: int | None,
    background: str | None = None,
    resize: Mapping[str, Any] | None = None,
    resume: bool = True,
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
        resume: Whether images that an earlier, killed build has decoded need not be opened again.

    Returns:
        (N, C, H, W) with one channel if all images are grey, otherwise three. While a data set is made for the cache,
        rows are written to its files one by one, so that they are never all in memory.

    Raises:
        Refused: Images are unreadable, of which the message names the first ones; or the shape of one differs from that
            of the first one.
    """
    check_resize(size, resize)
    out = RowFile(count, resume=resume)
    broken: list[_Broken] = []
    for i in range(out.done, count):
        try:
            pixels = _decode(i, open_image, where, size, background or "black", resize)  # (C, H, W)
        except _Broken as error:
            broken.append(error)
        if broken:
            continue  # the others are only checked
        shape = pixels.shape if out.shape is None else out.shape
        if pixels.shape[1:] != shape[1:]:
            raise Refused(
                f"{where(i)} is {pixels.shape[2]}x{pixels.shape[1]} pixels and {where(0)} is "
                f"{shape[2]}x{shape[1]}; set 'size' in the dataset mapping to bring all images to one size, "
                "or resize: {shorter: 256, crop: 224}"
            )
        if len(pixels) > shape[0]:
            out.repeat_channel(3)
        elif len(pixels) < shape[0]:
            pixels = pixels.repeat(3, axis=0)  # a grey image among those with colours
        out.append(pixels[None])
    if len(broken) == 1:
        raise broken[0]
    if broken:
        first = "; ".join(error.what for error in broken[:NAMED]) + ("; ..." if len(broken) > NAMED else "")
        raise Refused(f"{len(broken)} of {count} images cannot be used: {first}; replace them or remove them")
    return out.finish()


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
        raise _Broken(f"{where(i)} is not a readable image ({error})") from error
    except Exception as error:
        if type(error).__name__ != "DecompressionBombError":
            raise
        raise _Broken(f"{where(i)} has far more pixels than a picture should have ({error})") from error
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
