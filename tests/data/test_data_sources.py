"""Real MNIST and CIFAR-10, and made-up files in every layout; what is missing or damaged is named."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clbench.core.compat import import_torchvision
from clbench.core.errors import Refused
from clbench.data import load

# ------------------------------------------------------------------------------------------------- makers of files


def pictures(n, shape=(6, 5, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def write_idx(file: Path, array: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    file.write_bytes(header + array.tobytes())


def write_mnist(raw: Path, *, prefix=("train", "t10k"), classes=10) -> tuple[np.ndarray, np.ndarray]:
    """Small MNIST-like files; returns the training images and labels."""
    x, y = pictures(30, (8, 8)), (np.arange(30) % classes).astype(np.uint8)
    for name in prefix:
        write_idx(raw / f"{name}-images-idx3-ubyte", x)
        write_idx(raw / f"{name}-labels-idx1-ubyte", y)
    return x, y


def write_folder(root: Path, *, test="test", classes=("ant", "bee"), n=3, mode="RGB") -> None:
    for split in ("train", test):
        for k, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for i, pixels in enumerate(pictures(n, seed=k)):
                Image.fromarray(pixels).convert(mode).save(root / split / name / f"{i}.png")


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def write_parquet(file: Path, x, y, *, image="image", label="label", names=None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    column = pa.array([{"bytes": png(pixels), "path": None} for pixels in x])
    table = pa.table({"id": pa.array(range(len(y))), image: column, label: pa.array(y)})
    if names:
        features = {label: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, file)


# ------------------------------------------------------------------------------------------------- real data


def test_mnist_is_the_original_bytes_in_the_original_order(shared_data):
    data = load("mnist", shared_data)
    assert data.train.x.shape == (60000, 1, 28, 28)
    original = (shared_data / "mnist/MNIST/raw/t10k-images-idx3-ubyte").read_bytes()
    assert hashlib.md5(original).hexdigest() == "2646ac647ad5339dbf082846283269ea"
    assert data.test.x.tobytes() == original[16:]
    labels = (shared_data / "mnist/MNIST/raw/train-labels-idx1-ubyte").read_bytes()[8:]
    assert data.train.y.astype(np.uint8).tobytes() == labels


def test_mnist_statistics_are_the_ones_everybody_uses(shared_data):
    data = load("mnist", shared_data, normalize="mean-std")
    assert data.mean == pytest.approx([0.1307], abs=5e-5)
    assert data.std == pytest.approx([0.3081], abs=5e-5)


def test_class_name_alias_and_either_folder_mean_the_same_data(shared_data):
    by_alias, by_class = load("mnist", shared_data), load("MNIST", shared_data / "mnist")
    assert by_alias.checksum == by_class.checksum
    assert (by_alias.name, by_class.name) == ("mnist", "MNIST")


def test_cifar10_is_read_from_parquet_where_the_folder_holds_that(shared_data):
    data = load("cifar10", shared_data)
    assert (data.train.x.shape, data.test.x.shape) == ((50000, 3, 32, 32), (10000, 3, 32, 32))
    assert data.class_names[:3] == ("airplane", "automobile", "bird")
    assert np.bincount(data.test.y).tolist() == [1000] * 10
    table = pq.read_table(shared_data / "cifar10/data/test-00000-of-00001.parquet").slice(1234, 1).to_pylist()[0]
    expected = np.asarray(Image.open(io.BytesIO(table["img"]["bytes"])))
    assert (data.test.x[1234].transpose(1, 2, 0) == expected).all()
    assert data.test.y[1234] == table["label"]


def test_parquet_form_and_registered_name_give_the_same_rows(shared_data):
    subset = {"train_rows": 1000}
    assert load("parquet:cifar10", shared_data, **subset).checksum == load("cifar10", shared_data, **subset).checksum


# ------------------------------------------------------------------------------------------------- torchvision


def test_torchvision_files_are_found_in_the_folder_of_the_name_of_the_class_and_at_the_root(tmp_path):
    x, y = write_mnist(tmp_path / "a/kmnist/KMNIST/raw")
    write_mnist(tmp_path / "b/KMNIST/KMNIST/raw")
    write_mnist(tmp_path / "c/KMNIST/raw")
    for place in "abc":
        data = load("kmnist", tmp_path / place)
        assert (data.train.x[:, 0] == x).all()
        assert (data.train.y == y).all()


def test_data_folder_is_taken_from_the_environment(tmp_path, monkeypatch):
    write_mnist(tmp_path / "kmnist/KMNIST/raw")
    monkeypatch.setenv("CLBENCH_DATA", str(tmp_path))
    assert len(load("kmnist").train) == 30


def test_emnist_means_the_balanced_split(tmp_path):
    names = ("emnist-balanced-train", "emnist-balanced-test")
    x, _ = write_mnist(tmp_path / "emnist/EMNIST/raw", prefix=names)
    data = load("emnist", tmp_path)
    assert (data.train.x[:, 0] == x).all()
    assert data.class_names[9] == "9"


def test_usps_arrays_are_read_from_their_compressed_text(tmp_path):
    lines = "".join(f"{k + 1} " + " ".join(f"{j + 1}:{(j % 3) - 1}" for j in range(256)) + "\n" for k in range(10))
    (tmp_path / "usps").mkdir()
    for name in ("usps.bz2", "usps.t.bz2"):
        (tmp_path / "usps" / name).write_bytes(bz2.compress(lines.encode()))
    data = load("usps", tmp_path)
    assert data.shape == (1, 16, 16)
    assert data.train.x[0, 0, 0, :3].tolist() == [0, 127, 255]


class OneSplit:
    """A torchvision-like data set of images without splits or arrays, which 'downloads' by writing a file."""

    def __init__(self, root, download=False):
        self.file = Path(root) / "eurosat" / "all.npy"
        if download:
            self.file.parent.mkdir(parents=True)
            np.save(self.file, pictures(40, (8, 8, 3)))
        if not self.file.exists():
            raise RuntimeError("Dataset not found. You can use download=True to download it")
        self.images = np.load(self.file)
        self.classes = ["field", "river"]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return Image.fromarray(self.images[i]), i % 2


def test_missing_files_are_downloaded_when_that_is_allowed_and_appear_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(import_torchvision().datasets, "EuroSAT", OneSplit)
    monkeypatch.setenv("CLBENCH_OFFLINE", "0")
    data = load("EuroSAT", tmp_path / "new")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["eurosat"]
    assert data.class_names == ("field", "river")
    # Without a split of its own it is cut 80/20 in every class.
    assert np.bincount(data.train.y).tolist() == [16, 16]
    assert np.bincount(data.test.y).tolist() == [4, 4]


def test_missing_files_are_refused_offline_naming_folder_option_and_variable(tmp_path):
    with pytest.raises(Refused) as caught:
        load("svhn", tmp_path)
    for word in (str(tmp_path / "svhn"), "--data-dir", "CLBENCH_DATA", "CLBENCH_OFFLINE"):
        assert word in str(caught.value)


def test_a_failing_download_is_refused_naming_the_folder_and_leaves_nothing_behind(tmp_path, monkeypatch):
    class Unreachable:
        def __init__(self, root, split, download=False):
            (Path(root) / "half.mat").write_bytes(b"half")
            raise OSError("Error downloading half.mat:\nTried a mirror, got:\nno route to host\n")

    monkeypatch.setattr(import_torchvision().datasets, "SVHN", Unreachable)
    monkeypatch.setenv("CLBENCH_OFFLINE", "")
    with pytest.raises(Refused, match=r"download failed \(OSError: no route to host\); place torchvision's files in"):
        load("svhn", tmp_path / "new" / "data")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(Refused, match="download failed"):
        load("svhn", tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("damage", [lambda data: data[:-7], lambda data: data + b"x", lambda data: b"", gzip.compress])
def test_damaged_idx_file_is_named(tmp_path, damage):
    raw = tmp_path / "kmnist/KMNIST/raw"
    write_mnist(raw)
    file = raw / "t10k-images-idx3-ubyte"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(Refused, match="t10k-images-idx3-ubyte is damaged"):
        load("kmnist", tmp_path)


def test_idx_labels_that_no_class_has_are_refused(tmp_path):
    raw = tmp_path / "kmnist/KMNIST/raw"
    write_mnist(raw, classes=12)
    with pytest.raises(Refused, match=r"KMNIST in .* labels are out of range .* must lie in 0\.\.9"):
        load("kmnist", tmp_path)


def test_idx_files_with_fewer_labels_than_images_are_refused(tmp_path):
    raw = tmp_path / "kmnist/KMNIST/raw"
    write_mnist(raw)
    write_idx(raw / "train-labels-idx1-ubyte", np.zeros(29, dtype=np.uint8))
    with pytest.raises(Refused, match=r"KMNIST in .*: y_train has 29 labels for 30 samples"):
        load("kmnist", tmp_path)


# ------------------------------------------------------------------------------------------------- folder


@pytest.mark.parametrize("test", ["test", "val", "validation"])
def test_folder_classes_are_alphabetical_and_pixels_are_those_of_the_files(tmp_path, test):
    write_folder(tmp_path / "pics", test=test)
    data = load("folder:pics", tmp_path)
    assert data.class_names == ("ant", "bee")
    assert data.train.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert (data.train.x[3:].transpose(0, 2, 3, 1) == pictures(3, seed=1)).all()


def test_folder_of_grey_images_has_one_channel_and_a_single_colour_image_makes_it_three(tmp_path):
    write_folder(tmp_path / "grey", mode="L")
    assert load("folder:grey", tmp_path).shape == (1, 6, 5)
    for split in ("train", "test"):
        Image.fromarray(pictures(1)[0]).save(tmp_path / "grey" / split / "bee" / "2.png")
    data = load("folder:grey", tmp_path)
    assert data.shape == (3, 6, 5)
    assert (data.train.x[0, 0] == data.train.x[0, 2]).all()
    assert (data.train.x[5].transpose(1, 2, 0) == pictures(1)[0]).all()


def test_folder_images_of_different_sizes_are_refused_unless_a_size_is_set(tmp_path):
    write_folder(tmp_path / "pics")
    odd = tmp_path / "pics/train/bee/1.png"
    Image.fromarray(pictures(1, (9, 7, 3))[0]).save(odd)
    with pytest.raises(Refused, match=r"bee/1.png is 7x9 pixels and .*ant/0.png is 5x6; set 'size'"):
        load("folder:pics", tmp_path)
    data = load("folder:pics", tmp_path, size=4)
    assert data.shape == (3, 4, 4)
    expected = np.asarray(Image.open(odd).resize((4, 4), Image.Resampling.BILINEAR))
    assert (data.train.x[4].transpose(1, 2, 0) == expected).all()


def test_folder_with_a_broken_image_is_refused_naming_it(tmp_path):
    write_folder(tmp_path / "pics")
    broken = tmp_path / "pics/test/ant/1.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(Refused, match=r"test/ant/1.png is not a readable image"):
        load("folder:pics", tmp_path)


def test_folder_with_more_than_eight_bits_is_refused(tmp_path):
    write_folder(tmp_path / "pics")
    Image.fromarray(np.full((6, 5), 40000, dtype=np.uint16)).save(tmp_path / "pics/train/ant/0.png")
    with pytest.raises(Refused, match="more than 8 bits"):
        load("folder:pics", tmp_path)


def test_folder_with_a_class_in_one_split_only_is_refused_naming_it(tmp_path):
    write_folder(tmp_path / "pics")
    shutil.rmtree(tmp_path / "pics/test/bee")
    with pytest.raises(Refused, match="the classes bee do not have images in both"):
        load("folder:pics", tmp_path)


def test_folder_without_splits_or_images_is_refused(tmp_path):
    with pytest.raises(Refused, match=r"there is no folder .*nowhere; give an absolute path"):
        load("folder:nowhere", tmp_path)
    (tmp_path / "pics/train").mkdir(parents=True)
    with pytest.raises(Refused, match="train holds no images"):
        load("folder:pics", tmp_path)
    (tmp_path / "pics/test").mkdir()
    with pytest.raises(Refused, match="holds no images"):
        load("folder:pics", tmp_path)
    for i, pixels in enumerate(pictures(3, seed=0)):
        (tmp_path / "flat").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"flat/ant_{i}.png")
    with pytest.raises(Refused, match=r"flat holds images \(3\), but none in the folder of a class; move .*<class>/"):
        load("folder:flat", tmp_path)


# ------------------------------------------------------------------------------------------------- npz


def keras(n=12, shape=(6, 5, 3)):
    x, y = pictures(n, shape), (np.arange(n) % 3).reshape(-1, 1)
    return {"x_train": x, "y_train": y, "x_test": x, "y_test": y}


def test_npz_in_the_keras_layout_is_read_by_relative_or_absolute_path(tmp_path):
    np.savez_compressed(tmp_path / "mine.npz", **keras())
    data = load("npz:mine.npz", tmp_path)
    assert data.shape == (3, 6, 5)
    assert data.train.y.tolist() == [0, 1, 2] * 4
    assert load(f"npz:{tmp_path / 'mine.npz'}").checksum == data.checksum


def saved_array(folder: Path) -> Path:
    np.save(folder / "single.npy", np.zeros(3))
    return folder / "single.npy"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:500]), "cannot be read as .npz"),
        (lambda file: file.write_bytes(b""), "cannot be read as .npz"),
        (lambda file: np.savez(file, **{k: v for k, v in keras().items() if k != "y_test"}), "has no y_test"),
        (lambda file: np.savez(file, **{**keras(), "y_test": np.full((12, 1), 7)}), "test labels 7 do not occur"),
        (lambda file: np.savez(file, **{**keras(), "y_test": np.zeros(12, int)}), "no test samples for class 1, 2"),
        (lambda file: np.savez(file, **{**keras(), "y_train": np.zeros(5, int)}), "5 labels for 12 samples"),
        (lambda file: np.savez(file, **{**keras(), "x_test": pictures(12, (5, 5, 3))}), "same type and shape"),
        (lambda file: shutil.copy(saved_array(file.parent), file), "is a single array"),
        (lambda file: file.unlink(), "there is no file"),
    ],
)
def test_unusable_npz_is_refused_naming_the_file(tmp_path, damage, message):
    file = tmp_path / "mine.npz"
    np.savez(file, **keras())
    damage(file)
    with pytest.raises(Refused, match=rf"mine\.npz.*{message}|{message}.*mine\.npz"):
        load("npz:mine.npz", tmp_path)


def test_npz_with_flipped_bytes_inside_is_refused_naming_the_file(tmp_path):
    file = tmp_path / "mine.npz"
    np.savez(file, **keras())
    data = bytearray(file.read_bytes())
    data[400:420] = bytes(20)
    file.write_bytes(data)
    with pytest.raises(Refused, match=r"mine.npz cannot be read as .npz"):
        load("npz:mine.npz", tmp_path)


# ------------------------------------------------------------------------------------------------- parquet


def test_parquet_shards_are_joined_in_order_whatever_their_columns_are_called(tmp_path):
    x, y = pictures(12), [0, 1, 2] * 4
    names = ["a", "b", "c"]
    for i, part in enumerate((slice(0, 5), slice(5, 12))):
        file = tmp_path / f"set/data/train-0000{i}-of-00002.parquet"
        write_parquet(file, x[part], y[part], image="picture", label="fine_label", names=names)
    write_parquet(tmp_path / "set/data/validation-0.parquet", x[:3], y[:3], image="picture", label="fine_label")
    data = load("parquet:set", tmp_path)
    assert (data.train.x.transpose(0, 2, 3, 1) == x).all()
    assert data.train.y.tolist() == y
    assert data.class_names == ("a", "b", "c")
    assert len(data.test) == 3


def test_parquet_test_split_is_preferred_and_folders_may_name_the_split(tmp_path):
    x = pictures(4)
    for split, n in (("train", 4), ("validation", 4), ("test", 2)):
        write_parquet(tmp_path / f"set/plain/{split}/0000.parquet", x[:n], ["u", "v", "u", "v"][:n])
    data = load("parquet:set", tmp_path)
    assert len(data.test) == 2
    assert data.class_names == ("u", "v")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.write_bytes(f.read_bytes()[:-50]), r"test-0.parquet cannot be read as parquet"),
        (lambda f: f.unlink(), r"found splits: train"),
        (lambda f: write_parquet(f, pictures(4), [0, 1, -1, -1]), r"test-0.parquet: 2 labels are out of range"),
        (lambda f: write_parquet(f, pictures(4), [0, 1, None, 1]), r"test-0.parquet: column 'label' has rows without"),
        (lambda f: write_parquet(f, pictures(4), [0, 0, 0, 0]), r"no test samples for class v"),
        (lambda f: write_parquet(f, pictures(4), [0, 1, 0, 1], label="score"), r"no column of labels"),
        (lambda f: pq.write_table(pa.table({"label": [0, 1]}), f), r"test-0.parquet has no column of images"),
        (
            lambda f: pq.write_table(pa.table({"image": [png(pictures(1)[0]), b"no png"], "label": [0, 1]}), f),
            r"test-0.parquet, row 1 is not a readable image",
        ),
    ],
)
def test_unusable_parquet_is_refused_naming_the_file(tmp_path, damage, message):
    write_parquet(tmp_path / "set/train-0.parquet", pictures(4), [0, 1, 0, 1], names=["u", "v"])
    file = tmp_path / "set/test-0.parquet"
    write_parquet(file, pictures(4), [0, 1, 0, 1], names=["u", "v"])
    damage(file)
    with pytest.raises(Refused, match=message):
        load("parquet:set", tmp_path)
