"""Image folders as people have them: transparency, cameras held sideways, stray files, and paths with a plus."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from test_data_sources import pictures, png, write_folder

from clbench.core.errors import Refused
from clbench.core.notices import Notice
from clbench.data import check_name, load
from clbench.data.dataset_registry import parts

# --------------------------------------------------------------------------------------------------- transparency


def write_images(root, make, suffix="png", **options):
    """Two classes with an image in each split, made from a number."""
    for split in ("train", "test"):
        for k, name in enumerate(("ant", "bee")):
            (root / split / name).mkdir(parents=True)
            make(k).save(root / split / name / f"0.{suffix}", **options)


def see_through(k):
    """An image of (200, 100, 50), opaque on the left, half transparent in the middle, transparent on the right."""
    pixels = np.zeros((4, 3, 4), dtype=np.uint8)
    pixels[..., :3] = 200, 100, 50
    pixels[..., 3] = 255, 128, 0
    pixels[0, 0, :3] = k
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("background", "ground"),
    [(None, (0, 0, 0)), ("black", (0, 0, 0)), ("white", (255, 255, 255)), ("#102030", (16, 32, 48))],
)
def test_transparent_pixels_show_the_ground_that_was_said(tmp_path, background, ground):
    write_images(tmp_path, see_through)
    settings = {} if background is None else {"background": background}
    image = load(f"folder:{tmp_path}", **settings).train.x[0].transpose(1, 2, 0).astype(int)  # (4, 3, 3)
    colour, ground = np.array((200, 100, 50)), np.array(ground)
    assert (image[1, 0] == colour).all()
    assert np.abs(image[1, 1] - (colour * 128 + ground * 127) / 255).max() <= 1
    assert (image[1, 2] == ground).all()


def test_grey_images_with_transparency_stay_grey_over_a_grey_ground(tmp_path):
    write_images(tmp_path, lambda k: see_through(k).convert("LA"))
    assert load(f"folder:{tmp_path}", background="white").shape == (1, 4, 3)
    assert (load(f"folder:{tmp_path}", background="white").train.x[0, 0, :, 2] == 255).all()
    assert load(f"folder:{tmp_path}", background="#ff0000").shape == (3, 4, 3)


def test_a_transparent_entry_of_a_palette_shows_the_ground(tmp_path):
    def make(k):
        image = Image.new("P", (3, 2), 1)
        image.putpalette([9, 9, 9, 200, 100, 50])
        image.putpixel((0, 0), 0)
        return image

    write_images(tmp_path, make, suffix="gif", transparency=0)
    image = load(f"folder:{tmp_path}", background="white").train.x[0]
    assert image[:, 0, 0].tolist() == [255, 255, 255]
    assert image[:, 0, 1].tolist() == [200, 100, 50]


def test_opaque_images_do_not_depend_on_the_ground(tmp_path):
    write_folder(tmp_path)
    assert load(f"folder:{tmp_path}").checksum == load(f"folder:{tmp_path}", background="white").checksum


def test_images_in_parquet_files_are_laid_over_the_ground_too(tmp_path):
    for split in ("train", "test"):
        column = pa.array([{"bytes": png(np.asarray(see_through(k)))} for k in range(2)])
        pq.write_table(pa.table({"image": column, "label": pa.array([0, 1])}), tmp_path / f"{split}-0.parquet")
    assert (load(f"parquet:{tmp_path}", background="white").train.x[0, :, :, 2] == 255).all()
    assert (load(f"parquet:{tmp_path}").train.x[0, :, :, 2] == 0).all()


# --------------------------------------------------------------------------------------------------- orientation


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda x: x),
        (2, lambda x: x[:, ::-1]),
        (3, lambda x: x[::-1, ::-1]),
        (6, lambda x: np.rot90(x, -1)),
        (8, lambda x: np.rot90(x, 1)),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
def test_images_are_turned_as_their_exif_orientation_says(tmp_path, orientation, upright, suffix):
    stored = pictures(1, (4, 6, 3))[0]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    write_images(tmp_path, lambda k: Image.fromarray(stored), suffix=suffix, exif=exif, **options)
    assert (load(f"folder:{tmp_path}").train.x[0].transpose(1, 2, 0) == upright(stored)).all()


# --------------------------------------------------------------------------------------------------- what is left out


def test_what_is_left_out_is_named_in_one_notice(tmp_path):
    write_folder(tmp_path)
    picture = tmp_path / "train/ant/0.png"
    for stray in (
        "train/ant/deep/er/5.png",
        "train/.ipynb_checkpoints/0-checkpoint.png",
        "train/bee/._0.png",
        "train/alone.png",
        "train/bee/notes.txt",
        "train/bee/Thumbs.db",
        "train/.DS_Store",
    ):
        (tmp_path / stray).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / stray).write_bytes(picture.read_bytes())
    with pytest.warns(Notice) as told:
        data = load(f"folder:{tmp_path}")
    assert data.class_names == ("ant", "bee")
    assert len(data.train) == 6
    (notice,) = told
    for part in (
        "2 hidden (.ipynb_checkpoints, bee/._0.png)",
        "1 in folders inside that of a class (ant/deep/er/5.png)",
        "1 in no folder of a class (alone.png)",
        "1 of a kind that is not read (bee/notes.txt)",
    ):
        assert f"in train/ {part}" in str(notice.message)
    assert "Thumbs" not in str(notice.message)


def test_a_second_folder_for_evaluation_is_named(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "val").mkdir()
    with pytest.warns(Notice, match="left out are val/ beside test/"):
        load(f"folder:{tmp_path}")


def test_a_tidy_folder_needs_no_notice(tmp_path):
    write_folder(tmp_path)
    assert len(load(f"folder:{tmp_path}").train) == 6  # a warning would be an error here


def test_masks_of_zeros_and_ones_keep_their_values_and_darker_images_are_asked_about(tmp_path):
    write_images(tmp_path / "masks", lambda k: Image.fromarray(np.eye(4, dtype=np.uint8)))
    assert load("folder:masks", tmp_path).scale == 1.0
    write_images(tmp_path / "dim", lambda k: Image.fromarray(7 * np.eye(4, dtype=np.uint8)))
    with pytest.raises(Refused, match="has values from 0 to 7"):
        load("folder:dim", tmp_path)
    assert load("folder:dim", tmp_path, scale=7).scale == 1 / 7


# --------------------------------------------------------------------------------------------------- paths with a plus


@pytest.mark.parametrize(
    ("name", "joined"),
    [
        ("mnist+usps", ["mnist", "usps"]),
        ("folder:a+b", ["folder:a+b"]),
        ("folder:a+digits", ["folder:a", "digits"]),
        ("folder:'a+digits'", ["folder:'a+digits'"]),
        ('folder:"a+digits"+digits', ['folder:"a+digits"', "digits"]),
        ("digits+folder:'x+mnist+y'+usps", ["digits", "folder:'x+mnist+y'", "usps"]),
        ("npz:a+folder:b", ["npz:a", "folder:b"]),
    ],
)
def test_a_plus_joins_data_sets_but_not_inside_quotes(tmp_path, name, joined):
    assert parts(name, tmp_path) == joined
    check_name(name)


def test_a_path_with_a_plus_is_read_where_it_exists_or_stands_in_quotes(tmp_path):
    write_folder(tmp_path / "cats+digits")
    for name in ("folder:cats+digits", f"folder:{tmp_path}/cats+digits", "folder:'cats+digits'"):
        data = load(name, tmp_path)
        assert data.class_names == ("ant", "bee")
        assert data.name == name
    write_folder(tmp_path / "b")
    assert load("folder:cats+digits+folder:b", tmp_path).n_classes == 4
