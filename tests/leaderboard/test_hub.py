"""Hugging Face: data sets by name through ``datasets``, and a board's records in a layout that the hub can host."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import call
from PIL import Image
from ruamel.yaml import YAML
from synthetic import dipping, matrix, record

import clbench
from clbench import api
from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.record import Kind, Reading
from clbench.data import load
from clbench.data.user_data import given
from clbench.leaderboard import frame
from clbench.leaderboard.hub_export import COLUMNS, MARK, export
from clbench.metrics import metric_names

# --------------------------------------------------------------------------------------------------- data sets by name


class ClassLabel:
    def __init__(self, names):
        self.names = names


class Value:
    pass


Picture = type("Image", (), {})


class Split:
    """What ``datasets.Dataset`` is to a reader: features, columns by name, rows by number."""

    def __init__(self, columns, features):
        self.columns, self.features = columns, features

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        return self.columns[key] if isinstance(key, str) else {name: c[key] for name, c in self.columns.items()}


def pixels(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 5, 4, 3)).astype(np.uint8)


def split(n, names=("cat", "dog"), image="img", seed=0, labels=None):
    images = [Image.fromarray(x) for x in pixels(n, seed)]
    labels = [i % 2 for i in range(n)] if labels is None else labels
    columns = {"note": ["x"] * n, image: images, "label": labels}
    return Split(columns, {"note": Value(), image: Picture(), "label": ClassLabel(list(names))})


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A stand-in for the package ``datasets``, which knows one data set, and a network."""
    asked = []
    module = ModuleType("datasets")
    module.__spec__ = ModuleSpec("datasets", None)  # find_spec looks there
    module.found = {"train": split(8), "test": split(4, seed=1)}

    def load_dataset(name, config, *, revision):
        asked.append((name, config, revision))
        if name != "someone/pets":
            raise FileNotFoundError(f"Couldn't find {name}\nmore")
        return module.found

    module.load_dataset = load_dataset
    module.asked = asked
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CLBENCH_OFFLINE", "0")
    return module


def test_a_data_set_of_the_hub_has_the_pixels_labels_and_names_that_it_has_there(hub):
    found = load("hf:someone/pets")
    assert np.array_equal(found.train.x, pixels(8).transpose(0, 3, 1, 2))
    assert np.array_equal(found.test.x, pixels(4, 1).transpose(0, 3, 1, 2))
    assert found.train.y.tolist() == [0, 1] * 4
    assert found.class_names == ("cat", "dog")
    assert hub.asked == [("someone/pets", None, None)]
    assert given(hub.found).checksum == found.checksum  # handed over by a program that has loaded it


def test_config_and_revision_are_passed_on_and_what_was_read_once_needs_no_network(hub, monkeypatch):
    first = load("hf:someone/pets:small@abc", size=3)
    assert first.shape == (3, 3, 3)
    assert hub.asked == [("someone/pets", "small", "abc")]
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert load("hf:someone/pets:small@abc", size=3).checksum == first.checksum
    with pytest.raises(Refused, match="has not been read on this machine yet, and downloads are switched off"):
        load("hf:someone/pets:small", size=3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "someone/pet"}, r"is not available \(FileNotFoundError: Couldn't find someone/pet\); check its name"),
        ({"name": ":"}, "cannot be read; write hf:owner/name"),
        ({"found": {"train": split(4)}}, "needs a split train and one of test, validation, valid, val; it has train"),
        ({"found": {"train": split(4, labels=[0, 1, 5, 0]), "test": split(4)}}, "1 labels are out of range"),
        (
            {"found": {s: Split({"text": ["a"]}, {"text": Value()}) for s in ("train", "test")}},
            r"has no column of ClassLabel values, nor one of label, .*; its columns are text \(Value\)",
        ),
    ],
)
def test_what_cannot_be_had_or_used_is_refused_with_a_sentence(hub, change, sentence):
    hub.found = change.get("found", hub.found)
    with pytest.raises(Refused, match=sentence):
        load(f"hf:{change.get('name', 'someone/pets')}")


def test_without_the_package_a_sentence_says_how_to_get_it(hub, monkeypatch):
    monkeypatch.delitem(sys.modules, "datasets")
    monkeypatch.setattr("clbench.data.huggingface.find_spec", lambda name: None)
    with pytest.raises(Refused, match=r"pip install 'clbench\[hf\]', or place its parquet files in a folder"):
        load("hf:someone/pets")


def test_the_package_itself_reads_a_folder_as_the_parquet_form_does(tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="the optional package datasets is not installed")
    monkeypatch.setenv("CLBENCH_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pets" / "data").mkdir(parents=True)
    for name, n in (("train-00000-of-00002", 8), ("train-00001-of-00002", 6), ("test-00000-of-00001", 4)):
        encoded = []
        for x in pixels(n, n):
            buffer = io.BytesIO()
            Image.fromarray(x).save(buffer, "PNG")
            encoded.append({"bytes": buffer.getvalue(), "path": None})
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        table = pa.table({"image": pa.array(encoded, kind), "label": pa.array([i % 2 for i in range(n)])})
        features = '{"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}'
        table = table.replace_schema_metadata({"huggingface": f'{{"info": {{"features": {features}}}}}'})
        pq.write_table(table, tmp_path / "pets" / "data" / f"{name}.parquet")
    theirs, ours = load(f"hf:{tmp_path / 'pets'}"), load(f"parquet:{tmp_path / 'pets'}")
    assert theirs.checksum == ours.checksum
    assert theirs.class_names == ours.class_names == ("cat", "dog")
    assert len(ours.train) == 14


# --------------------------------------------------------------------------------------------------- records


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A folder with finished, diverged, skipped and alarmed cells of two benchmarks."""
    folder = tmp_path_factory.mktemp("results")
    odd = record("odd", 0, dipping(7), name="other", alarms=("the penalty is always 0", "and more"))
    odd.environment.update({"cores": 2, "commit": None, "note": 7})
    more = record("more", 0, dipping(8), name="other")
    more.environment["note"] = "seven"
    for each in [*matrix(range(2)), odd, more]:
        store.save(each, folder)
    return folder


@pytest.fixture(scope="module")
def exported(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "export"
    done = call("board", results, "--format", "hub", "-o", folder)
    assert done.code == 0, done.err
    assert done.out.count("written") == 3
    return folder


def test_cells_read_back_are_what_load_gives(results, exported):
    back = pd.read_parquet(exported / "data" / "cells.parquet")
    ours = frame(api.records(results), settings=False).drop(columns="trace")
    assert list(back.columns) == [*ours.columns, "cell"]
    assert [tuple(alarms) for alarms in back["alarms"]] == list(ours["alarms"])
    same = [c for c in ours.columns if c != "alarms" and not c.startswith("environment_")]
    pd.testing.assert_frame_equal(back[same], ours[same], check_dtype=False)
    assert set(back["environment_cores"].dropna()) == {2}
    assert set(back["environment_note"].dropna()) == {"7", "seven"}
    records = {each.key: each for each in map(store.load, sorted((results / "records").glob("*.json")))}
    assert all(pd.io.json.ujson_loads(cell) == records[key].cell for key, cell in zip(back.key, back.cell, strict=True))


def test_traces_read_back_are_the_scores_that_were_seen(results, exported):
    back = pd.read_parquet(exported / "data" / "traces.parquet")
    frame = clbench.load(results)
    assert set(back["key"]) == set(frame.loc[[t is not None for t in frame["trace"]], "key"])
    for key, trace in zip(frame["key"], frame["trace"], strict=True):
        rows = back[back["key"] == key]
        if trace is None:
            assert rows.empty
            continue
        score = np.full(trace.score.shape, np.nan)
        score[rows["look"], rows["task"]] = rows["score"]
        assert np.array_equal(score, trace.score, equal_nan=True)
        first = rows.drop_duplicates("look").set_index("look")
        assert first["step"].tolist() == trace.step.tolist()
        assert first["experience"].tolist() == trace.experience.tolist()
        assert [Kind[kind.upper()] for kind in first["kind"]] == list(trace.kind)


def test_the_card_names_its_files_its_columns_and_its_board(exported):
    text = (exported / "README.md").read_text(encoding="utf-8")
    header = YAML(typ="safe").load(text.split("---\n")[1])
    paths = {config["config_name"]: config["data_files"][0]["path"] for config in header["configs"]}
    assert paths == {"cells": "data/cells.parquet", "traces": "data/traces.parquet"}
    assert all((exported / path).is_file() for path in paths.values())
    assert "license" not in header
    assert "| 1 | joint |" in text
    columns = set(pd.read_parquet(exported / "data" / "cells.parquet").columns)
    told = {*COLUMNS, *metric_names()}
    assert {c for c in columns if c not in told and not c.startswith(("cost_", "environment_"))} == set()
    assert all(f"| `{name}` |" in text for name in told)


def test_the_python_on_the_page_reads_it(exported, tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "hugging-face.md").read_text(encoding="utf-8")
    (tmp_path / "mine-on-the-hub").symlink_to(exported)
    monkeypatch.chdir(tmp_path)
    exec(compile(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0], "hugging-face.md", "exec"), {})
    assert "er_ace" in capsys.readouterr().out


def test_a_second_export_replaces_the_first_and_keeps_the_licence(results, exported, tmp_path):
    card = exported / "README.md"
    card.write_text(card.read_text().replace("# license: yours to choose, such as cc-by-4.0", "license: cc0-1.0"))
    assert call("board", results, "--format", "hub", "-o", exported).code == 0
    assert "\nlicense: cc0-1.0\n" in card.read_text()
    assert MARK in card.read_text()


def test_a_folder_with_something_else_is_left_alone(results, tmp_path):
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    answer = call("board", results, "--format", "hub", "-o", tmp_path)
    assert answer.code == 2
    assert "holds something else than an export" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(Refused, match="holds something else"):
        export([], file)


def test_the_format_needs_a_folder():
    answer = call("board", "results", "--format", "hub")
    assert answer.code == 2
    assert "add -o FOLDER" in answer.err


def test_records_without_any_trace_are_exported_too(tmp_path):
    export([record("gem", 0, status="skipped", reason="no task labels")], tmp_path / "new")
    assert pd.read_parquet(tmp_path / "new/data/traces.parquet").empty
    assert pd.read_parquet(tmp_path / "new/data/cells.parquet")["status"].tolist() == ["skipped"]


def test_the_package_itself_loads_the_folder(exported, tmp_path):
    datasets = pytest.importorskip("datasets", reason="the optional package datasets is not installed")
    cells = datasets.load_dataset(str(exported), "cells", split="train", cache_dir=str(tmp_path))
    traces = datasets.load_dataset(str(exported), "traces", split="train", cache_dir=str(tmp_path))
    assert cells["key"][:] == pd.read_parquet(exported / "data" / "cells.parquet")["key"].tolist()
    assert len(traces) == len(pd.read_parquet(exported / "data" / "traces.parquet"))


def test_readings_are_a_table_of_their_own_which_is_there_only_with_readings(exported, tmp_path):
    assert not (exported / "data" / "readings.parquet").exists()
    assert "readings" not in (exported / "README.md").read_text(encoding="utf-8")
    plain = dipping(0, tasks=3, length=4)
    values = np.array([[0.5, np.nan], [0.25, 1.0]], dtype=np.float32)
    read = replace(plain, readings={"fau(by_layer=True)": Reading(np.array([0, 4]), values)})
    paths = export([record("er", 0, read)], tmp_path / "hub")
    back = pd.read_parquet(tmp_path / "hub" / "data" / "readings.parquet")
    assert len(paths) == 4
    assert back["reading"].unique().tolist() == ["fau(by_layer=True)"]
    assert back[["step", "place", "value"]].values.tolist() == [[0, 0, 0.5], [4, 0, 0.25], [4, 1, 1.0]]
    assert "config_name: readings" in (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    export([record("er", 0, plain)], tmp_path / "hub")
    assert sorted(path.name for path in (tmp_path / "hub" / "data").iterdir()) == ["cells.parquet", "traces.parquet"]
