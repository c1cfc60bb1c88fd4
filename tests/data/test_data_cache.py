"""The cache of decoded data: found again, rebuilt when damaged or outdated, never in the way."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from clbench.data import cache, from_arrays, load
from clbench.data.cache import cached


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


@pytest.fixture
def source(tmp_path) -> Path:
    file = tmp_path / "source.bin"
    file.write_bytes(b"source")
    return file


class Decoder:
    """Makes a small data set and counts how often it was asked to."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        x = np.arange(20 * 4 * 4, dtype=np.int64).reshape(20, 4, 4) % 256
        y = np.arange(20) % 2
        return from_arrays("counted", x, y, x[:4], y[:4], class_names=["even", "odd"])


def same(one, other):
    return (
        one.checksum == other.checksum
        and one.class_names == other.class_names
        and one.scale == other.scale
        and (one.train.x == other.train.x).all()
        and (one.test.y == other.test.y).all()
    )


def test_second_load_maps_what_the_first_one_decoded(source):
    decode = Decoder()
    first, second = (cached("counted", [source], decode) for _ in range(2))
    assert decode.calls == 1
    assert same(first, second)
    assert same(second, decode())


def test_mapped_arrays_go_to_torch_and_writing_to_them_leaves_the_cache_whole(source):
    decode = Decoder()
    data = cached("counted", [source], decode)
    torch.from_numpy(data.train.x).zero_()  # from_numpy would warn, and so fail, on a read-only map
    assert same(cached("counted", [source], decode), decode())
    assert decode.calls == 2


def test_entry_holds_four_arrays_and_their_description(root, source):
    data = cached("my set/x", [source], Decoder())
    (folder,) = root.iterdir()
    assert folder.name.startswith("my-set-x-")
    assert sorted(p.name for p in folder.iterdir()) == [
        "meta.json",
        "test_x.npy",
        "test_y.npy",
        "train_x.npy",
        "train_y.npy",
    ]
    assert json.loads((folder / "meta.json").read_text())["checksum"] == data.checksum


@pytest.mark.parametrize("touch", ["mtime", "length", "path", "size"])
def test_a_change_of_the_source_makes_a_new_entry(source, touch, tmp_path):
    decode = Decoder()
    cached("counted", [source], decode)
    files, size = [source], None
    if touch == "mtime":
        os.utime(source, ns=(0, source.stat().st_mtime_ns + 1_000_000))
    elif touch == "length":
        source.write_bytes(b"longer source")
    elif touch == "path":
        files = [source.rename(tmp_path / "elsewhere.bin")]
    else:
        size = 8
    cached("counted", files, decode, size=size)
    assert decode.calls == 2


def flip_a_byte(file: Path):
    data = bytearray(file.read_bytes())
    data[-1] ^= 255
    file.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: flip_a_byte(folder / "train_x.npy"),
        lambda folder: flip_a_byte(folder / "test_y.npy"),
        lambda folder: os.truncate(folder / "train_x.npy", 200),
        lambda folder: os.truncate(folder / "test_x.npy", 0),
        lambda folder: (folder / "train_y.npy").unlink(),
        lambda folder: (folder / "meta.json").write_text('{"name": "cou'),
        lambda folder: (folder / "meta.json").write_text("[]"),
        lambda folder: (folder / "meta.json").write_text("{}"),
        lambda folder: (folder / "train_x.npy").write_bytes((folder / "test_x.npy").read_bytes()),
    ],
)
def test_damaged_entry_is_rebuilt_in_its_place(root, source, damage):
    decode = Decoder()
    cached("counted", [source], decode)
    (folder,) = root.iterdir()
    damage(folder)
    assert same(cached("counted", [source], decode), Decoder()())
    assert decode.calls == 2
    cached("counted", [source], decode)
    assert decode.calls == 2
    assert list(root.iterdir()) == [folder]


def test_large_entries_are_still_checked_by_shape_and_length(root, source, monkeypatch):
    monkeypatch.setattr(cache, "FULL_CHECK_BYTES", 0)
    decode = Decoder()
    cached("counted", [source], decode)
    cached("counted", [source], decode)
    assert decode.calls == 1
    os.truncate(next(root.iterdir()) / "train_x.npy", 200)
    cached("counted", [source], decode)
    assert decode.calls == 2


def test_unwritable_cache_is_a_warning_and_the_data_stay_in_memory(tmp_path, source, monkeypatch):
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "a-file" / "below"))
    with pytest.warns(UserWarning, match="CLBENCH_CACHE names a folder with room"):
        data = cached("counted", [source], Decoder())
    assert same(data, Decoder()())


def test_full_disk_is_a_warning_and_leaves_nothing_half_written(root, source, monkeypatch):
    def no_room(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", no_room)
    with pytest.warns(UserWarning, match="No space left on device"):
        data = cached("counted", [source], Decoder())
    assert same(data, Decoder()())
    assert list(root.iterdir()) == []


def test_an_entry_that_appears_while_decoding_is_kept(root, source):
    """The slower of two processes finds the place taken by a whole entry."""
    inner = Decoder()

    def slow():
        cached("counted", [source], inner)
        (folder,) = root.iterdir()
        inner.written = (folder / "meta.json").stat().st_ino
        return Decoder()()

    data = cached("counted", [source], slow)
    (folder,) = root.iterdir()
    assert (folder / "meta.json").stat().st_ino == inner.written
    assert same(data, Decoder()())


@pytest.mark.parametrize("damaged", [False, True])
def test_two_processes_building_the_same_entry_at_once_both_end_well(root, tmp_path, damaged):
    x, y = np.random.default_rng(0).integers(0, 256, (3000, 32, 32), dtype=np.uint8), np.arange(3000) % 10
    np.savez(tmp_path / "big.npz", x_train=x, y_train=y, x_test=x[:100], y_test=y[:100])
    if damaged:
        load("npz:big.npz", tmp_path)
        flip_a_byte(next(root.iterdir()) / "train_x.npy")
    go = tmp_path / "go"
    code = (
        "import sys, time, pathlib\n"
        "from clbench.data import load\n"
        "pathlib.Path(sys.argv[3]).touch()\n"
        "while not pathlib.Path(sys.argv[2]).exists(): time.sleep(0.001)\n"
        "data = load('npz:big.npz', sys.argv[1])\n"
        "print(data.checksum, int(data.train.x.sum()))\n"
    )
    arguments = [[sys.executable, "-W", "error", "-c", code, tmp_path, go, tmp_path / f"ready{i}"] for i in range(2)]
    workers = [subprocess.Popen(a, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for a in arguments]
    deadline = time.monotonic() + 60
    while not all((tmp_path / f"ready{i}").exists() for i in range(2)) and time.monotonic() < deadline:
        time.sleep(0.01)
    go.touch()
    ends = [worker.communicate(timeout=60) for worker in workers]
    expected = f"{load('npz:big.npz', tmp_path).checksum} {int(x.sum())}\n"
    assert ends == [(expected, ""), (expected, "")]
    assert len(list(root.iterdir())) == 1
