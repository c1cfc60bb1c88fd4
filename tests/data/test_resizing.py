"""Pictures brought to one size by their shorter side and centre, in every source that decodes pictures."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import clbench.data
from clbench.core.compat import import_torchvision
from clbench.core.errors import Refused
from clbench.data.huggingface import from_splits
from clbench.data.resizing import resized, written_resize

SIDES = ((40, 31), (31, 40), (33, 33), (97, 20), (20, 51))


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize(("shorter", "crop"), [(24, 21), (36, 32), (20, 20)])
@pytest.mark.parametrize("how", ["bicubic", "bilinear"])
def test_pixels_are_those_of_torchvisions_resize_and_center_crop(sides, shorter, crop, how):
    transforms = import_torchvision().transforms
    expected = transforms.Compose(
        [transforms.Resize(shorter, transforms.InterpolationMode(how)), transforms.CenterCrop(crop)]
    )(picture(*sides))
    found = resized(picture(*sides), None, {"shorter": shorter, "crop": crop, "interpolation": how}, "it")
    assert (np.asarray(found) == np.asarray(expected)).all()


def test_every_source_of_pictures_gives_the_same_pixels(tmp_path, monkeypatch):
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "cache"))
    setting = {"shorter": 12, "crop": 10, "interpolation": "bicubic"}
    pictures = {(kind, i): picture(20 + i, 30 - i, seed=10 * kind + i) for kind in range(2) for i in range(3)}
    for split in ("train", "test"):
        for (kind, i), image in pictures.items():
            folder = tmp_path / "pets" / split / f"class{kind}"
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{i}.png")
        rows = {"image": [png(image) for image in pictures.values()], "label": [kind for kind, _ in pictures]}
        pq.write_table(pa.table(rows), tmp_path / f"{split}.parquet")
    (tmp_path / "pq").mkdir()
    for split in ("train", "test"):
        (tmp_path / f"{split}.parquet").rename(tmp_path / "pq" / f"{split}-0.parquet")
    of_folder = clbench.data.load("folder:pets", tmp_path, resize=setting)
    of_parquet = clbench.data.load("parquet:pq", tmp_path, resize=setting)
    assert of_folder.shape == (3, 10, 10)
    assert (of_folder.train.x == of_parquet.train.x).all()
    expected = np.asarray(resized(pictures[1, 2], None, setting, "it")).transpose(2, 0, 1)
    assert (of_folder.train.x[5] == expected).all()
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"image": [{"bytes": png(p)} for p in pictures.values()], "label": [kind for kind, _ in pictures]}
    split = datasets.Dataset.from_dict(rows, features=features)
    of_hub = from_splits({"train": split, "test": split}, "it", resize=setting)
    assert (of_hub.test.x == of_parquet.test.x).all()


def test_the_setting_is_in_a_cell_only_if_it_is_set_and_its_filter_is_written_out():
    assert "resize" not in clbench.data.canonical({})
    assert clbench.data.canonical({"resize": {"crop": 8, "shorter": 9}})["resize"] == {
        "shorter": 9,
        "crop": 8,
        "interpolation": "bilinear",
    }


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"shorter": 9, "crop": 10}, "crop = 10 is larger than shorter = 9"),
        ({"short": 9}, "'short' is not known in it; write {shorter: 256, crop: 224, interpolation: bicubic}"),
        ({}, "it names no side in pixels"),
        ({"shorter": 0}, "shorter = 0 is no number of pixels"),
        ({"shorter": 9, "interpolation": "cubic"}, "interpolation = 'cubic' does not exist; did you mean 'bicubic'"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(written, sentence):
    with pytest.raises(Refused, match=sentence):
        clbench.data.canonical({"resize": written})
    with pytest.raises(ValueError, match=sentence):
        written_resize(written)


def test_two_sizes_and_a_crop_beyond_the_picture_are_refused(tmp_path):
    with pytest.raises(Refused, match="are both set; leave one of them out"):
        clbench.data.canonical({"resize": {"crop": 8}, "size": 8})
    for kind in "ab":
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for i in range(5):
            picture(10, 7).save(tmp_path / "pets" / kind / f"{i}.png")
    with pytest.raises(Refused, match=r"is 10x7 pixels, and resize keeps the 8x8 in its centre; set shorter"):
        clbench.data.load("folder:pets", tmp_path, resize={"crop": 8})
