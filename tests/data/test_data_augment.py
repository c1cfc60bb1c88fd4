"""Random crops and mirror images, each row its own."""

from __future__ import annotations

import pytest
import torch

from clbench.core.errors import Refused
from clbench.data.augment import augmenter


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def windows(image, margin, *, flip):
    """Every image that a crop can make of ``image`` (C, H, W), by plain slicing."""
    height, width = image.shape[1:]
    padded = torch.nn.functional.pad(image, [margin] * 4)
    places = [(i, j) for i in range(2 * margin + 1) for j in range(2 * margin + 1)]
    plain = [padded[:, i : i + height, j : j + width] for i, j in places]
    return plain + ([window.flip(2) for window in plain] if flip else [])


@pytest.mark.parametrize(("name", "flip"), [("crop", False), ("crop-flip", True)])
def test_crop_makes_exactly_the_windows_of_the_padded_image_and_all_of_them(name, flip):
    image = torch.rand(3, 16, 16, generator=generator(1))
    shown = augmenter(name)(image.expand(600, 3, 16, 16), generator())
    possible = windows(image, 2, flip=flip)
    hits = [[i for i, window in enumerate(possible) if torch.equal(window, row)] for row in shown]
    assert all(len(hit) == 1 for hit in hits)
    assert {hit[0] for hit in hits} == set(range(25 * (1 + flip)))


def test_crop_of_images_that_are_not_square_stays_within_them():
    image = torch.rand(1, 8, 12, generator=generator(1))
    for row in augmenter("crop-flip")(image.expand(50, 1, 8, 12), generator()):
        assert any(torch.equal(window, row) for window in windows(image, 1, flip=True))


def test_augmentation_draws_only_from_the_generator_it_is_given():
    x = torch.rand(20, 1, 8, 8)
    before = torch.random.get_rng_state()
    first, second, other = (augmenter("crop-flip")(x, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_augmentation_leaves_its_input_as_it_was():
    x = torch.rand(20, 1, 8, 8)
    copy = x.clone()
    augmenter("crop-flip")(x, generator())
    assert torch.equal(x, copy)


def test_no_augmentation_returns_the_batch_and_draws_nothing():
    x, draws = torch.rand(4, 10), generator()
    before = draws.get_state()
    assert augmenter("none")(x, draws) is x
    assert torch.equal(draws.get_state(), before)


def test_vectors_and_unknown_names_are_refused():
    with pytest.raises(Refused, match="not images"):
        augmenter("crop")(torch.rand(4, 10), generator())
    with pytest.raises(Refused, match="did you mean 'crop-flip'"):
        augmenter("crop_flip")
