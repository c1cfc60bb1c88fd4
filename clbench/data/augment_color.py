"""Random changes of brightness and colour, and the single operations that they consist of.

Images are (n, C, H, W) in [0, 1] with 1 or 3 channels, and each has its own amount (n,). Colour operations have no
effect on images with one channel. torch is imported only when a function is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clbench.data.augment_warp import uniform

if TYPE_CHECKING:
    from torch import Generator, Tensor

JITTER, HUE, JITTERED, GREY = 0.4, 0.1, 0.8, 0.2


def jitter(x: Tensor, generator: Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue at random, then remove the colour at random.

    With probability 0.8, brightness, contrast and saturation change by up to 40 % each, and hue by up to a tenth of the
    circle, in this order. Then the colour is removed with probability 0.2.

    Source: Chen et al. 2020, SimCLR, arXiv 2002.05709, appendix A, with the strengths of Khosla et al. 2020; there, the
    order is random too.
    """
    import torch

    draws = uniform(generator, x, 6, len(x))
    factors = 1 + JITTER * (2 * draws[:3] - 1)
    shown = saturation(contrast(brightness(x, factors[0]), factors[1]), factors[2])
    shown = hue(shown, HUE * (2 * draws[3] - 1))
    shown = torch.where(_each(draws[4]) < JITTERED, shown, x)
    return torch.where(_each(draws[5]) < GREY, grey(shown).expand_as(shown), shown)


def brightness_jitter(x: Tensor, generator: Generator, *, strength: float) -> Tensor:
    """Multiply each image by a random factor, and keep values in [0, 1].

    Args:
        x: (n, C, H, W) with any number of channels.
        generator: Draws the factors, uniform in [max(0, 1 - strength), 1 + strength].
        strength: Above 0; 0.25 is nearly the 63/255 of PyCIL.

    Source: torchvision's ``ColorJitter(brightness=strength)``.
    """
    low = max(0.0, 1 - strength)
    return brightness(x, low + (1 + strength - low) * uniform(generator, x, len(x)))


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """Change brightness: 0 is black, 1 the image."""
    return _blend(x.new_zeros(()), x, factor)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """Change contrast: 0 is the mean grey, 1 the image."""
    return _blend(grey(x).mean((1, 2, 3), keepdim=True), x, factor)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """Change saturation: 0 is grey, 1 the image."""
    return x if x.shape[1] == 1 else _blend(grey(x), x, factor)


def sharpness(x: Tensor, factor: Tensor) -> Tensor:
    """Change sharpness: 0 is smoothed, 1 the image; pixels at the edge stay unchanged."""
    from torch.nn.functional import conv2d

    kernel = x.new_ones(3, 3)
    kernel[1, 1] = 5.0
    smooth = x.clone()
    inner = conv2d(x.flatten(0, 1)[:, None], (kernel / 13)[None, None])  # every channel separately
    smooth[:, :, 1:-1, 1:-1] = inner.view(len(x), x.shape[1], *inner.shape[2:])
    return _blend(smooth, x, factor)


def hue(x: Tensor, turn: Tensor) -> Tensor:
    """Rotate the hue by a fraction of the circle, with constant brightness and saturation (HSV)."""
    import torch

    if x.shape[1] == 1:
        return x
    high, low = x.amax(1), x.amin(1)  # (n, H, W)
    spread = (high - low).clamp(min=1e-12)
    red, green, blue = x.unbind(1)
    sector = torch.where(
        high == red,
        (green - blue) / spread,
        torch.where(high == green, 2 + (blue - red) / spread, 4 + (red - green) / spread),
    )  # of six sectors
    place = sector + 6 * turn[:, None, None]
    # each channel is a trapezoid over the circle, shifted by a third of it between channels
    offsets = place.new_tensor([5.0, 3.0, 1.0])[:, None, None]
    k = (offsets + place[:, None]) % 6
    return high[:, None] - (high - low)[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def grey(x: Tensor) -> Tensor:
    """Return the luma (n, 1, H, W), ITU-R 601."""
    if x.shape[1] == 1:
        return x
    return (x * x.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def posterize(x: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits of every 8-bit value."""
    step = _each(2 ** (8 - bits))
    return _levels(x).div(step).floor() * step / 255


def solarize(x: Tensor, threshold: Tensor) -> Tensor:
    """Invert all values from a threshold in [0, 1] on."""
    import torch

    return torch.where(x >= _each(threshold), 1 - x, x)


def autocontrast(x: Tensor) -> Tensor:
    """Stretch every channel to [0, 1]; a constant channel stays unchanged."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    flat = high == low
    return ((x - low.masked_fill(flat, 0.0)) / (high - low).masked_fill(flat, 1.0)).clamp(0, 1)


def equalize(x: Tensor) -> Tensor:
    """Equalise the histogram of every channel, as the Python Imaging Library does for 8-bit values."""
    import torch

    values = _levels(x).long().flatten(2)  # (n, C, H*W)
    counts = torch.zeros(*values.shape[:2], 256, dtype=torch.int64, device=x.device)
    counts.scatter_add_(2, values, torch.ones_like(values))
    last = counts.gather(2, values.amax(2, keepdim=True))
    step = (values.shape[2] - last) // 255  # (n, C, 1)
    table = ((counts.cumsum(2) - counts + step // 2) // step.clamp(min=1)).clamp(max=255)
    made = (table.gather(2, values).to(x.dtype) / 255).view_as(x)
    return torch.where(step[..., None] > 0, made, x)


def _levels(x: Tensor) -> Tensor:
    """Return 8-bit values as floats."""
    return (x * 255).round()


def _blend(one: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (one + _each(factor) * (other - one)).clamp(0, 1)


def _each(amount: Tensor) -> Tensor:
    """Reshape (n,) to (n, 1, 1, 1)."""
    return amount[:, None, None, None]
