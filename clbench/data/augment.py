"""Random changes of training images, drawn for every row of a batch at once from a generator that is handed in.

torch is imported only when an augmenter is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from clbench.parameters import Refused, did_you_mean

if TYPE_CHECKING:
    from torch import Generator, Tensor

Augmenter = Callable[["Tensor", "Generator"], "Tensor"]


def none(x: Tensor, _generator: Generator) -> Tensor:
    """The batch as it is; nothing is drawn."""
    return x


def crop(x: Tensor, generator: Generator) -> Tensor:
    """Shift each image by up to an eighth of its height along each axis, zeros moving in; for digits and letters."""
    return _crop(x, generator, flip=False)


def crop_flip(x: Tensor, generator: Generator) -> Tensor:
    """As :func:`crop`, and mirror each image left to right with probability 1/2; for natural images.

    Source: He et al. 2016, "Deep Residual Learning", section 4.2 (padding 4 at 32 pixels).
    """
    return _crop(x, generator, flip=True)


AUGMENTERS: dict[str, Augmenter] = {"none": none, "crop": crop, "crop-flip": crop_flip}


def augmenter(name: str) -> Augmenter:
    """The function ``(x, generator) -> x`` behind a name.

    It takes images (B, C, H, W) in [0, 1] and a torch generator, the only source of its draws, and returns images of
    the same shape; what it was given stays as it was.

    Raises:
        Refused: There is none of that name; or, when it is called, rows are not images.
    """
    if name not in AUGMENTERS:
        raise Refused(f"there is no augmentation called {name!r}; {did_you_mean(name, AUGMENTERS)}")
    return AUGMENTERS[name]


def _crop(x: Tensor, generator: Generator, *, flip: bool) -> Tensor:
    import torch
    from torch.nn.functional import pad

    if x.ndim != 4:
        raise Refused(
            f"rows of shape {tuple(x.shape[1:])} are not images (C, H, W), so they cannot be cropped; set augment: none"
        )
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
