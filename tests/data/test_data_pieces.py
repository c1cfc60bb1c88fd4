"""Pieces of data loading by hand: fixed splits, joined data sets found again, folders, headers, images and tables."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clbench.core.errors import Refused
from clbench.core.types import Dataset, Rows
from clbench.data import drawn_split, idx, images, joined, labels, roots, splits, stratified, tables

SEEDS = st.integers(0, 2**32 - 1)

# ---------------------------------------------------------------------------------------------- fixed splits


@st.composite
def labelled(draw):
    """Labels of some classes, each present, and a number of rows to choose."""
    counts = draw(st.lists(st.integers(1, 30), min_size=1, max_size=6))
    y = np.random.default_rng(draw(SEEDS)).permutation(np.repeat(np.arange(len(counts)), counts))
    return y, np.array(counts), draw(st.integers(len(counts), len(y)))


@given(labelled())
def test_a_stratified_choice_is_within_one_of_every_classes_share_but_for_rare_classes(case):
    y, counts, n = case
    chosen = np.bincount(y[stratified.stratified(y, n, "test")], minlength=len(counts))
    share = n * counts / counts.sum()
    assert chosen.sum() == n
    assert (chosen >= 1).all()
    assert (chosen <= counts).all()
    if (share >= 1).all():  # no class had to be lifted to its one row
        assert (np.abs(chosen - share) < 1).all()


@given(labelled())
def test_a_choice_depends_on_labels_number_and_purpose_alone(case):
    y, _, n = case
    first = stratified.stratified(y, n, "test")
    assert np.array_equal(first, stratified.stratified(y.copy(), n, "test"))


def test_a_larger_choice_holds_the_smaller_one_where_classes_are_alike():
    y = np.tile([0, 1], 50)
    small, large = (stratified.stratified(y, n, "test") for n in (20, 60))
    assert (large | ~small).all()


def test_another_purpose_is_another_draw():
    y = np.zeros(50, dtype=np.int64)
    assert not np.array_equal(stratified.stratified(y, 25, "one"), stratified.stratified(y, 25, "other"))


def test_rows_without_a_split_are_divided_in_every_class_and_none_is_lost():
    x = np.arange(40)
    y = np.array(["a"] * 30 + ["b"] * 10)
    (train, train_y), (test, test_y) = drawn_split.split_off_test(x, y, where="here")
    assert sorted([*train, *test]) == list(range(40))
    assert [(test_y == c).sum() for c in ("a", "b")] == [6, 2]
    assert [(train_y == c).sum() for c in ("a", "b")] == [24, 8]
    assert (np.diff(train) > 0).all()  # rows keep their order
    again = drawn_split.split_off_test(x, y, where="elsewhere")
    assert again[1][0].tolist() == test.tolist()


@pytest.mark.parametrize(
    ("y", "test", "sentence"),
    [
        ([0, 0, 1], 0.2, "class '1' has a single"),
        ([0, 0, 1, 1], 0.9, "smaller fraction"),
        (["a", "b"], 0.5, "'a' has a single"),
    ],
)
def test_a_class_that_cannot_be_in_both_splits_is_refused(y, test, sentence):
    with pytest.raises(Refused, match=sentence):
        drawn_split.split_off_test(np.arange(len(y)), np.array(y), test=test, where="here")


@given(SEEDS, st.sampled_from([(3, 2, 4, 4), (5, 7)]), st.booleans())
def test_statistics_agree_with_numpys_over_whole_arrays(seed, shape, bytes_):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, shape).astype(np.uint8) if bytes_ else rng.random(shape, dtype=np.float32)
    scale = 1 / 255 if bytes_ else 1.0
    mean, std = splits.channel_statistics(x, scale)
    axes = (0, 2, 3) if len(shape) == 4 else None
    values = x.astype(np.float64) * scale
    assert mean == pytest.approx(np.atleast_1d(values.mean(axis=axes)).tolist())
    assert std == pytest.approx(np.atleast_1d(values.std(axis=axes)).tolist())


# ---------------------------------------------------------------------------------------------- joined data sets


def dataset(name, counts, value, classes=2):
    y = np.repeat(np.arange(classes), counts)
    x = np.full((len(y), 1, 2, 2), value, dtype=np.uint8)
    names = tuple("abcdef"[:classes])
    return Dataset(name, Rows(x, y), Rows(x[::2], y[::2]), names, 1 / 255, name)


def test_joined_data_sets_lie_one_behind_the_other():
    whole = joined.join([dataset("one", 3, 10), dataset("two", 2, 20, classes=3)])
    assert whole.name == "one+two"
    assert whole.class_names == ("one/a", "one/b", "two/a", "two/b", "two/c")
    assert whole.train.y.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [(o.name, o.train, o.test, o.classes) for o in whole.origins] == [
        ("one", (0, 6), (0, 3), (0, 2)),
        ("two", (6, 12), (3, 6), (2, 5)),
    ]
    assert whole.train.x[:, 0, 0, 0].tolist() == [10] * 6 + [20] * 6


def test_origins_are_found_again_after_rows_were_left_out():
    whole = joined.join([dataset("one", 3, 10), dataset("two", 2, 20)])
    kept = np.array([0, 3, 5, 6, 9])
    smaller = Dataset(
        whole.name, Rows(whole.train.x[kept], whole.train.y[kept]), whole.test, whole.class_names, whole.scale, "x",
        origins=whole.origins,
    )  # fmt: skip
    assert [(o.name, o.train) for o in joined.located(smaller)] == [("one", (0, 3)), ("two", (3, 5))]
    assert [o.test for o in joined.located(smaller)] == [o.test for o in whole.origins]


def test_the_order_of_joined_data_sets_counts():
    one, two = dataset("one", 3, 10), dataset("two", 2, 20)
    assert joined.join([one, two]).checksum != joined.join([two, one]).checksum


# ---------------------------------------------------------------------------------------------- folders


def test_the_folder_of_data_is_the_argument_else_the_environment_else_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("CLBENCH_DATA", str(tmp_path / "set"))
    assert roots.data_root(tmp_path / "given") == tmp_path / "given"
    assert roots.data_root() == tmp_path / "set"
    monkeypatch.delenv("CLBENCH_DATA")
    assert roots.data_root() == roots.cache_home() / "data"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert roots.data_root("~/here") == tmp_path / "here"


def test_the_folder_of_decoded_data_has_a_variable_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path))
    assert roots.cache_root() == tmp_path
    monkeypatch.delenv("CLBENCH_CACHE")
    assert roots.cache_root() == roots.cache_home()


@pytest.mark.parametrize(("value", "allowed"), [(None, True), ("", True), ("0", True), ("1", False), ("yes", False)])
def test_downloads_are_allowed_unless_the_variable_says_otherwise(monkeypatch, value, allowed):
    if value is None:
        monkeypatch.delenv("CLBENCH_OFFLINE", raising=False)
    else:
        monkeypatch.setenv("CLBENCH_OFFLINE", value)
    assert roots.may_download() is allowed
    with roots.offline():
        assert not roots.may_download()
    assert os.environ.get("CLBENCH_OFFLINE") == value


def test_a_path_is_found_in_the_folder_of_data_or_where_it_says(tmp_path):
    (tmp_path / "rows.csv").write_text("")
    (tmp_path / "folder").mkdir()
    assert roots.locate("csv", "rows.csv", tmp_path, folder=False) == tmp_path / "rows.csv"
    assert roots.locate("csv", str(tmp_path / "rows.csv"), Path("/nowhere"), folder=False) == tmp_path / "rows.csv"
    assert roots.locate("folder", "folder", tmp_path, folder=True) == tmp_path / "folder"


@pytest.mark.parametrize(
    ("path", "folder", "sentence"),
    [
        ("gone.csv", False, "there is no file"),
        ("gone", True, "there is no folder"),
        ("folder", False, "is not a file"),
        ("rows.csv", True, "is not a folder"),
        ("", False, "there is no file"),
    ],
)
def test_a_path_that_is_not_there_is_refused_with_the_folder_of_data(tmp_path, path, folder, sentence):
    (tmp_path / "rows.csv").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Refused, match=sentence) as caught:
        roots.locate("form", path, tmp_path, folder=folder)
    assert str(tmp_path) in str(caught.value)
    assert "--data-dir" in str(caught.value)


# ---------------------------------------------------------------------------------------------- headers of idx files


def idx_file(folder, values, *, kind=8, name="a-ubyte"):
    header = bytes([0, 0, kind, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    (folder / name).write_bytes(header + values.tobytes())
    return folder / name


@pytest.mark.parametrize(("kind", "dtype"), [(8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")])
def test_a_whole_idx_file_of_every_kind_passes(tmp_path, kind, dtype):
    idx.check_idx([idx_file(tmp_path, np.zeros((3, 2, 2), dtype=dtype), kind=kind)])


@pytest.mark.parametrize(
    "change", [lambda b: b[:-1], lambda b: b + b"x", lambda b: b"\1" + b[1:], lambda b: b[:3], lambda b: b""]
)
def test_an_idx_file_of_another_size_or_beginning_is_refused_by_its_path(tmp_path, change):
    path = idx_file(tmp_path, np.zeros((3, 2), dtype="u1"))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(Refused, match="a-ubyte is damaged"):
        idx.check_idx([path])


def test_compressed_files_are_left_to_whoever_unpacks_them(tmp_path):
    (tmp_path / "a-ubyte.gz").write_bytes(b"anything")
    idx.check_idx([tmp_path / "a-ubyte.gz"])


# ---------------------------------------------------------------------------------------------- images


def decode(*pictures, **options):
    settings = {"where": lambda i: f"image {i}", "size": None, **options}
    return images.decode_all(len(pictures), lambda i: pictures[i], **settings)


def grey(*values, mode="L"):
    return Image.fromarray(np.array(values, dtype=np.uint8).reshape(1, -1)).convert(mode)


def colour(*pixels):
    return Image.fromarray(np.array(pixels, dtype=np.uint8).reshape(1, -1, 3))


def test_grey_images_have_one_channel_and_keep_their_values():
    out = decode(grey(1, 2, 3), grey(4, 5, 6))
    assert out.shape == (2, 1, 1, 3)
    assert out[:, 0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_one_colour_image_makes_all_of_them_colour_wherever_it_stands():
    for place in range(3):
        pictures = [grey(7, 8) for _ in range(3)]
        pictures[place] = colour((1, 2, 3), (4, 5, 6))
        out = decode(*pictures)
        assert out.shape == (3, 3, 1, 2)
        assert out[place, :, 0].tolist() == [[1, 4], [2, 5], [3, 6]]
        assert out[(place + 1) % 3, :, 0].tolist() == [[7, 8]] * 3


def test_palettes_and_black_and_white_are_read_as_what_they_show():
    assert decode(colour((255, 0, 0)).convert("P"))[0, :, 0, 0].tolist() == [255, 0, 0]
    assert decode(grey(0, 255, mode="1"))[0, 0, 0].tolist() == [0, 255]


@pytest.mark.parametrize(("background", "expected"), [(None, 50), ("black", 50), ("white", 178)])
def test_transparent_pixels_let_the_ground_through(background, expected):
    half = Image.merge("LA", [grey(100), grey(128)])
    out = decode(half, background=background)
    assert out.shape == (1, 1, 1, 1)
    assert out.item() == pytest.approx(expected, abs=1)  # 100 * 128/255 + ground * 127/255


def test_a_ground_of_colour_makes_transparent_images_colour():
    clear = Image.merge("LA", [grey(100), grey(0)])
    assert decode(clear, background="#ff8000")[0, :, 0, 0].tolist() == [255, 128, 0]


def test_images_are_turned_as_they_say():
    picture = grey(1, 2, 3)
    picture.getexif()[0x0112] = 6  # to be turned by 90 degrees to the right
    exif = picture.getexif()
    exif[0x0112] = 6
    import io

    data = io.BytesIO()
    picture.save(data, "PNG", exif=exif)
    data.seek(0)
    assert decode(Image.open(data)).shape == (1, 1, 3, 1)


def test_a_size_brings_all_images_to_squares():
    out = decode(grey(*range(8)), Image.new("L", (3, 5), 9), size=4)
    assert out.shape == (2, 1, 4, 4)
    assert (out[1] == 9).all()


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_more_than_eight_bits_are_refused(mode):
    with pytest.raises(Refused, match=r"image 0 .*8 bits"):
        decode(Image.new(mode, (2, 2)))


def test_images_of_different_sizes_are_refused_by_both_their_names():
    with pytest.raises(Refused, match=r"image 1 is 3x1 .*image 0 is 2x1"):
        decode(grey(1, 2), grey(1, 2, 3))


def test_an_image_that_cannot_be_read_is_refused_by_its_name():
    def broken(_):
        raise OSError("truncated")

    with pytest.raises(Refused, match=r"image 0 .*truncated"):
        images.decode_all(1, broken, where=lambda i: f"image {i}", size=None)


# ---------------------------------------------------------------------------------------------- tables


def frame(**columns):
    return pd.DataFrame(columns or {"a": [1.5, 2.5, 3.5, 4.5], "label": [0, 1, 0, 1]})


def read(*frames, **settings):
    table = tables.read_frames(frames, tables.TableSettings(**settings), where="here")
    return table.train, table.test


def test_a_column_that_says_train_and_test_divides_the_rows():
    words = ["train", " Test ", "TRAINING", "val"]
    (x, y), (xt, yt) = read(frame().assign(split=words))
    assert (x.tolist(), y.tolist()) == ([[1.5], [3.5]], [0, 0])
    assert (xt.tolist(), yt.tolist()) == ([[2.5], [4.5]], [1, 1])


def test_a_column_called_split_that_says_something_else_is_a_number_like_any_other():
    (x, _), (xt, _) = read(frame().assign(split=[7, 8, 9, 10]), split={"test": 0.5})
    assert sorted([*x[:, 1], *xt[:, 1]]) == [7, 8, 9, 10]


@pytest.mark.parametrize(
    ("name", "given"), [("label", None), ("Label", None), ("target", "target"), ("class", None), ("y", None)]
)
def test_the_column_of_labels_has_a_usual_name_or_the_one_that_was_said(name, given):
    assert tables.label_column(pd.DataFrame({"a": [1], name: [0]}), given, "here") == name


def test_columns_of_any_kind_of_number_become_one_array():
    made = tables.numbers(pd.DataFrame({"i": [1, 2], "f": [0.5, 1.5], "b": [True, False]}), "here")
    assert made.tolist() == [[1, 0.5, 1], [2, 1.5, 0]]
    nullable = pd.DataFrame({"i": pd.array([1, 2], dtype="Int64")})
    assert tables.numbers(nullable, "here").tolist() == [[1], [2]]


def test_two_frames_are_read_by_the_names_of_their_columns():
    train, test = frame(a=[1.0], b=[2.0], label=[0]), frame(label=[0], b=[4.0], a=[3.0])
    (x, _), (xt, _) = read(train, test)
    assert (x.tolist(), xt.tolist()) == ([[1, 2]], [[3, 4]])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: read(frame(), frame().assign(b=1)), "columns b"),
        (lambda: tables.numbers(frame(a=["x"]), "here"), "'a' holds"),
        (lambda: tables.numbers(frame(a=[1.0, None]), "here"), "'a' has gaps"),
        (lambda: tables.numbers(frame().drop(columns=["a", "label"]), "here"), "no columns beside the labels"),
        (lambda: tables.label_column(frame(a=[1], b=[2]), None, "here"), "its columns are a, b"),
        (lambda: tables.label_column(frame(a=[1], b=[2]), "c", "here"), "no column 'c'"),
        (lambda: read(frame(), split="fold"), "no column 'fold'"),
        (lambda: read(frame().assign(split="train")), "says test for no row"),
        (lambda: read(pd.DataFrame([[1, 2, 0]], columns=["a", "a", "label"])), "'a' twice"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_column(call, sentence):
    with pytest.raises(Refused, match=sentence):
        call()


# ---------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("values", "text"), [([1, 2], "1, 2"), (range(5), "0, 1, 2, 3, 4"), (range(9), "0, 1, 2, 3, 4, ... (9 in all)")]
)
def test_a_message_names_five_values_and_their_number(values, text):
    assert labels.some(list(values)) == text


def test_labels_are_renumbered_in_ascending_order_and_names_follow():
    y, yt, names = labels.encode(np.array([30, 10, 30, 20]), np.array([10, 20, 30]), None, "here")
    assert (y.tolist(), yt.tolist(), names) == ([2, 0, 2, 1], [0, 1, 2], ("10", "20", "30"))
    _, _, named = labels.encode(np.array([1, 3]), np.array([1, 3]), ["zero", "one", "two", "three"], "here")
    assert named == ("one", "three")  # by the label
    _, _, ranked = labels.encode(np.array([10, 30]), np.array([10, 30]), ["ten", "thirty"], "here")
    assert ranked == ("ten", "thirty")  # by its rank


@pytest.mark.parametrize(
    ("y", "classes", "wrong"), [([0, 1, 2], 2, "2"), ([-1, 0], 2, "-1"), ([0, 1], 2, None), (["a"], 1, None)]
)
def test_labels_outside_of_the_classes_of_a_file_are_damage(y, classes, wrong):
    if wrong is None:
        labels.check_range(np.array(y), classes, "here")
    else:
        with pytest.raises(Refused, match=rf"the first is {wrong}\)"):
            labels.check_range(np.array(y), classes, "here")
