"""Which axis holds the channels and what scale values are on: told where there is one way, else asked for."""

import numpy as np
import pytest
import torch

import clbench
from clbench.core.errors import Refused
from clbench.data import from_arrays, load
from clbench.data.pixel_values import channels_last

Y = np.arange(8) % 2
RNG = np.random.default_rng(0)


def made(x, **settings):
    return from_arrays("mine", x, Y, x, Y, **settings)


def pixels(*shape, high=256, dtype=np.uint8):
    x = RNG.integers(0, high, (8, *shape))
    x.flat[:2] = 0, high - 1  # the whole range occurs
    return x.astype(dtype)


# --------------------------------------------------------------------------------------------------- axes


@pytest.mark.parametrize(
    ("shape", "last"),
    [
        ((16, 16, 4), True),  # RGBA
        ((16, 16, 2), True),  # grey and alpha
        ((64, 64, 13), True),  # multispectral
        ((48, 64, 4), True),
        ((28, 28, 1), True),
        ((28, 30, 3), True),
        ((4, 4, 3), True),
        ((7, 7, 512), True),
        ((2, 16, 16), False),
        ((4, 48, 64), False),
        ((13, 64, 64), False),
        ((512, 7, 7), False),
        ((512, 2, 2), False),
        ((3, 5, 3), False),
        ((1, 28, 28), False),
        ((1, 100, 13), False),
        ((16, 16, 16), None),
        ((13, 48, 64), None),
        ((64, 48, 13), None),
        ((4, 4, 13), None),
        ((4, 16, 4), None),
        ((22, 1, 500), None),
    ],
)
def test_channels_are_where_a_shape_says_so(shape, last):
    assert channels_last(shape) is last


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_channels_behind_are_brought_to_the_front_whole(dtype):
    x = pixels(16, 16, 4, dtype=dtype)
    data = made(x)
    assert data.shape == (4, 16, 16)
    assert (data.train.x[5, 3, 2, 9] == x[5, 2, 9, 3]).all()
    assert data.checksum == made(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).checksum


def test_a_layout_that_is_said_decides():
    x = pixels(16, 16, 4)
    assert made(x, layout="NCHW").shape == (16, 16, 4)
    assert made(pixels(13, 48, 64), layout="NCHW").shape == (13, 48, 64)
    assert made(pixels(13, 48, 64), layout="NHWC").shape == (64, 13, 48)


def test_shapes_that_can_be_read_in_two_ways_are_asked_about():
    with pytest.raises(
        Refused, match=r"x_train has samples of shape \(13, 48, 64\).*set layout of the data set to NHWC"
    ):
        made(pixels(13, 48, 64))
    for flat in (pixels(8), pixels(8, 8)):
        with pytest.raises(Refused, match="have no axis of channels; leave layout out"):
            made(flat, layout="NHWC")


# --------------------------------------------------------------------------------------------------- scale


def test_floats_that_hold_bytes_are_the_bytes():
    x = pixels(6, 6)
    bytes_ = made(x)
    assert (bytes_.train.x.dtype, bytes_.scale) == (np.uint8, 1 / 255)
    for dtype in (np.float32, np.float64, np.float16, np.int16, np.int64, np.uint16):
        assert made(x.astype(dtype)).checksum == bytes_.checksum
    assert made(torch.from_numpy(x).float()).checksum == bytes_.checksum


def test_floats_up_to_255_that_are_not_whole_are_scaled():
    x = pixels(6, 6).astype(np.float32)
    x[3] = x[3] * 0.5 + 0.25
    data = made(x)
    assert (data.train.x.dtype, data.scale) == (np.float32, 1 / 255)


def test_masks_of_zeros_and_ones_keep_their_values():
    mask = pixels(6, 6, high=2)
    for x in (mask, mask.astype(np.int64)):
        data = made(x)
        assert (data.train.x.dtype, data.scale) == (np.uint8, 1.0)
    assert made(mask.astype(bool)).scale == made(mask.astype(np.float32)).scale == 1.0
    assert made(pixels(20, high=2)).scale == 1.0  # vectors too
    assert made(mask * 255).scale == 1 / 255
    assert made(mask * 0).scale == 1 / 255


@pytest.mark.parametrize(
    "x",
    [
        RNG.random((8, 6, 6)),
        RNG.random((8, 6, 6)) * 2 - 1,
        RNG.normal(size=(8, 6, 6)),
        RNG.random((8, 6, 6)) * 20,
        RNG.random((8, 6)) * 1e5,
        RNG.integers(0, 90, (8, 6)),
        RNG.integers(-500, 90000, (8, 6)),
        RNG.integers(0, 180, (8, 6)).astype(float),
    ],
    ids=["unit", "signed", "standardised", "features", "income", "ages", "counts", "whole floats"],
)
def test_standardised_images_features_and_tables_are_taken_as_they_are(x):
    data = made(x)
    assert (data.train.x.dtype, data.scale) == (np.float32, 1.0)


def test_flat_images_in_the_whole_range_of_a_byte_are_scaled():
    x = pixels(36, dtype=np.float64)
    assert made(x).checksum == made(x.astype(np.uint8)).checksum
    assert made(x).scale == 1 / 255


@pytest.mark.parametrize(
    "x",
    [
        pixels(6, 6, high=4096, dtype=np.uint16),
        pixels(6, 6, high=65536, dtype=np.uint16),
        pixels(6, 6, high=65536, dtype=np.int32),
        pixels(6, 6, high=65536, dtype=np.float32),
        pixels(6, 6, high=3000, dtype=np.int16) - 1000,
        pixels(6, 6, high=17),
        pixels(6, 6, high=17, dtype=np.float64),
        pixels(6, 6).astype(np.float32) - 128,
        RNG.random((8, 6, 6)) * 65535,
        RNG.random((8, 6, 6)) * 100,
    ],
    ids=["12 bits", "16 bits", "int32", "float", "signed", "4 bits", "digits", "centred", "far", "middle"],
)
def test_images_on_another_scale_are_refused_until_it_is_said(x):
    with pytest.raises(Refused, match=r"has values from \S+ to \S+, and models need values in \[0, 1\]; set scale"):
        made(x)
    top = float(x.max())
    data = made(x, scale=top)
    assert data.train.x.max() * data.scale == pytest.approx(1.0)
    assert made(x, scale=1).scale == 1.0


def test_a_scale_is_a_divisor_or_its_inverse():
    x = pixels(6, 6, high=17)
    assert made(x, scale=16).scale == made(x, scale=1 / 16).scale == 1 / 16
    assert made(x, scale=16).train.x.dtype == np.uint8
    assert made(pixels(6, 6), scale=255).scale == 1 / 255
    for wrong in (0.0, -1.0, float("nan"), float("inf"), "255", (255,)):
        with pytest.raises(Refused, match=r"scale = .* is not allowed"):
            made(x, scale=wrong)


def test_the_scale_is_that_of_both_splits():
    dark, bright = pixels(6, 6, high=2), pixels(6, 6)
    data = from_arrays("mine", bright, Y, dark, Y)
    assert (data.test.x.dtype, data.scale) == (np.uint8, 1 / 255)
    with pytest.raises(Refused, match=r"training samples are uint8 .* and test samples float64"):
        from_arrays("mine", bright, Y, bright / 255, Y)


@pytest.mark.parametrize("turned", [False, True])
def test_floats_of_which_one_split_has_been_scaled_are_refused(turned):
    bright = pixels(6, 6).astype(np.float32)
    first, second = (bright / 255, bright) if turned else (bright, bright / 255)
    with pytest.raises(Refused, match="bring both to the same scale"):
        from_arrays("mine", first, Y, second, Y)
    assert from_arrays("mine", first, Y, second, Y, scale=1).scale == 1.0
    dark = from_arrays("mine", bright, Y, np.float32(bright > 128), Y)  # whole values: dark images
    assert (dark.test.x.dtype, dark.scale, dark.test.x.max()) == (np.uint8, 1 / 255, 1)


@pytest.mark.parametrize("wrong", ["HWC", "nhwc", "", 3])
def test_a_layout_that_is_none_is_refused(wrong):
    with pytest.raises(Refused, match=r"layout = .* is not known.*NHWC"):
        made(pixels(6, 7, 4), layout=wrong)


# --------------------------------------------------------------------------------------------------- by name


def test_scale_and_layout_are_settings_of_a_file_and_of_its_place_in_the_cache(tmp_path):
    x = pixels(13, 48, 64, high=4096, dtype=np.uint16)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=Y, x_test=x, y_test=Y)
    with pytest.raises(Refused, match="set layout"):
        load("npz:a.npz", tmp_path)
    with pytest.raises(Refused, match="set scale"):
        load("npz:a.npz", tmp_path, layout="NHWC")
    last, first = (load("npz:a.npz", tmp_path, layout=layout, scale=4095) for layout in ("NHWC", "NCHW"))
    assert (last.shape, first.shape) == ((64, 13, 48), (13, 48, 64))
    assert last.scale == 1 / 4095
    assert load("npz:a.npz", tmp_path, layout="NCHW", scale=65535).scale == 1 / 65535


def test_they_are_part_of_a_cell_only_where_they_are_said(tmp_path):
    x = pixels(16, 16, 4)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=Y, x_test=x, y_test=Y)
    benchmark = {
        "name": "mine",
        "stream": {"scenario": "split", "dataset": {"name": f"npz:{tmp_path / 'a.npz'}"}, "experiences": 2},
        "model": {"name": "mlp", "hidden": [4]},
        "evaluation": {"every": 0},
    }
    run = lambda **settings: clbench.run(  # noqa: E731
        benchmark, strategies="naive", seeds=1, overrides={f"stream.dataset.{k}": v for k, v in settings.items()}
    )[0]
    plain, said = run(), run(layout="NCHW", scale=255)
    assert not {"scale", "layout", "background"} & set(plain.cell["stream"]["dataset"])
    assert said.cell["stream"]["dataset"].items() >= {("scale", 255.0), ("layout", "NCHW")}
    assert plain.status == said.status == "done"
    assert plain.fingerprint != said.fingerprint


def test_a_source_that_has_no_such_setting_says_so(tmp_path):
    with pytest.raises(Refused, match="data set 'digits' has no setting 'layout'; leave it out"):
        load("digits", layout="NHWC")
    np.savez(tmp_path / "a.npz", x_train=pixels(4), y_train=Y, x_test=pixels(4), y_test=Y)
    with pytest.raises(Refused, match="has no setting 'size'; leave it out"):
        load("npz:a.npz", tmp_path, size=4)
