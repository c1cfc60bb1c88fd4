"""A cell is what its files hold: changed contents are another cell, unchanged ones cost no reading."""

import hashlib
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import clbench
from clbench import data, models
from clbench.core.errors import Refused
from clbench.data import file_contents, from_arrays
from clbench.data.roots import cache_root
from clbench.running.plan import make_stream, plan


def write_npz(path, labels):
    x = np.arange(40, dtype=np.float32).reshape(20, 2)
    np.savez(path, x_train=x, y_train=labels, x_test=x, y_test=labels)


def write_folder(path, level):
    for split in ("train", "test"):
        for name in ("a", "b"):
            (path / split / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((2, 2), level, dtype=np.uint8)).save(path / split / name / "0.png")


def write_parquet(path, level):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path.mkdir(exist_ok=True)
    image = path / "0.png"
    Image.fromarray(np.full((2, 2), level, dtype=np.uint8)).save(image)
    table = pa.table({"image": [image.read_bytes()] * 2, "label": [0, 1]})
    for split in ("train", "test"):
        pq.write_table(table, path / f"{split}-0.parquet")


def small(dataset):
    return {
        "name": "small",
        "stream": {"scenario": "split", "experiences": 2, "dataset": dataset},
        "model": {"name": "mlp", "hidden": [4]},
        "evaluation": {"every": 0},
        "seeds": 1,
    }


def key(dataset, data_dir=None):
    return plan(small(dataset), data_dir=data_dir).cells[0].key


@pytest.mark.parametrize(
    ("form", "write"),
    [
        ("npz:own", lambda path, i: write_npz(path.with_suffix(".npz"), np.roll(np.arange(20) % 2, i))),
        ("folder:own", write_folder),
        ("parquet:own", write_parquet),
    ],
)
def test_changed_files_make_another_cell_and_the_same_files_elsewhere_the_same(tmp_path, form, write):
    name = f"{form}.npz" if form.startswith("npz") else form
    here, there = tmp_path / "here", tmp_path / "there"
    for root in (here, there):
        root.mkdir()
        write(root / "own", 0)
    before = key(name, here)
    assert key(name, there) == before
    write(here / "own", 1)
    assert key(name, here) != before
    write(here / "own", 0)
    assert key(name, here) == before


def test_the_name_of_a_folder_counts_since_it_names_the_class(tmp_path):
    write_folder(tmp_path / "own", 0)
    before = key("folder:own", tmp_path)
    for split in ("train", "test"):
        (tmp_path / "own" / split / "b").rename(tmp_path / "own" / split / "c")
    assert key("folder:own", tmp_path) != before


def test_a_joined_data_set_counts_the_files_of_each(tmp_path):
    for name in ("one", "two"):
        write_npz(tmp_path / f"{name}.npz", np.arange(20) % 2)
    before = key("npz:one.npz+npz:two.npz", tmp_path)
    write_npz(tmp_path / "two.npz", np.arange(20) // 10)
    assert key("npz:one.npz+npz:two.npz", tmp_path) != before


def test_the_cell_of_a_named_data_set_holds_no_checksum():
    assert set(plan("split-digits").cells[0].config["stream"]["dataset"]) == {
        "name", "normalize", "validation", "train_rows", "evaluate_on", "size",
    }  # fmt: skip


def test_an_unchanged_file_is_read_once_and_a_changed_one_of_the_same_size_and_time_again(tmp_path, monkeypatch):
    monkeypatch.setattr(file_contents, "SETTLED_SECONDS", -1.0)
    file = tmp_path / "file"
    file.write_bytes(b"one")
    reads = []
    plain = hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda stream, kind: (reads.append(stream.name), plain(stream, kind))[1]
    )
    first = file_contents.checksum([file])
    assert file_contents.checksum([file]) == first
    monkeypatch.setattr(file_contents, "_known", {})  # as in another process
    assert file_contents.checksum([file]) == first
    assert reads == [str(file)]
    state = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert file_contents.checksum([file]) != first


def test_a_kept_checksum_that_is_damaged_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(file_contents, "SETTLED_SECONDS", -1.0)
    file = tmp_path / "file"
    file.write_bytes(b"three")
    first = file_contents.checksum([file])
    monkeypatch.setattr(file_contents, "_known", {})
    for kept in (cache_root() / "checksums").iterdir():
        kept.write_text("damaged")
    assert file_contents.checksum([file]) == first


def test_rows_come_from_the_file_as_it_is_even_where_size_and_time_are_as_before(tmp_path):
    file = tmp_path / "own.npz"
    labels = np.arange(20) % 2
    write_npz(file, labels)
    state = file.stat()
    assert data.load("npz:own.npz", tmp_path).train.y.tolist() == labels.tolist()
    write_npz(file, labels[::-1].copy())
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert data.load("npz:own.npz", tmp_path).train.y.tolist() == labels[::-1].tolist()


def test_files_that_change_between_plan_and_run_are_told(tmp_path):
    write_npz(tmp_path / "own.npz", np.arange(20) % 2)
    cell = plan(small("npz:own.npz"), data_dir=tmp_path).cells[0]
    write_npz(tmp_path / "own.npz", np.arange(20) // 10)
    with pytest.raises(Refused, match="have changed since this cell was planned"):
        make_stream(cell.config["stream"], 0, data_dir=str(tmp_path))


def test_records_of_changed_labels_are_not_handed_back(tmp_path):
    x = np.eye(4, dtype=np.float32)[np.arange(80) % 4]
    y = np.arange(80) % 4
    found = []
    for labels in (y, (y + 1) % 4):
        np.savez(tmp_path / "own.npz", x_train=x, y_train=labels, x_test=x, y_test=y)
        found += clbench.run(small("npz:own.npz"), data_dir=tmp_path, out=tmp_path / "out")
    assert found[0].key != found[1].key
    assert found[0].fingerprint != found[1].fingerprint


def test_a_data_set_that_a_program_has_added_counts_by_its_rows(small_dataset):
    other = from_arrays(
        "other", small_dataset.train.x, small_dataset.train.y, small_dataset.train.x, small_dataset.train.y
    )
    data.DATASETS.add("contents-one", small_dataset)
    data.DATASETS.add("contents-two", lambda data_dir: other)
    told = [plan(small(name)).cells[0].config["stream"]["dataset"] for name in ("contents-one", "contents-two")]
    assert [each["checksum"] for each in told] == [small_dataset.checksum, other.checksum]
    assert replace(small_dataset, name="x").checksum == small_dataset.checksum


def test_a_file_of_weights_counts_by_what_is_in_it(tmp_path):
    file = tmp_path / "weights.pt"
    config = {"name": "torchvision:resnet18", "weights": str(file)}
    assert "weights_checksum" not in models.canonical(config)
    torch.save({"a": torch.zeros(1)}, file)
    before = models.canonical(config)
    assert models.canonical(before) == before
    torch.save({"a": torch.ones(1)}, file)
    assert models.canonical(config)["weights_checksum"] != before["weights_checksum"]
    with pytest.raises(Refused, match="planned with"):
        models.canonical(before)
