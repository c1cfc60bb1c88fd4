"""Strong augmentation: single changes against the Python Imaging Library and colorsys, random ones by their limits."""

from __future__ import annotations

import colorsys
import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from clbench.core.errors import Refused
from clbench.data import augment_color as color
from clbench.data import auto_augment
from clbench.data.augment import AUGMENTERS, augmenter
from clbench.data.augment_warp import resized_crop_flip


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=4, side=16):
    """8-bit colour images with smooth and rough parts, (n, 3, side, side) in [0, 1]."""
    rough = torch.rand(n, 3, side, side, generator=generator(1))
    ramp = torch.linspace(0.1, 0.8, side)
    return ((0.5 * rough + 0.4 * ramp + 0.1).clamp(0, 1) * 255).round() / 255


def pil(x):
    return Image.fromarray((x.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))


def tensor(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def amount(value, n=4):
    return torch.full((n,), float(value))


REFERENCE = {
    "Invert": (0.0, ImageOps.invert),
    "AutoContrast": (0.0, ImageOps.autocontrast),
    "Equalize": (0.0, ImageOps.equalize),
    "Posterize": (4 / 9, lambda i: ImageOps.posterize(i, 8 - 2)),
    "Solarize": (0.4, lambda i: ImageOps.solarize(i, 153)),  # (1 - 0.4) * 255
    "Brightness": (-0.5, lambda i: ImageEnhance.Brightness(i).enhance(0.55)),
    "Color": (0.7, lambda i: ImageEnhance.Color(i).enhance(1.63)),
    "Contrast": (-0.6, lambda i: ImageEnhance.Contrast(i).enhance(0.46)),
    "Sharpness": (0.9, lambda i: ImageEnhance.Sharpness(i).enhance(1.81)),
    "Identity": (0.9, lambda i: i),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_changes_of_tone_are_those_of_the_imaging_library_up_to_its_rounding(name):
    strength, reference = REFERENCE[name]
    x = pictures()
    made = auto_augment.change(name, x, amount(strength))
    expected = torch.stack([tensor(reference(pil(image))) for image in x])
    assert (made - expected).abs().max() < 2.6 / 255  # greys are rounded there before they are used
    if name in ("Invert", "Equalize", "Posterize", "Solarize", "Identity"):
        assert (made - expected).abs().max() < 1e-5


def moved(image, a, b, c, d, e, f):
    return image.transform(image.size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.NEAREST)


MOVES = {
    "ShearX": (0.7, lambda i: moved(i, 1, 0.21, 0, 0, 1, 0)),
    "ShearY": (-0.5, lambda i: moved(i, 1, 0, 0, -0.15, 1, 0)),
    "TranslateX": (0.5, lambda i: moved(i, 1, 0, 3, 0, 1, 0)),  # 150 / 331 * 16 * 0.5 = 3.6
    "TranslateY": (-0.9, lambda i: moved(i, 1, 0, 0, 0, 1, -6)),
    "Rotate": (0.8, lambda i: i.rotate(-24, resample=Image.Resampling.NEAREST)),
}


@pytest.mark.parametrize("name", MOVES)
def test_moves_are_those_of_the_imaging_library(name):
    strength, reference = MOVES[name]
    x = pictures()
    made = auto_augment.change(name, x, amount(strength))
    expected = torch.stack([tensor(reference(pil(image))) for image in x])
    assert not torch.equal(made, x)
    assert ((made - expected).abs() < 1e-4).float().mean() > 0.98  # places between two pixels fall either way


def test_hue_turns_as_in_colorsys_and_leaves_grey_alone():
    x, turn = pictures(2, 5), torch.tensor([0.1, -0.35])
    made = color.hue(x, turn)
    for n, i, j in itertools.product(range(2), range(5), range(5)):
        h, s, v = colorsys.rgb_to_hsv(*x[n, :, i, j].tolist())
        assert made[n, :, i, j].tolist() == pytest.approx(colorsys.hsv_to_rgb((h + turn[n].item()) % 1, s, v), abs=1e-5)
    grey = torch.full((1, 3, 2, 2), 0.4)
    assert torch.allclose(color.hue(grey, torch.tensor([0.3])), grey)
    assert torch.equal(color.hue(grey[:, :1], torch.tensor([0.3])), grey[:, :1])


def test_colours_are_changed_in_four_of_five_images_and_taken_away_in_one_of_five():
    x = pictures(1).expand(2000, 3, 16, 16)
    made = color.jitter(x, generator())
    grey = (made.amax(1) - made.amin(1)).flatten(1).amax(1) < 1e-6
    untouched = (made == x).flatten(1).all(1)
    assert grey.float().mean() == pytest.approx(0.2, abs=0.04)
    assert untouched.float().mean() == pytest.approx(0.2 * 0.8, abs=0.04)


def test_a_resized_crop_is_a_box_of_the_stated_area_and_shape_and_half_of_them_are_mirrored():
    """A picture whose values are its coordinates tells where each crop came from."""
    side, n = 32, 1500
    place = (torch.arange(side) + 0.5) / side
    x = torch.stack([place.expand(side, side), place[:, None].expand(side, side)]).expand(n, 2, side, side)
    shown = resized_crop_flip(x, generator())
    middle = side // 2
    across = (shown[:, 0, middle, middle] - shown[:, 0, middle, middle - 1]) * side  # signed width, as a fraction
    down = (shown[:, 1, middle, middle] - shown[:, 1, middle - 1, middle]) * side
    width, area, ratio = across.abs(), across.abs() * down, across.abs() / down
    assert (down > 0).all()
    assert (across < 0).float().mean() == pytest.approx(0.5, abs=0.05)
    whole = (width < 0.999) & (down < 0.999)  # sides not cut to the picture's
    assert area[whole].min() > 0.199
    assert area.max() <= 1.001
    assert ratio[whole].min() > 0.749
    assert ratio[whole].max() < 1.335
    assert area[whole].min() < 0.21
    assert area[whole].max() > 0.9
    assert shown.min() >= x.min() - 1e-6  # nothing from outside the picture
    assert shown.max() <= x.max() + 1e-6


def test_digits_lose_a_square_and_are_neither_mirrored_nor_moved_out():
    x = torch.ones(200, 1, 16, 16)
    made = augmenter("affine-cutout")(x, generator())
    windows = torch.nn.functional.avg_pool2d(made, 4, stride=1)
    assert (windows.flatten(1).amin(1) == 0).all()  # a square of a quarter of the side
    assert (made[:, :, 3:13, 3:13].mean((1, 2, 3)) > 0.7).all()
    half = torch.zeros(200, 1, 16, 16)
    half[..., :8] = 1
    made = augmenter("affine-cutout")(half, generator())
    assert (made[..., :8].sum((1, 2, 3)) > made[..., 8:].sum((1, 2, 3))).all()  # left stays left


def outcomes(image, policy):
    """Every picture that a pair of operations can make: each done or not, each sign."""
    made = [image]
    for name, probability, ninths in policy:
        signs = (1, -1) if name in auto_augment.SIGNED else (1,)
        more = [auto_augment.change(name, x, amount(sign * ninths / 9, 1)) for x in made for sign in signs]
        made = (made if probability < 1 else []) + (more if probability > 0 else [])
    return made


def test_auto_augment_applies_one_of_its_pairs_to_each_image_and_uses_all_of_them():
    image = pictures(1)
    possible = [torch.cat(outcomes(image, policy)) for policy in auto_augment.CIFAR10]
    shown = augmenter("auto-augment")(image.expand(400, 3, 16, 16), generator())
    hits = [{k for k, made in enumerate(possible) if (made == row).flatten(1).all(1).any()} for row in shown]
    assert all(hits)
    alone = [hit.copy().pop() for hit in hits if len(hit) == 1]
    assert len(set(alone)) > 18  # the others share all their outcomes with one of these
    assert len(auto_augment.CIFAR10) == 25


def test_an_operation_is_done_as_often_as_its_probability_says(monkeypatch):
    monkeypatch.setattr(auto_augment, "CIFAR10", ((("Invert", 0.7, 0), ("Brightness", 0.0, 9)),))
    image = pictures(1)
    shown = auto_augment.auto_augment(image.expand(2000, 3, 16, 16), generator())
    inverted = ((shown - (1 - image)).abs() < 1e-6).flatten(1).all(1)
    assert inverted.float().mean() == pytest.approx(0.7, abs=0.04)
    assert ((shown == image).flatten(1).all(1) | inverted).all()


def test_rand_augment_applies_two_operations():
    image = pictures(1)
    signs = {name: (1, -1) if name in auto_augment.SIGNED else (1,) for name in auto_augment.RANDOM}
    single = [auto_augment.change(n, image, amount(0.3 * s, 1)) for n in auto_augment.RANDOM for s in signs[n]]
    possible = torch.cat(
        [auto_augment.change(n, x, amount(0.3 * s, 1)) for x in single for n in signs for s in signs[n]]
    )
    shown = augmenter("rand-augment")(image.expand(100, 3, 16, 16), generator())
    assert all(((possible - row).abs() < 1e-6).flatten(1).all(1).any() for row in shown)
    once = torch.cat(single)
    assert sum(bool(((once - row).abs() < 1e-6).flatten(1).all(1).any()) for row in shown) < 60


@pytest.mark.parametrize("name", [name for name in AUGMENTERS if name != "none"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_augmentation_draws_from_its_generator_only_and_keeps_shape_range_and_input(name, channels):
    x = pictures(12)[:, :channels]
    kept, before = x.clone(), torch.random.get_rng_state()
    first, again, other = (augmenter(name)(x, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(x, kept)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first.shape == x.shape
    assert first.min() >= 0
    assert first.max() <= 1 + 1e-6


def test_contrastive_is_the_resized_crop_and_then_the_jitter_of_colours():
    x, draws = pictures(), generator(5)
    assert torch.equal(augmenter("contrastive")(x, generator(5)), color.jitter(resized_crop_flip(x, draws), draws))


def test_names_joined_by_a_plus_are_applied_in_their_order():
    x, draws = pictures(), generator(5)
    expected = augmenter("rand-augment")(augmenter("crop-flip")(x, draws), draws)
    assert torch.equal(augmenter("crop-flip + rand-augment")(x, generator(5)), expected)


def test_what_cannot_be_augmented_is_refused():
    with pytest.raises(Refused, match="not images"):
        augmenter("contrastive")(torch.rand(4, 10), generator())
    with pytest.raises(Refused, match="images of 2 channels"):
        augmenter("crop + auto-augment")(torch.rand(4, 2, 8, 8), generator())
    with pytest.raises(Refused, match="did you mean 'auto-augment'"):
        augmenter("crop + autoaugment")


def test_greys_have_the_weights_of_television():
    x = torch.tensor([1.0, 0.0, 0.5]).view(1, 3, 1, 1)
    assert float(color.grey(x)) == pytest.approx(0.299 + 0.057)
    assert math.isclose(float(color.contrast(x, torch.tensor([0.0]))[0, 0, 0, 0]), 0.356, rel_tol=1e-5)
