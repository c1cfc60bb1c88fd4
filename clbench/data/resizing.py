"""How pictures are brought to one size: the shorter side, then the centre, as papers on pretrained models do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from clbench.core.errors import Refused, did_you_mean

INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos", "box", "hamming")
EXAMPLE = "write {shorter: 256, crop: 224, interpolation: bicubic}"


def written_resize(written: Any) -> Any:
    """Return the setting ``resize`` with its interpolation filled in.

    Raises:
        ValueError: A key is unknown, or a value is not allowed.
    """
    if not isinstance(written, Mapping):
        return written
    filled = {"interpolation": "bilinear", **written}
    unknown = sorted(set(filled) - {"shorter", "crop", "interpolation"}, key=str)
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not known in it; {EXAMPLE}")
    sides = {name: filled[name] for name in ("shorter", "crop") if filled.get(name) is not None}
    if not sides:
        raise ValueError(f"it names no side in pixels; {EXAMPLE}")
    for name, side in sides.items():
        if isinstance(side, bool) or not isinstance(side, int) or side < 1:
            raise ValueError(f"{name} = {side!r} is no number of pixels; {EXAMPLE}")
    if sides.get("crop", 0) > sides.get("shorter", sides.get("crop", 0)):
        raise ValueError(
            f"crop = {sides['crop']} is larger than shorter = {sides['shorter']}, so it would go beyond the picture; "
            "choose a crop of at most the shorter side"
        )
    how = filled["interpolation"]
    if how not in INTERPOLATIONS:
        raise ValueError(f"interpolation = {how!r} does not exist; {did_you_mean(str(how), INTERPOLATIONS)}")
    return {**sides, "interpolation": how}


Resize = Annotated[dict[str, Any], AfterValidator(written_resize)]
"""``{"shorter": 256, "crop": 224, "interpolation": "bicubic"}``: sides in pixels, and the filter."""


def check_resize(size: int | None, resize: Mapping[str, Any] | None) -> None:
    """Refuse both settings of the size of pictures at once."""
    if size is not None and resize is not None:
        raise Refused(
            "dataset: size (both sides, squashed) and resize (the shorter side, then the centre) are both set; leave "
            "one of them out",
            "resize",
        )


def resized(image: Any, size: int | None, resize: Mapping[str, Any] | None, where: str) -> Any:
    """Return a picture in the size that is set.

    Args:
        image: A picture of Pillow, in mode L or RGB.
        size: Side in pixels of a square to which it is squashed, bilinearly; ``None`` for none.
        resize: ``shorter``: the length of the shorter side, with the ratio of sides kept; ``crop``: the side of the
            square in the centre that stays; ``interpolation``: the filter. Sides are rounded as torchvision does.
        where: Name of the picture in messages.

    Raises:
        Refused: The picture is smaller than the crop.
    """
    from PIL.Image import Resampling

    if size is not None:
        image = image.resize((size, size), resample=Resampling.BILINEAR)
    if resize is None:
        return image
    shorter, crop = resize.get("shorter"), resize.get("crop")
    if shorter is not None and shorter != min(image.size):
        width, height = image.size
        longer = int(shorter * max(width, height) / min(width, height))
        sides = (shorter, longer) if width <= height else (longer, shorter)
        image = image.resize(sides, resample=Resampling[resize.get("interpolation", "bilinear").upper()])
    if crop is None:
        return image
    width, height = image.size
    if crop > min(width, height):
        raise Refused(
            f"{where} is {width}x{height} pixels, and resize keeps the {crop}x{crop} in its centre; set shorter in "
            "resize too, or a smaller crop"
        )
    left, top = round((width - crop) / 2), round((height - crop) / 2)
    return image.crop((left, top, left + crop, top + crop))
