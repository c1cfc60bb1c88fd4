"""Augmentations with settings: torchvision's random resized crop and brightness, for a batch at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support import ready

from clbench.core.compat import import_torchvision
from clbench.core.errors import Refused
from clbench.data import augment_warp
from clbench.data.augment import augmenter, check_augmentation
from clbench.data.augment_color import brightness
from clbench.data.augment_warp import resize_boxes, resized_crop


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def boxes_of(shape, area, count, monkeypatch):
    """The boxes (count, 4) that are drawn: top, left, height, width."""
    seen = []
    monkeypatch.setattr(augment_warp, "resize_boxes", lambda x, *box: (seen.append(torch.stack(box, 1)), x)[1])
    resized_crop(torch.zeros(count, 1, *shape), generator(), area=area)
    return seen[0]


@pytest.mark.parametrize("shape", [(32, 32), (20, 30)])
def test_boxes_are_resized_as_torchvision_does(shape):
    transforms = import_torchvision().transforms.functional
    x = torch.rand(6, 3, *shape, generator=generator())
    boxes = [(0, 0, *shape), (3, 4, 7, 9), (0, 5, 1, 12), (9, 11, 2, 1), (5, 0, 15, 20), (19, 29, 1, 1)]
    ours = resize_boxes(x, *torch.tensor(boxes).T)
    for image, box, made in zip(x, boxes, ours, strict=True):
        theirs = transforms.resized_crop(image, *box, list(shape), antialias=True)
        torch.testing.assert_close(made, theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("shape", "area"), [((32, 32), (0.05, 1.0)), ((24, 40), (0.3, 0.9))])
def test_boxes_have_the_distribution_of_torchvisions(shape, area, monkeypatch):
    torchvision = import_torchvision()
    count = 4000
    ours = boxes_of(shape, area, count, monkeypatch).double()
    torch.manual_seed(0)
    image, ratio = torch.zeros(1, *shape), (3 / 4, 4 / 3)
    draw = torchvision.transforms.RandomResizedCrop.get_params
    theirs = torch.tensor([draw(image, list(area), list(ratio)) for _ in range(count)]).double()
    for column in range(4):
        a, b = np.sort(ours[:, column]), np.sort(theirs[:, column])
        grid = np.unique(np.concatenate([a, b]))
        apart = np.abs(np.searchsorted(a, grid, "right") - np.searchsorted(b, grid, "right")).max() / count
        assert apart < 1.95 * np.sqrt(2 / count)  # Kolmogorov and Smirnov, at 0.1 %
    assert (ours[:, 0] + ours[:, 2]).max() <= shape[0]
    assert (ours[:, 1] + ours[:, 3]).max() <= shape[1]


@pytest.mark.parametrize(("shape", "box"), [((8, 64), (0, 26, 8, 11)), ((64, 8), (26, 0, 11, 8))])
def test_where_no_box_fits_it_is_the_largest_in_the_centre(shape, box, monkeypatch):
    torchvision = import_torchvision()
    drawn = torchvision.transforms.RandomResizedCrop.get_params(torch.zeros(1, *shape), [1.0, 1.0], [3 / 4, 4 / 3])
    assert boxes_of(shape, (1.0, 1.0), 5, monkeypatch).tolist() == [list(box)] * 5
    assert tuple(drawn) == box


def test_brightness_is_torchvisions_with_the_same_factors():
    transforms = import_torchvision().transforms.functional
    x = torch.rand(50, 3, 8, 8, generator=generator())
    shown = augmenter("brightness(0.25)")(x, generator(1))
    factors = 0.75 + 0.5 * torch.rand(50, generator=generator(1))
    for image, factor, made in zip(x, factors, shown, strict=True):
        torch.testing.assert_close(made, transforms.adjust_brightness(image, float(factor)), rtol=0, atol=1e-6)
    assert 0.75 <= factors.min() < 0.77 < 1.23 < factors.max() <= 1.25


def test_a_strong_change_of_brightness_does_not_go_below_black():
    x = torch.full((500, 1, 2, 2), 0.4)
    shown = augmenter("brightness(2)")(x, generator())
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert torch.equal(brightness(x[:1], torch.zeros(1)), torch.zeros(1, 1, 2, 2))


def test_flip_mirrors_about_half_of_the_images():
    x = torch.rand(400, 2, 3, 5, generator=generator())
    shown = augmenter("flip")(x, generator())
    mirrored = [torch.equal(made, image.flip(2)) for image, made in zip(x, shown, strict=True)]
    same = [torch.equal(made, image) for image, made in zip(x, shown, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 160 < sum(mirrored) < 240


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("crop-flip", "crop-flip"),
        ("crop+flip", "crop+flip"),  # as older cells have it
        ("resized-crop", "resized-crop(area=[0.08, 1])"),
        ("resized-crop(area=[0.05,1.0])", "resized-crop(area=[0.05, 1])"),
        ("resized-crop([0.05, 1])+flip", "resized-crop(area=[0.05, 1]) + flip"),
        ("crop-flip + brightness(strength=0.25)", "crop-flip + brightness(0.25)"),
    ],
)
def test_a_setting_that_is_written_in_several_ways_is_one_augmentation(written, canonical):
    assert check_augmentation(written) == canonical
    assert check_augmentation(canonical) == canonical


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("resized-crop(area=[0, 1])", r"resized-crop\(area=\[0, 1\]\) is not allowed; write resized-crop\(area=\[0.05"),
        ("resized-crop(area=[0.5, 0.1])", "is not allowed"),
        ("resized-crop(0.5)", "is not allowed"),
        ("resized-crop(size=3)", "is not allowed"),
        ("brightness", r"write brightness\(0.25\)"),
        ("brightness(-1)", "is not allowed"),
        ("brightness(true)", "is not allowed"),
        ("flip(0.5)", "flip has no settings; write flip alone"),
        ("resize-crop(area=[0.05, 1])", "resized-crop"),
    ],
)
def test_settings_that_are_not_allowed_are_refused_with_what_to_write(written, told):
    with pytest.raises(Refused, match=told):
        check_augmentation(written)


def test_runs_learn_with_them_and_cells_differ_by_their_settings():
    runs = [
        ready("naive", f"training={{augment: '{text}', lr: 0.1, batch_size: 16}}")
        for text in ("resized-crop(area=[0.05, 1]) + flip + brightness(0.25)", "resized-crop + flip + brightness(0.25)")
    ]
    for run in runs:
        run.train()
    assert runs[0].cell.config["training"]["augment"] == "resized-crop(area=[0.05, 1]) + flip + brightness(0.25)"
    assert not torch.equal(runs[0].learner.w, runs[1].learner.w)
