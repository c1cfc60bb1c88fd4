"""Augmentation: random changes of training images, drawn for all samples of a batch at once from a given generator.

torch is imported only when an augmenter is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from clbench.core.errors import Refused, did_you_mean
from clbench.data.augment_color import jitter
from clbench.data.augment_warp import affine_cutout, resized_crop_flip
from clbench.data.auto_augment import auto_augment, rand_augment

if TYPE_CHECKING:
    from torch import Generator, Tensor

Augmenter = Callable[["Tensor", "Generator"], "Tensor"]


def none(x: Tensor, _generator: Generator) -> Tensor:
    """Return the batch unchanged; nothing is drawn."""
    return x


def crop(x: Tensor, generator: Generator) -> Tensor:
    """Shift each image by up to an eighth of its height along each axis, with zero padding; for digits and letters."""
    return _crop(x, generator, flip=False)


def crop_flip(x: Tensor, generator: Generator) -> Tensor:
    """Shift as in :func:`crop`, and mirror each image horizontally with probability 1/2; for natural images.

    Source: He et al. 2016, "Deep Residual Learning", section 4.2 (padding 4 at 32 pixels).
    """
    return _crop(x, generator, flip=True)


def contrastive(x: Tensor, generator: Generator) -> Tensor:
    """Augment as contrastive methods do: a resized crop, mirrored or not, with changed or removed colours.

    Source: Khosla et al. 2020, arXiv 2004.11362; see :func:`clbench.data.augment_warp.resized_crop_flip` and
    :func:`clbench.data.augment_color.jitter`.
    """
    return jitter(resized_crop_flip(x, generator), generator)


AUGMENTERS: dict[str, Augmenter] = {
    "none": none,
    "crop": crop,
    "crop-flip": crop_flip,
    "contrastive": contrastive,
    "affine-cutout": affine_cutout,
    "auto-augment": auto_augment,
    "rand-augment": rand_augment,
}
COLORED = frozenset({"contrastive", "auto-augment", "rand-augment"})
"""Augmenters that change brightness and colours, and therefore depend on the meaning of the channels."""


def check_augmentation(name: str) -> str:
    """Return the name of an augmentation, or several joined by ``+``, unchanged if all exist.

    Raises:
        Refused: One is unknown; the message suggests the nearest one.
    """
    for each in map(str.strip, name.split("+")):
        if each not in AUGMENTERS:
            raise Refused(f"there is no augmentation called {each!r}; {did_you_mean(each, AUGMENTERS)}")
    return name


def augmenter(name: str) -> Augmenter:
    """Return the function ``(x, generator) -> x`` for a name, or for several names joined by ``+`` and applied in
    order.

    It takes images (B, C, H, W) in [0, 1] and a torch generator, the only source of its draws. It returns new images of
    the same shape and leaves its input unchanged.

    Raises:
        Refused: The name is unknown; or, when the function is called, samples are not images.
    """
    names = [each.strip() for each in check_augmentation(name).split("+")]
    if names == ["none"]:
        return none

    def apply(x: Tensor, generator: Generator) -> Tensor:
        for each in names:
            _check(x, each)
            x = AUGMENTERS[each](x, generator)
        return x

    return apply


def _check(x: Tensor, name: str) -> None:
    if name == "none":
        return
    if x.ndim != 4:
        raise Refused(
            f"samples of shape {tuple(x.shape[1:])} are not images (C, H, W), so {name} cannot change them; set "
            "augment: none"
        )
    if name in COLORED and x.shape[1] not in (1, 3):
        raise Refused(
            f"{name} changes colours, and images of {x.shape[1]} channels are neither grey nor red, green and blue; "
            "take crop, crop-flip or affine-cutout"
        )


def _crop(x: Tensor, generator: Generator, *, flip: bool) -> Tensor:
    import torch
    from torch.nn.functional import pad

    batch, channels, height, width = x.shape
    margin = max(1, height // 8)
    home = generator.device
    offset = torch.randint(2 * margin + 1, (batch, 2), generator=generator, device=home).to(x.device)
    down = offset[:, :1] + torch.arange(height, device=x.device)  # (B, H) rows of the padded image
    across = offset[:, 1:] + torch.arange(width, device=x.device)  # (B, W) columns
    if flip:
        mirrored = torch.randint(2, (batch, 1), generator=generator, device=home).to(x.device)
        across = torch.where(mirrored == 1, across.flip(1), across)
    place = down[:, :, None] * (width + 2 * margin) + across[:, None, :]  # (B, H, W)
    padded = pad(x, [margin] * 4).flatten(2)  # (B, C, (H+2m)*(W+2m))
    index = place.flatten(1)[:, None].expand(batch, channels, height * width)
    return padded.gather(2, index).view_as(x)
