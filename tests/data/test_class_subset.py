"""Some classes of a data set, one split divided, and columns by name, in every source of pictures."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clbench import data
from clbench.core.errors import Refused
from clbench.core.user_files import searching
from clbench.data.huggingface import from_splits
from clbench.running.plan import make_stream, plan
from clbench.scenarios import make

WORDS = ["n03", "n01", "n02"]


def colour(label: int, i: int) -> Image.Image:
    """One grey level for each sample: 100, ten times its label, and its number."""
    return Image.new("L", (3, 2), 100 + 10 * label + i)


def png(image: Image.Image) -> bytes:
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()


class Split:
    """What ``datasets.Dataset`` is to a reader."""

    def __init__(self, columns):
        self.columns = columns
        self.features = {name: type("Value", (), {})() for name in columns}
        self.features["image"] = type("Image", (), {})()

    def __len__(self):
        return len(self.columns["image"])

    def __getitem__(self, key):
        return self.columns[key] if isinstance(key, str) else {name: c[key] for name, c in self.columns.items()}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "cache"))


ROWS = [(label, i) for i in range(5) for label in range(3)]


def hub_split(**more):
    words = {"image": [colour(*row) for row in ROWS], "wnid": [WORDS[label] for label, _ in ROWS]}
    return Split({**words, "domain": [("ink", "photo")[i % 2] for _, i in ROWS], **more})


def parquet(file, *, domain: bool = False):
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = {"image": [png(colour(*row)) for row in ROWS], "wnid": [WORDS[label] for label, _ in ROWS]}
    if domain:
        columns["domain"] = [("ink", "photo")[i % 2] for _, i in ROWS]
    pq.write_table(pa.table(columns), file)


def test_imagenet_r_has_a_test_split_alone_and_labels_in_a_column_of_words(tmp_path):
    parquet(tmp_path / "r/data/test-00000-of-00001.parquet")
    division = {"test": 0.2, "seed": 3}
    of_parquet = data.load("parquet:r", tmp_path, label="wnid", split=division)
    assert of_parquet.class_names == ("n01", "n02", "n03")
    assert (len(of_parquet.train), len(of_parquet.test)) == (12, 3)
    assert sorted(of_parquet.test.y) == [0, 1, 2]
    level = {"n03": 100, "n01": 110, "n02": 120}
    for rows in (of_parquet.train, of_parquet.test):
        for x, y in zip(rows.x, rows.y, strict=True):
            assert level[of_parquet.class_names[y]] <= x.min() == x.max() < level[of_parquet.class_names[y]] + 5
    of_hub = from_splits({"test": hub_split()}, "r", label="wnid", split=division)
    assert (of_hub.test.x == of_parquet.test.x).all()
    assert (of_hub.train.x == of_parquet.train.x).all()
    other = data.load("parquet:r", tmp_path, label="wnid", split={"test": 0.2, "seed": 4})
    assert (other.test.x != of_parquet.test.x).any()


def test_one_split_needs_to_be_told_how_it_is_divided(tmp_path):
    parquet(tmp_path / "r/test-0.parquet")
    with pytest.raises(Refused, match=r"or one split with split: \{test: 0.2, seed: 0\}; found splits: test"):
        data.load("parquet:r", tmp_path, label="wnid")
    with pytest.raises(Refused, match=r"it has test; for one split alone set split: \{test: 0.2, seed: 0\}"):
        from_splits({"test": hub_split()}, "r", label="wnid")
    with pytest.raises(Refused, match="has test samples of its own, and split is set"):
        from_splits({"train": hub_split(), "test": hub_split()}, "r", label="wnid", split={"test": 0.2})


def test_a_column_that_does_not_exist_or_has_gaps_is_named(tmp_path):
    parquet(tmp_path / "r/x.parquet")
    for load in (
        lambda **s: data.load("parquet:r", tmp_path, **s),
        lambda **s: from_splits({"test": hub_split()}, "r", split={}, **s),
    ):
        with pytest.raises(Refused, match="has no column 'wnidd'; did you mean 'wnid'"):
            load(label="wnidd")
        with pytest.raises(Refused, match="has no column 'domainn'"):
            load(label="wnid", group="domainn")
    with pytest.raises(Refused, match="column 'wnid' has rows without a label"):
        from_splits({"test": hub_split(wnid=[None] * 15)}, "r", split={}, label="wnid")


def test_a_column_of_groups_makes_sequence_domain_incremental(tmp_path):
    parquet(tmp_path / "net/x.parquet", domain=True)
    benchmark = {
        "name": "b",
        "stream": {
            "scenario": "sequence",
            "dataset": {"name": "parquet:net", "label": "wnid", "group": "domain", "split": {"test": 0.4}},
        },
        "model": {"name": "cnn"},
    }
    [cell] = plan(benchmark, seeds=1, data_dir=tmp_path).cells
    assert cell.config["stream"]["setting"] == "domain"
    stream = make_stream(cell.config["stream"], 0, data_dir=str(tmp_path))
    assert [task.name for task in stream.tasks] == ["ink", "photo"]
    assert [e.classes for e in stream] == [(0, 1, 2)] * 2
    of_hub = from_splits({"all": hub_split()}, "net", label="wnid", group="domain", split={"test": 0.4})
    assert of_hub.domain_names == ("ink", "photo")
    assert make({"scenario": "sequence"}, of_hub, 0).n_outputs == 3


@pytest.mark.parametrize("chosen", [["n02", "n03"], [1, 2]])
def test_classes_are_chosen_by_name_or_number_before_pictures_are_decoded(tmp_path, chosen):
    parquet(tmp_path / "r/x.parquet")
    rows = [png(colour(*row)) if WORDS[row[0]] != "n01" else b"damaged" for row in ROWS]
    table = pa.table({"image": rows, "wnid": [WORDS[label] for label, _ in ROWS]})
    pq.write_table(table, tmp_path / "r/x.parquet")
    found = data.load("parquet:r", tmp_path, label="wnid", classes=chosen)
    assert found.class_names == ("n02", "n03")
    assert (len(found.train), len(found.test)) == (8, 2)
    assert {int(x.min()) // 10 for x in found.train.x[found.train.y == 0]} == {12}
    assert {int(x.min()) // 10 for x in found.train.x[found.train.y == 1]} == {10}


def test_classes_are_numbered_in_the_order_in_which_they_are_chosen(tmp_path):
    for i, name in enumerate(("bird", "cat", "dog")):
        for split in ("train", "test"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            colour(i, 0).save(folder / "0.png")
            (folder / "1.png").write_bytes(png(colour(i, 1)))
    (tmp_path / "pets/train/cat/2.png").write_bytes(b"damaged, and not read")
    (tmp_path / "two.txt").write_text("dog\nbird\n")
    with searching((tmp_path,)):
        settings = data.canonical({"classes": "two.txt"})
        assert settings["classes"] == ["dog", "bird"]
        found = data.load("folder:pets", tmp_path, classes=settings["classes"])
    assert found.class_names == ("dog", "bird")
    assert found.train.y.tolist() == [0, 0, 1, 1]
    assert found.train.x[:, 0, 0, 0].tolist() == [120, 121, 100, 101]


def test_sources_that_give_all_classes_are_cut_down_after_reading():
    whole, some = data.load("digits"), data.load("digits", classes=["7", "2"])
    assert some.class_names == ("7", "2")
    assert (some.train.x == whole.train.x[np.isin(whole.train.y, (2, 7))]).all()
    assert (some.train.y == (whole.train.y[np.isin(whole.train.y, (2, 7))] == 2)).all()
    assert some.checksum != whole.checksum
    both = plan(
        {
            "name": "b",
            "stream": {
                "scenario": "split",
                "experiences": {"first": 1, "each": 2},
                "dataset": {"name": "digits", "classes": ["1", "4", "7"]},
            },
            "model": {"name": "mlp"},
        },
        seeds=1,
    )
    assert both.cells[0].config["stream"]["experiences"] == [1, 2]
    assert len(make_stream(both.cells[0].config["stream"], 0)) == 2


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (["1", "11"], "has no class '11'; did you mean '1'"),
        ([1, 10], "has no class 10; its numbers go from 0 to 9"),
        (["1"], "it names fewer than two classes"),
        (["1", "1"], "it holds '1' twice"),
        (["1", 1], "is chosen by its name and by its number"),
        ("nowhere.txt", "there is no file nowhere.txt; write a list of classes"),
    ],
)
def test_classes_that_cannot_be_chosen_are_refused(chosen, sentence):
    with pytest.raises(Refused, match=sentence):
        data.load("digits", **{"classes": data.canonical({"classes": chosen})["classes"]})


def test_numbers_to_predict_have_no_classes_to_choose():
    with pytest.raises(Refused, match="classes goes with labels"):
        data.load("diabetes", classes=[0, 1])
