"""Tables and files as users have them: text, missing values, groups and no test samples."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import clbench
from clbench import data
from clbench.core.errors import Refused
from clbench.core.notices import Notice
from clbench.data import load
from clbench.data.tables import TableSettings, read_frames
from clbench.running.plan import plan


def patients(n: int = 120) -> pd.DataFrame:
    """Samples of three hospitals, with a column of text, one of numbers and an identifier."""
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "id": [f"p{i}" for i in range(n)],
            "age": rng.integers(20, 90, n),
            "ward": np.array(["north", "south", "east"])[rng.integers(0, 3, n)],
            "ill": np.arange(n) % 2,
            "site": np.array(["York", "Aix", "Bonn"])[np.arange(n) // 2 % 3],
        }
    )


SETTINGS = {"label": "ill", "group": "site", "ignore": ["id"]}


@pytest.fixture
def table(tmp_path):
    patients().to_csv(tmp_path / "p.csv", index=False)
    patients().to_parquet(tmp_path / "p.parquet")
    return tmp_path


def test_text_becomes_a_column_for_each_category_in_the_order_of_the_alphabet(table):
    with pytest.warns(Notice, match=r"encoded one-hot.*'ward' \(east, north, south\)"):
        held = load("csv:p.csv", table, **SETTINGS)
    assert held.input_names == ("age", "ward=east", "ward=north", "ward=south")
    rows = np.concatenate([held.train.x, held.test.x])
    assert {tuple(row) for row in rows[:, 1:].tolist()} == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}
    frame = patients()
    for ward, column in (("east", 1), ("north", 2), ("south", 3)):
        assert sorted(rows[rows[:, column] == 1, 0]) == sorted(frame.loc[frame["ward"] == ward, "age"])


def test_a_notice_comes_each_time_the_data_is_read_from_the_cache_too(table):
    for _ in range(2):
        with pytest.warns(Notice, match="columns of text are encoded"):
            load("csv:p.csv", table, **SETTINGS)


def test_a_notice_names_the_column_with_the_largest_values_if_they_are_not_normalised(tmp_path):
    frame = pd.DataFrame({"low": np.arange(20.0), "deep": np.arange(20) * -250.0, "high": 100.0, "label": [0, 1] * 10})
    frame.to_csv(tmp_path / "far.csv", index=False)
    with pytest.warns(Notice, match=r"csv:far.csv: values of column 'deep' go up to 4,750;.* set normalize: mean-std"):
        load("csv:far.csv", tmp_path, split={"test": 0.1, "seed": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("csv:far.csv", tmp_path, normalize="mean-std")
        load("csv:far.csv", tmp_path, ignore=["deep"])  # 100 is the largest value without a notice


def test_codes_are_positions_and_a_category_without_training_samples_is_apart():
    train = pd.DataFrame({"ward": ["b", "a", "c", "a"], "label": [0, 1, 0, 1]})
    test = pd.DataFrame({"ward": ["c", "new", "a", "b"], "label": [0, 1, 0, 1]})
    with pytest.warns(Notice, match=r"by their position: 'ward' \(a, b, c; 1 test samples have another, which is -1\)"):
        codes = read_frames([train, test], TableSettings(categories="codes"), where="here")
    assert codes.train[0][:, 0].tolist() == [1, 0, 2, 0]
    assert codes.test[0][:, 0].tolist() == [2, -1, 0, 1]
    with pytest.warns(Notice, match="1 test samples have another, which is 0 in all columns"):
        hot = read_frames([train, test], TableSettings(), where="here")
    assert hot.test[0].tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]]


def test_csv_and_parquet_give_the_same_samples_of_the_same_draw(table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        csv, parquet = (load(name, table, **SETTINGS) for name in ("csv:p.csv", "parquet:p.parquet"))
    assert csv.checksum == parquet.checksum
    assert csv.domain_names == ("Aix", "Bonn", "York")
    assert (csv.train.domain == parquet.train.domain).all()


def test_every_class_of_every_group_has_its_share_of_test_samples(table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        held = load("csv:p.csv", table, **SETTINGS, split={"test": 0.25})
    pairs = np.stack([held.test.domain, held.test.y])
    assert np.unique(pairs, axis=1, return_counts=True)[1].tolist() == [5] * 6  # a quarter of 20
    assert len(held.test) == 30


def test_missing_values_are_refused_with_column_and_count_or_replaced_by_the_mean_of_training_samples():
    train = pd.DataFrame({"a": [1.0, np.nan, 3.0, 8.0], "w": ["x", "y", None, "x"], "label": [0, 1, 0, 1]})
    test = pd.DataFrame({"a": [np.nan, 100.0], "w": ["x", None], "label": [0, 1]})
    with pytest.raises(Refused, match=r"column 'a' lacks 2 of 6 values \(and 1 more column lacks some\); set missing"):
        read_frames([train, test], TableSettings(), where="here")
    with pytest.warns(Notice, match="encoded one-hot"):
        filled = read_frames([train, test], TableSettings(missing="mean"), where="here")
    assert filled.train[0].tolist() == [[1, 1, 0], [4, 0, 1], [3, 0, 0], [8, 1, 0]]  # (1 + 3 + 8) / 3 = 4
    assert filled.test[0].tolist() == [[4, 1, 0], [100, 0, 0]]


def test_samples_with_missing_values_are_left_out_where_that_is_said_and_counted():
    frame = pd.DataFrame({"a": [*range(9), np.nan], "label": [0, 1] * 4 + [np.nan, 1.0]})
    with pytest.warns(Notice, match="2 of 10 samples are left out, because they lack values of a, label"):
        kept = read_frames([frame], TableSettings(missing="drop"), where="here")
    assert sorted([*kept.train[0][:, 0], *kept.test[0][:, 0]]) == list(range(8))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"label": "ills"}, "has no column 'ills'; did you mean 'ill'"),
        ({"label": "ill", "group": "sites"}, "has no column 'sites'; did you mean 'site'"),
        ({"label": "ill", "group": "ill"}, "'ill' holds the labels, and group names it too"),
        ({"label": "ill", "ignore": ["ids"]}, "has no column 'ids'; did you mean"),
        ({"label": "ill"}, "'id' holds 160 different texts, and at most"),
        ({"label": ["ill", "age"]}, "label names 2 columns, and classes have one"),
        ({"label": "ill", "missing": "median"}, "missing = 'median' is not allowed"),
        ({"label": "ill", "split": {"test": 2}}, r"test = 2 is no fraction of test samples"),
        ({"label": "ill", "split": {"fraction": 0.2}}, "'fraction' is not known in it; write {test: 0.2, seed: 0}"),
        ({"label": "ill", "group": "id", "ignore": ["ward"]}, "domain 'p0' has a single sample"),
    ],
)
def test_a_wrong_setting_of_a_table_is_refused_in_one_sentence(tmp_path, settings, sentence):
    patients(200).to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(Refused, match=sentence):
        load("csv:p.csv", tmp_path, **data.canonical({**settings}))


def test_a_table_with_a_column_split_is_not_divided_a_second_time(tmp_path):
    frame = patients().assign(split=["train", "train", "test"] * 40)
    frame.to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(Refused, match="the column 'split' says train or test for every row"):
        load("csv:p.csv", tmp_path, **data.canonical({**SETTINGS, "split": {"test": 0.1}}))


# ------------------------------------------------------------------------------------------- one part, every form


def write_images(root, names=("ant", "bee"), n: int = 10):
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(root / name / f"{i}.png")


def test_a_folder_of_classes_is_divided_in_every_class_and_no_image_is_in_both_parts(tmp_path):
    write_images(tmp_path / "pics")
    held = load("folder:pics", tmp_path, split={"test": 0.3, "seed": 0})
    assert held.class_names == ("ant", "bee")
    assert np.bincount(held.train.y).tolist() == [7, 7]
    assert np.bincount(held.test.y).tolist() == [3, 3]
    images = np.concatenate([held.train.x, held.test.x]).reshape(20, -1)
    assert len(np.unique(images, axis=0)) == 20
    other = load("folder:pics", tmp_path, split={"test": 0.3, "seed": 1})
    assert other.checksum != held.checksum
    assert len(load("folder:pics", tmp_path).test) == 4


def test_a_folder_of_training_images_alone_says_that_test_images_are_drawn(tmp_path):
    write_images(tmp_path / "pics/train")
    with pytest.warns(Notice, match="has no folder of test images .*a fifth of those in train/"):
        assert len(load("folder:pics", tmp_path).test) == 4
    write_images(tmp_path / "pics/test", n=2)
    with pytest.raises(Refused, match="has test samples of its own, and split is set"):
        load("folder:pics", tmp_path, split={"test": 0.3})


def test_npz_with_x_and_y_alone_is_divided_and_its_group_is_an_array(tmp_path):
    x, y = np.arange(240, dtype=np.float32).reshape(60, 4) / 240, np.arange(60) % 3
    np.savez(tmp_path / "a.npz", x=x, y=y, year=2000 + np.arange(60) // 30)
    held = load("npz:a.npz", tmp_path, split={"test": 0.5, "seed": 4}, group="year")
    assert held.domain_names == ("2000", "2001")
    pairs = np.stack([held.test.domain, held.test.y])
    assert np.unique(pairs, axis=1, return_counts=True)[1].tolist() == [5] * 6  # half of 10
    assert sorted(np.concatenate([held.train.x, held.test.x])[:, 0]) == sorted(x[:, 0])
    with pytest.raises(Refused, match=r"a.npz has no site .*save all of x, y, site"):
        load("npz:a.npz", tmp_path, group="site")


def test_parquet_images_without_a_split_are_divided_too(tmp_path):
    from test_data_sources import pictures, write_parquet

    write_parquet(tmp_path / "set/part-0.parquet", pictures(20), [0, 1] * 10, label="kind")
    held = load("parquet:set", tmp_path, label="kind", split={"test": 0.2, "seed": 0})
    assert (len(held.train), len(held.test)) == (16, 4)
    with pytest.raises(Refused, match="holds images, and missing goes with columns of a table"):
        load("parquet:set", tmp_path, label="kind", missing="mean")


def test_a_parquet_folder_with_train_and_test_files_is_a_table_of_two_parts(tmp_path):
    frame = pd.DataFrame({"a": range(10), "y": [0, 1] * 5})
    frame[:6].to_parquet(tmp_path / "train-0.parquet")
    frame[6:].to_parquet(tmp_path / "test-0.parquet")
    held = load(f"parquet:{tmp_path}")
    assert (held.train.x[:, 0].tolist(), held.test.x[:, 0].tolist()) == ([0, 1, 2, 3, 4, 5], [6, 7, 8, 9])


# ------------------------------------------------------------------------------------------- keys and statistics


def cell(dataset, folder):
    document = {"name": "own", "stream": {"scenario": "split", "experiences": 2}, "model": {"name": "mlp"}}
    document["stream"]["dataset"] = dataset
    return plan(document, seeds=1, data_dir=folder).cells[0]


def test_settings_of_a_table_are_in_the_key_and_absent_where_they_are_not_set(table):
    plain = cell("csv:p.csv?label=ill", table)
    assert set(plain.config["stream"]["dataset"]) == {
        "name", "normalize", "validation", "train_rows", "evaluate_on", "size", "checksum",
    }  # fmt: skip
    said = {"name": "csv:p.csv", "label": "ill", "ignore": ["id"], "split": {"test": 0.3}}
    keys = {cell(each, table).key for each in (said, {**said, "group": "site"}, {**said, "split": {"seed": 1}})}
    assert len(keys) == 3
    changed = patients()
    changed.loc[0, "age"] += 1
    changed.to_csv(table / "p.csv", index=False)
    assert cell(said, table).key not in keys


def test_mean_std_gives_every_column_of_a_table_mean_0_and_deviation_1_over_training_samples(table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        held = load("csv:p.csv", table, normalize="mean-std", **SETTINGS)
        old = load("csv:p.csv", table, normalize="mean-std", statistics="all", **SETTINGS)
    x = (held.train.x - np.array(held.mean)) / np.array(held.std)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose([old.mean[0], old.std[0]], [held.train.x.mean(), held.train.x.std()], rtol=1e-5)


def test_a_cell_that_does_not_name_its_statistics_has_one_mean_for_all_values_as_before(table):
    from clbench.running.plan import rows

    said = {"name": "csv:p.csv", "label": "ill", "ignore": ["id", "ward", "site"], "normalize": "mean-std"}
    new, old = (cell(each, table) for each in (said, {**said, "statistics": "all"}))
    assert new.config["stream"]["dataset"]["statistics"] == "columns"
    assert "statistics" not in old.config["stream"]["dataset"]
    assert len(rows(old.config["stream"], data_dir=str(table)).mean) == 1
    images = cell({"name": "digits", "normalize": "mean-std"}, table)
    assert "statistics" not in images.config["stream"]["dataset"]


def test_validation_samples_come_from_every_class_of_every_group(table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        held = load("csv:p.csv", table, validation=0.25, evaluate_on="validation", **SETTINGS)
    pairs = np.stack([held.test.domain, held.test.y])
    assert np.unique(pairs, axis=1, return_counts=True)[1].tolist() == [4] * 6  # a quarter of 16


# ------------------------------------------------------------------------------------------- in Python


def test_a_frame_and_a_file_with_the_same_settings_are_one_data_set(table):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        of_frame = data.from_frame(patients(), **SETTINGS)
        of_file = clbench.stream("by_group", {"name": "csv:p.csv", **SETTINGS}, data_dir=table).dataset
    assert of_frame.checksum == of_file.checksum
    with pytest.raises(Refused, match="from_frame takes pandas frames, and this is a ndarray"):
        data.from_frame(np.zeros((3, 2)))


def test_run_takes_a_name_with_settings_in_place_of_those_of_the_benchmark(table):
    said = {"name": "csv:p.csv", **SETTINGS, "ignore": ["id", "ward"]}
    small = {"evaluation.every": 0, "training.epochs": 1, "stream.experiences": 2}
    [record] = clbench.run("split-digits", strategies="naive", seeds=1, dataset=said, data_dir=table, overrides=small)
    assert record.status == "done"
    assert record.cell["stream"]["dataset"]["label"] == "ill"
