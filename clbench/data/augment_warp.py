"""Random geometric changes: resized crops, rotations, shears, shifts, and squares cut out.

Images are (n, C, H, W). torch is imported only when a function is called.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

AREA = (0.2, 1.0)
ASPECT = (3 / 4, 4 / 3)
TRIES = 10
"""Draws of a box, of which the first that fits into the image is taken."""
TURN, SHEAR, ZOOM, SHIFT, HOLE = 15.0, 0.15, 0.15, 0.125, 0.25
"""Limits of :func:`affine_cutout`: degrees, slope, fraction of the scale, and fractions of the side."""


def uniform(generator: Generator, like: Tensor, *shape: int) -> Tensor:
    """Draw numbers in [0, 1) on the generator's device, and return them on the device of ``like``."""
    import torch

    return torch.rand(shape, generator=generator, device=generator.device).to(like.device)


def warp(x: Tensor, matrix: Tensor, *, mode: str, padding: str = "zeros") -> Tensor:
    """Warp images by affine maps from each pixel of the result to its source.

    Args:
        x: (n, C, H, W).
        matrix: (n, 2, 3), maps from the position (x, y) of a pixel of the result, in pixels from the centre, to the
            position of its value.
        mode: ``nearest`` or ``bilinear``.
        padding: Values outside: ``zeros``, or the repeated ``border``.
    """
    from torch.nn.functional import affine_grid, grid_sample

    height, width = x.shape[2:]
    half = matrix.new_tensor([width / 2, height / 2, 1.0])
    theta = matrix * half / half[:2, None]  # the same map between coordinates in [-1, 1]
    grid = affine_grid(theta.to(x.dtype), list(x.shape), align_corners=False)
    return grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=False)


def resized_crop_flip(x: Tensor, generator: Generator) -> Tensor:
    """Crop a random box, resize it to the image, and mirror it with probability ½.

    The box has 20 % to 100 % of the area and sides from 3:4 to 4:3.

    Source: Szegedy et al. 2015 for the box; limits of the area as in Khosla et al. 2020. Sides are limited to those of
    the image, and boxes need not lie on whole pixels.
    """
    import torch

    n, _, height, width = x.shape
    area, aspect, right, down, coin = uniform(generator, x, 5, n)
    area = AREA[0] + (AREA[1] - AREA[0]) * area
    ratio = torch.exp(math.log(ASPECT[0]) + math.log(ASPECT[1] / ASPECT[0]) * aspect)
    shape = (height * width) * area
    w, h = (shape * ratio).sqrt().clamp(max=width), (shape / ratio).sqrt().clamp(max=height)
    matrix = x.new_zeros(n, 2, 3)
    matrix[:, 0, 0] = torch.where(coin < 0.5, -w, w) / width
    matrix[:, 1, 1] = h / height
    matrix[:, 0, 2] = (right - 0.5) * (width - w)
    matrix[:, 1, 2] = (down - 0.5) * (height - h)
    return warp(x, matrix, mode="bilinear", padding="border")


def resized_crop(x: Tensor, generator: Generator, *, area: tuple[float, float]) -> Tensor:
    """Crop a random box of whole pixels from each image, and resize it to the image.

    The sides of the box have a ratio from 3:4 to 4:3. Of ten draws the first that fits into the image is taken; if none
    does, the largest box in the centre with an allowed ratio.

    Args:
        x: (n, C, H, W).
        generator: Draws the boxes.
        area: Smallest and largest share of the image's area.

    Source: torchvision's ``RandomResizedCrop``, whose rule this is, for all images of a batch at once.
    """
    import torch

    n, _, height, width = x.shape
    share, aspect = uniform(generator, x, 2, n, TRIES)
    right, down = uniform(generator, x, 2, n)
    pixels = height * width * (area[0] + (area[1] - area[0]) * share)
    ratio = torch.exp(math.log(ASPECT[0]) + math.log(ASPECT[1] / ASPECT[0]) * aspect)
    sides = torch.stack([(pixels / ratio).sqrt().round(), (pixels * ratio).sqrt().round()])  # (2, n, tries) h and w
    fits = (sides > 0).all(0) & (sides[0] <= height) & (sides[1] <= width)  # (n, tries)
    first = fits.int().argmax(1)  # of equal values the first
    drawn = sides.gather(2, first.expand(2, n)[:, :, None])[:, :, 0]  # (2, n)
    any_fits = fits.any(1)
    whole_h, whole_w = _largest(height, width)
    h = torch.where(any_fits, drawn[0], whole_h).long()
    w = torch.where(any_fits, drawn[1], whole_w).long()
    top = torch.where(any_fits, (down * (height - h + 1)).long(), (height - h) // 2)
    left = torch.where(any_fits, (right * (width - w + 1)).long(), (width - w) // 2)
    return resize_boxes(x, top, left, h, w)


def _largest(height: int, width: int) -> tuple[float, float]:
    """Return height and width of the largest box in an image whose sides have an allowed ratio."""
    if width / height < ASPECT[0]:
        return float(round(width / ASPECT[0])), float(width)
    if width / height > ASPECT[1]:
        return float(height), float(round(height * ASPECT[1]))
    return float(height), float(width)


def resize_boxes(x: Tensor, top: Tensor, left: Tensor, h: Tensor, w: Tensor) -> Tensor:
    """Resize a box of each image to the size of the image, bilinearly, without values from outside the box.

    Args:
        x: (n, C, H, W).
        top, left, h, w: (n,) int64, the boxes in pixels.
    """
    for axis, start, side in ((2, top, h), (3, left, w)):
        low, high, weight = _places(x.shape[axis], start, side, x)
        shape = [len(x), 1, 1, 1]
        shape[axis] = x.shape[axis]
        below, above = (x.gather(axis, place.view(shape).expand_as(x)) for place in (low, high))
        x = below.lerp(above, weight.view(shape).expand_as(x))
    return x


def _places(size: int, start: Tensor, side: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the two source pixels (n, size) of each pixel along an axis, and the weight of the second one."""
    import torch

    centre = torch.arange(size, device=like.device, dtype=like.dtype) + 0.5
    source = (centre * (side.to(like.dtype) / size)[:, None] - 0.5).clamp(min=0)  # (n, size)
    low = torch.minimum(source.long(), side[:, None] - 1)
    high = torch.minimum(low + 1, side[:, None] - 1)
    return start[:, None] + low, start[:, None] + high, source - low.to(like.dtype)


def affine_cutout(x: Tensor, generator: Generator) -> Tensor:
    """Rotate by up to 15°, shear by up to 0.15, scale by up to 15 %, shift by up to an eighth, and black out a square.

    The square has a quarter of the shorter side and lies anywhere within the image. Images are not mirrored and colours
    stay unchanged, so it suits digits and letters. The combination is our choice; the square is the cutout of DeVries
    and Taylor 2017, arXiv 1708.04552.
    """
    import torch

    n, _, height, width = x.shape
    draws = uniform(generator, x, 7, n)
    angle, shear, zoom, right, down = 2 * draws[:5] - 1
    angle, shear, scale = angle * math.radians(TURN), shear * SHEAR, 1 / (1 + zoom * ZOOM)
    matrix = turn(angle)
    matrix[:, :, 1] += shear[:, None] * matrix[:, :, 0]
    matrix = matrix * scale[:, None, None]
    matrix[:, :, 2] = torch.stack([right * SHIFT * width, down * SHIFT * height], dim=1)
    shown = warp(x, matrix, mode="bilinear")
    side = max(1, round(HOLE * min(height, width)))
    left, top = (draws[5] * (width - side + 1)).long(), (draws[6] * (height - side + 1)).long()
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    inside_rows = (rows >= top[:, None]) & (rows < top[:, None] + side)  # (n, H)
    inside_columns = (columns >= left[:, None]) & (columns < left[:, None] + side)  # (n, W)
    return shown.masked_fill((inside_rows[:, :, None] & inside_columns[:, None, :])[:, None], 0.0)


def turn(angle: Tensor) -> Tensor:
    """Return matrices (n, 2, 3) that rotate images about their centre by angles (n,) in radians."""
    import torch

    cosine, sine, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return torch.stack([cosine, sine, zero, -sine, cosine, zero], dim=1).view(-1, 2, 3)


def shear(slope: Tensor, shape: tuple[int, int], *, axis: int) -> Tensor:
    """Return matrices (n, 2, 3) that shear images of a shape (H, W) along x (0) or y (1); the first row or column
    stays."""
    matrix = turn(slope * 0)
    matrix[:, axis, 1 - axis] = slope
    matrix[:, axis, 2] = slope * shape[axis] / 2  # from the edge, not from the centre
    return matrix


def shift(pixels: Tensor, *, axis: int) -> Tensor:
    """Return matrices (n, 2, 3) that shift the source by numbers of pixels (n,) along x (0) or y (1)."""
    matrix = turn(pixels * 0)
    matrix[:, axis, 2] = pixels
    return matrix
