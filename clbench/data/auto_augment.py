"""Strong augmentation of colour images by policy: AutoAugment for CIFAR-10, and RandAugment.

Operations are drawn for each image; images with the same operation are changed together. torch is imported only when a
function is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from clbench.data import augment_color as color
from clbench.data.augment_warp import shear, shift, turn, uniform, warp

if TYPE_CHECKING:
    from torch import Generator, Tensor

SIGNED = frozenset(
    {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness"}
)
"""Operations with two directions."""

Step = tuple[str, float, int]
"""An operation, its probability, and its strength in ninths of the largest."""

CIFAR10: tuple[tuple[Step, Step], ...] = (
    (("Invert", 0.1, 7), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 8), ("Equalize", 0.9, 2)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 5), ("Equalize", 0.5, 1)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 7), ("AutoContrast", 0.4, 8)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 3)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 8), ("Equalize", 0.6, 4)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 6)),
    (("AutoContrast", 0.8, 4), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 3)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 2), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 8), ("Invert", 0.1, 3)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 1)),
)
"""The policy found for CIFAR-10: 25 pairs of operations. Source: Cubuk et al. 2019, arXiv 1805.09501, table 7."""

RANDOM = (
    "Identity",
    "AutoContrast",
    "Equalize",
    "Rotate",
    "Solarize",
    "Color",
    "Posterize",
    "Contrast",
    "Brightness",
    "Sharpness",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
)
"""The operations of RandAugment."""
TWO, NINE = 2, 9 / 30
"""Operations per image and strength of RandAugment: N = 2, M = 9 of 30."""


def auto_augment(x: Tensor, generator: Generator) -> Tensor:
    """Change each image by one of the 25 pairs of operations of :data:`CIFAR10`, each with its own probability.

    Source: Cubuk et al. 2019, AutoAugment, arXiv 1805.09501; signs are drawn with equal probability. New pixels are
    black.
    """
    import torch

    n = len(x)
    draws = uniform(generator, x, 5, n)
    pair = (draws[0] * len(CIFAR10)).long()
    for stage in (0, 1):
        steps = [policy[stage] for policy in CIFAR10]
        likely = x.new_tensor([probability for _, probability, _ in steps])[pair]
        strength = x.new_tensor([ninths / 9 for _, _, ninths in steps])[pair]
        names = sorted({name for name, _, _ in steps})
        which = torch.tensor([names.index(name) for name, _, _ in steps], device=x.device)[pair]
        which = torch.where(draws[1 + stage] < likely, which, -1)
        x = _apply(x, names, which, strength, draws[3 + stage] < 0.5)
    return x


def rand_augment(x: Tensor, generator: Generator) -> Tensor:
    """Change each image by two operations drawn from :data:`RANDOM`, at strength 9 of 30.

    Source: Cubuk et al. 2020, RandAugment, arXiv 1909.13719. New pixels are black.
    """
    for _ in range(TWO):
        draws = uniform(generator, x, 2, len(x))
        which = (draws[0] * len(RANDOM)).long()
        x = _apply(x, RANDOM, which, x.new_full((len(x),), NINE), draws[1] < 0.5)
    return x


def change(name: str, x: Tensor, strength: Tensor) -> Tensor:
    """Change images by one operation.

    Args:
        name: Name of the operation, as in :data:`CIFAR10` and :data:`RANDOM`.
        x: (n, C, H, W) in [0, 1].
        strength: (n,) fraction of the operation's largest amount in [0, 1]; in [-1, 1] for the :data:`SIGNED`.

    The largest amounts are: shear 0.3, shift 150/331 of the side in whole pixels, rotation 30°, colour, contrast,
    brightness and sharpness times 1.9 or 0.1, four bits for posterize, all values for solarize.
    """
    height, width = x.shape[2:]
    moves: dict[str, Callable[[], Tensor]] = {
        "ShearX": lambda: shear(0.3 * strength, (height, width), axis=0),
        "ShearY": lambda: shear(0.3 * strength, (height, width), axis=1),
        "TranslateX": lambda: shift((150 / 331 * width * strength).trunc(), axis=0),
        "TranslateY": lambda: shift((150 / 331 * height * strength).trunc(), axis=1),
        "Rotate": lambda: turn(math.radians(30) * strength),
    }
    if name in moves:
        return warp(x, moves[name](), mode="nearest")
    tones: dict[str, Callable[[], Tensor]] = {
        "Identity": lambda: x,
        "Invert": lambda: 1 - x,
        "AutoContrast": lambda: color.autocontrast(x),
        "Equalize": lambda: color.equalize(x),
        "Posterize": lambda: color.posterize(x, 8 - (4 * strength).round()),
        "Solarize": lambda: color.solarize(x, 1 - strength),
        "Brightness": lambda: color.brightness(x, 1 + 0.9 * strength),
        "Color": lambda: color.saturation(x, 1 + 0.9 * strength),
        "Contrast": lambda: color.contrast(x, 1 + 0.9 * strength),
        "Sharpness": lambda: color.sharpness(x, 1 + 0.9 * strength),
    }
    return tones[name]()


def _apply(x: Tensor, names: tuple[str, ...] | list[str], which: Tensor, strength: Tensor, negative: Tensor) -> Tensor:
    """Change each image by the operation with its number (n,); a negative number means none."""
    import torch

    made = x.clone()
    for number, name in enumerate(names):
        rows = (which == number).nonzero()[:, 0]
        if len(rows):
            amount = strength[rows]
            if name in SIGNED:
                amount = torch.where(negative[rows], -amount, amount)
            made[rows] = change(name, x[rows], amount)
    return made
