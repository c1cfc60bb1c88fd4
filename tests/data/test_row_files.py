"""Decoded rows go straight into files: little memory, builds that were killed continue, broken pictures are named."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from PIL import Image

from clbench.core.errors import Refused
from clbench.data import images, load, row_files
from clbench.data.arrays import from_arrays
from clbench.data.cache import cached
from clbench.data.images import decode_all
from clbench.data.row_files import RowFile


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


class Killed(BaseException):
    """Stands for the end of a process."""


def pictures(folder, count, *, side=8, grey=False):
    """An image folder with two classes; each picture has a colour of its own."""
    for i in range(count):
        for split in ("train", "test"):
            file = folder / split / "ab"[i % 2] / f"{i:04}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            colour = 100 + i % 150 if grey else (100 + i % 150, i // 150, 255 if split == "test" else 0)
            Image.new("L" if grey else "RGB", (side, side), colour).save(file)


def opened(monkeypatch):
    """Names of the pictures that are opened from now on."""
    names = []
    inner = images._decode

    def decode(i, open_image, where, *rest):
        names.append(where(i))
        return inner(i, open_image, where, *rest)

    monkeypatch.setattr(images, "_decode", decode)
    return names


def test_an_entry_has_the_bytes_that_saving_whole_arrays_gives(root, tmp_path):
    pictures(tmp_path / "p", 6)
    made = load("folder:p", tmp_path)
    (entry,) = root.iterdir()
    for name, array in (("train_x", made.train.x), ("test_x", made.test.x)):
        whole = io.BytesIO()
        np.save(whole, np.array(array))
        assert (entry / f"{name}.npy").read_bytes() == whole.getvalue()
    assert made.train.x[3, :, 0, 0].tolist() == [101, 0, 0]  # a: 0 2 4, b: 1 3 5


@pytest.mark.parametrize("stop", [1, 7, 13])
def test_a_build_that_was_stopped_opens_only_the_pictures_that_are_left(root, tmp_path, stop, monkeypatch):
    monkeypatch.setattr(row_files, "MARK_BYTES", 1)
    pictures(tmp_path / "p", 8)
    inner, count = images._decode, [0]

    def dying(*arguments):
        count[0] += 1
        if count[0] > stop:
            raise Killed
        return inner(*arguments)

    with monkeypatch.context() as dies:
        dies.setattr(images, "_decode", dying)
        with pytest.raises(Killed):
            load("folder:p", tmp_path)
    assert sum(each.name.startswith(".partial-") and each.is_dir() for each in root.iterdir()) == 1
    names = opened(monkeypatch)
    made = load("folder:p", tmp_path)
    assert len(names) == 16 - stop
    assert [each.name for each in root.iterdir() if each.name.startswith(".")] == []
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "other"))
    assert made.checksum == load("folder:p", tmp_path).checksum


def test_a_build_of_changed_pictures_keeps_nothing_of_the_earlier_one(root, tmp_path, monkeypatch):
    monkeypatch.setattr(row_files, "MARK_BYTES", 1)
    pictures(tmp_path / "p", 4)
    with monkeypatch.context() as dies:
        dies.setattr(RowFile, "finish", lambda _: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            load("folder:p", tmp_path)
    Image.new("RGB", (8, 8), (9, 200, 9)).save(tmp_path / "p/train/a/0000.png")
    assert load("folder:p", tmp_path).train.x[0, :, 0, 0].tolist() == [9, 200, 9]


def test_marks_that_do_not_fit_their_file_are_not_believed(root, tmp_path, monkeypatch):
    monkeypatch.setattr(row_files, "MARK_BYTES", 1)
    pictures(tmp_path / "p", 4)
    with monkeypatch.context() as dies:
        dies.setattr(RowFile, "finish", lambda _: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            load("folder:p", tmp_path)
    (mark,) = root.glob(".partial-*/array-1.json")
    for damage in ({"done": 9}, {"shape": [5, 3, 8, 8]}, {"dtype": "<f4"}, {"done": "x"}):
        kept = json.loads(mark.read_text())
        mark.write_text(json.dumps({**kept, **damage}))
        with monkeypatch.context() as dies:
            names = opened(dies)
            dies.setattr(RowFile, "finish", lambda _: (_ for _ in ()).throw(Killed))
            with pytest.raises(Killed):
                load("folder:p", tmp_path)
        assert len(names) == 4, damage


def test_a_second_process_builds_in_a_folder_of_its_own(root, tmp_path):
    pictures(tmp_path / "p", 4)
    made = []

    def decode():
        first = RowFile(4)
        first.append(np.zeros((1, 3, 8, 8), dtype=np.uint8))
        made.append(load("folder:p", tmp_path))  # another entry
        with row_files.desk_for(root / "mine"):
            other = RowFile(4)
            assert ".building-" in str(other._path)  # the lock of .partial-mine is taken
        return made[0]

    with row_files.desk_for(root / "mine"):
        held = RowFile(1)
        assert ".partial-mine" in str(held._path)
        decode()
    assert [each.name for each in root.iterdir() if each.name.startswith(".")] == []


def test_what_was_left_long_ago_is_deleted_and_what_is_young_or_in_use_is_kept(root, tmp_path):
    old, young = root / ".partial-old", root / ".partial-young"
    for each in (old, young, root / ".writing-1"):
        each.mkdir(parents=True)
        (each / "array-1.npy").write_bytes(b"x")
    for each in (old / "array-1.npy", old, root / ".writing-1/array-1.npy", root / ".writing-1"):
        os.utime(each, (1, 1))
    pictures(tmp_path / "p", 2)
    load("folder:p", tmp_path)
    assert sorted(each.name for each in root.iterdir() if each.name.startswith(".")) == [".partial-young"]


def test_a_full_disk_while_rows_are_written_moves_them_to_memory(root, tmp_path, monkeypatch):
    pictures(tmp_path / "p", 6)
    expected = load("folder:p", tmp_path).checksum
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "full"))
    monkeypatch.setattr(row_files, "MARK_BYTES", 1)
    inner, count = RowFile._mark, [0]

    def full(self, done):
        count[0] += 1
        if count[0] == 3:
            raise OSError(28, "No space left on device")
        inner(self, done)

    monkeypatch.setattr(RowFile, "_mark", full)
    assert load("folder:p", tmp_path).checksum == expected


@pytest.mark.parametrize("desk", [False, True])
def test_a_colour_picture_after_grey_ones_makes_all_of_them_three_channels(desk, root):
    greys = [Image.new("L", (4, 4), i % 200) for i in range(300)]
    mixed = [*greys, Image.new("RGB", (4, 4), (1, 2, 3)), Image.new("L", (4, 4), 7)]

    def decode():
        return decode_all(len(mixed), lambda i: mixed[i], where=str, size=None)

    if desk:
        with row_files.desk_for(root / "mine") as held:
            x = decode()
            assert held.file_of(x) is not None
            x = np.array(x)
    else:
        x = decode()
    assert x.shape == (302, 3, 4, 4)
    assert x[:, :, 0, 0].tolist() == [*([i % 200] * 3 for i in range(300)), [1, 2, 3], [7, 7, 7]]


def test_one_part_is_divided_without_a_copy_in_memory(root):
    x, y = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1), np.arange(40) % 2
    with row_files.desk_for(root / "mine") as desk:
        held = row_files.taken(x, y == 1)
        assert desk.file_of(held) is not None
        assert held.ravel().tolist() == list(range(1, 40, 2))
    assert row_files.taken(x, y == 1).ravel().tolist() == list(range(1, 40, 2))


# --------------------------------------------------------------------------------------------------- broken pictures


def test_all_broken_pictures_are_counted_and_the_first_are_named(tmp_path):
    pictures(tmp_path / "p", 20)
    for i in (0, 2, 4, 6, 8, 10, 3):
        file = tmp_path / f"p/train/{'ab'[i % 2]}/{i:04}.png"
        file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(Refused) as refused:
        load("folder:p", tmp_path)
    text = str(refused.value)
    assert text.startswith("7 of 20 images cannot be used: ")
    assert [f"{i:04}.png is not a readable image" in text for i in (0, 2, 4, 6, 8, 10)] == [True] * 5 + [False]
    assert text.endswith("; ...; replace them or remove them")


def test_a_picture_with_far_too_many_pixels_is_named_in_one_sentence(tmp_path, monkeypatch):
    pictures(tmp_path / "p", 2)
    Image.new("L", (300, 300)).save(tmp_path / "p/train/a/huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(
        Refused, match=r"huge.png has far more pixels than a picture should have .*; replace it or remove it"
    ):
        load("folder:p", tmp_path, size=8)


KINDS = {
    "palette": (lambda: Image.new("RGB", (4, 4), (200, 20, 30)).quantize(4), (200, 20, 30)),
    "CMYK": (lambda: Image.new("CMYK", (4, 4), (0, 255, 255, 0)), (255, 0, 0)),
    "transparent": (lambda: Image.new("RGBA", (4, 4), (200, 20, 30, 0)), (0, 0, 0)),
    "one bit": (lambda: Image.new("1", (4, 4), 1), (255, 255, 255)),
    "YCbCr": (lambda: Image.new("RGB", (4, 4), (255, 0, 0)).convert("YCbCr"), (254, 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_other_kinds_have_the_right_pixels(kind):
    make, colour = KINDS[kind]
    x = decode_all(2, lambda i: make() if i else Image.new("RGB", (4, 4)), where=str, size=None)
    assert x[1, :, 2, 2].tolist() == list(colour)


def test_pictures_of_16_bits_are_refused_in_one_sentence():
    deep = Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16))
    with pytest.raises(Refused, match=r"more than 8 bits per channel .*; convert it to 8 bits"):
        decode_all(1, lambda _: deep, where=str, size=None)


# --------------------------------------------------------------------------------------------------- processes

BUILD = """
    import sys, threading, time
    from clbench.data import load
    most = [0]

    def watch():
        while True:
            text = open("/proc/self/status").read()
            most[0] = max(most[0], int(text.split("RssAnon:")[1].split()[0]))
            time.sleep(0.005)

    threading.Thread(target=watch, daemon=True).start()
    made = load("folder:p", sys.argv[1])
    print(most[0] // 1024, made.checksum, len(made.train), made.train.x.nbytes >> 20)
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the memory of a process from /proc")


def process(folder, cache):
    command = [sys.executable, "-c", textwrap.dedent(BUILD), str(folder.parent)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "CLBENCH_CACHE": str(cache)},
    )


@linux
def test_3000_pictures_of_300_pixels_build_with_less_than_300_mb_and_continue_when_killed(tmp_path):
    folder, cache = tmp_path / "p", tmp_path / "cache"
    noise = np.random.default_rng(0).integers(0, 255, (2, 20, 20, 3), dtype=np.uint8)
    files = []
    for i, each in enumerate(noise):
        files.append(tmp_path / f"{i}.jpg")
        Image.fromarray(each).resize((300, 300)).save(files[-1], quality=60)
    for i in range(3000):
        target = folder / ("test" if i < 100 else "train") / "ab"[i % 2] / f"{i:04}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(files[i % 2], target)
    first = process(folder, cache)
    while not list(cache.glob("datasets/.partial-*/array-1.json")) and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    assert first.communicate()[1] == ""
    (mark,) = cache.glob("datasets/.partial-*/array-1.json")
    done = json.loads(mark.read_text())["done"]
    assert 0 < done < 2900
    second = process(folder, cache)
    out, errors = second.communicate(timeout=120)
    assert second.returncode == 0, errors
    megabytes, checksum, rows, size = out.split()
    assert (int(rows), int(size)) == (2900, 746)
    assert int(megabytes) < 300
    pixels = [np.asarray(Image.open(file)).transpose(2, 0, 1) for file in files]
    x = np.stack([pixels[i] for i in range(2) for _ in range(1450)])
    y = np.repeat([0, 1], 1450)
    test = np.stack([pixels[i] for i in range(2) for _ in range(50)])
    whole = from_arrays("p", x, y, test, np.repeat([0, 1], 50), class_names=["a", "b"], layout="NCHW")
    assert checksum == whole.checksum


def test_the_images_of_parquet_files_are_read_one_row_group_at_a_time(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from clbench.data import parquet

    def encoded(value):
        held = io.BytesIO()
        Image.new("L", (4, 4), value).save(held, "PNG")
        return held.getvalue()

    folder = tmp_path / "q"
    folder.mkdir()
    for split, first in (("train", 100), ("test", 200)):
        table = pa.table({"image": [encoded(first + i) for i in range(10)], "label": [i % 2 for i in range(10)]})
        pq.write_table(table, folder / f"{split}-0.parquet", row_group_size=3)
    groups, inner = [], parquet._Encoded._group
    monkeypatch.setattr(parquet._Encoded, "_group", lambda self, k, g: (groups.append(g), inner(self, k, g))[1])
    made = load("parquet:q", tmp_path)
    assert groups == [0, 1, 2, 3] * 2
    assert made.train.x[:, 0, 0, 0].tolist() == list(range(100, 110))
    assert made.test.x[:, 0, 0, 0].tolist() == list(range(200, 210))


def test_arrays_that_no_desk_wrote_are_saved_as_before(root, tmp_path):
    x, y = np.arange(64, dtype=np.uint8).reshape(4, 4, 4) + 190, np.array([0, 1, 0, 1])
    file = tmp_path / "source"
    file.write_text("1")
    made = cached("plain", [file], lambda: from_arrays("plain", x, y, x, y))
    assert made.checksum == from_arrays("plain", x, y, x, y).checksum
