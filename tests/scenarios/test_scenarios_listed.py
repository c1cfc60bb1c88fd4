"""Streams that a list of samples describes, and the lists of CORe50's authors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from command_line import call
from PIL import Image

import clbench
from clbench import data
from clbench.core.errors import Refused
from clbench.data.core50_lists import convert
from clbench.running.plan import make_stream, plan
from clbench.scenarios import make
from clbench.scenarios.realised import check_stream

COLUMNS = ("path", "label", "split", "experience")
PLAIN = [
    ("p/0.png", "cat", "train", 1),
    ("p/1.png", "cat", "train", 0),
    ("p/2.png", "dog", "train", 0),
    ("p/3.png", "dog", "train", 1),
    ("p/4.png", "cow", "train", 1),
    ("p/5.png", "dog", "test", 0),
    ("p/6.png", "cat", "test", 0),
    ("p/7.png", "cow", "test", 1),
]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "p").mkdir()
    for i in range(8):
        Image.new("L", (4, 4), 100 + i).save(tmp_path / f"p/{i}.png")
    return tmp_path


def write(folder, rows, columns=COLUMNS, name="list.csv"):
    frame = pd.DataFrame(rows, columns=columns)
    if name.endswith(".parquet"):
        frame.to_parquet(folder / name)
    else:
        frame.to_csv(folder / name, index=False)
    return folder / name


def stream_of(folder, name="list.csv", dataset=None, **settings):
    found = data.load(f"list:{name}", folder, **(dataset or {}))
    return make({"scenario": "listed", **settings}, found, 0)


def levels(stream, rows, split="train"):
    """The grey level of each sample, which is its number in the list."""
    return (getattr(stream.dataset, split).x[rows, 0, 0, 0].astype(int) - 100).tolist()


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_experiences_and_tasks_are_those_of_the_list(folder, name):
    write(folder, PLAIN, name=name)
    stream = stream_of(folder, name)
    assert stream.dataset.class_names == ("cat", "cow", "dog")
    assert [levels(stream, e.rows) for e in stream] == [[1, 2], [0, 3, 4]]
    assert [e.classes for e in stream] == [(0, 2), (0, 1, 2)]
    assert [levels(stream, t.rows, "test") for t in stream.tasks] == [[5, 6], [7]]
    assert [(t.name, t.classes) for t in stream.tasks] == [("0", (0, 2)), ("1", (1,))]
    assert [e.task for e in stream] == [0, 1]
    assert check_stream(lambda: stream_of(folder, name)) == []


def test_the_order_of_the_list_is_kept_if_it_is_not_shuffled(folder):
    write(folder, PLAIN[::-1])
    stream = stream_of(folder, shuffled=False)
    assert levels(stream, stream[1].rows) == [4, 3, 0]
    assert not stream[1].shuffled
    assert stream_of(folder)[1].shuffled


@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_test_samples_without_an_experience_are_one_test_set_for_all(folder, name):
    write(folder, [(*row[:3], None if row[2] == "test" else row[3]) for row in PLAIN], name=name)
    stream = stream_of(folder, name)
    assert len(stream) == 2
    assert [(t.name, t.classes) for t in stream.tasks] == [("all", (0, 1, 2))]
    assert [e.task for e in stream] == [0, 0]


def test_tasks_may_be_named_and_last_for_several_experiences_or_share_one(folder):
    tasks = ["b", "a", "b", "b", "b", "b", "a", "b"]
    write(folder, [(*row, task) for row, task in zip(PLAIN, tasks, strict=True)], (*COLUMNS, "task"))
    stream = stream_of(folder, setting="task")
    assert [t.name for t in stream.tasks] == ["a", "b"]
    assert [levels(stream, t.rows, "test") for t in stream.tasks] == [[6], [5, 7]]
    assert stream[0].task.tolist() == [0, 1]
    assert stream[1].task == 1
    assert stream.task_labels


def test_rows_of_a_named_data_set_are_listed_by_number(tmp_path):
    whole = data.load("digits")
    train = [np.flatnonzero(whole.train.y == c)[:4] for c in (7, 2)]
    test = [np.flatnonzero(whole.test.y == c)[:2] for c in (7, 2)]
    rows = [(int(i), "train", e) for e, part in enumerate(train) for i in part]
    rows += [(int(i), "test", e) for e, part in enumerate(test) for i in part]
    write(tmp_path, rows, ("row", "split", "experience"))
    stream = stream_of(tmp_path, dataset={"of": "digits"})
    assert stream.dataset.class_names == ("2", "7")
    assert [e.classes for e in stream] == [(1,), (0,)]
    for experience, part in zip(stream, train, strict=True):
        assert (stream.dataset.train.x[experience.rows] == whole.train.x[part]).all()
    assert (stream.dataset.test.x[stream.tasks[1].rows] == whole.test.x[test[1]]).all()
    write(tmp_path, [(*row, "3") for row in rows], ("row", "split", "experience", "label"), "wrong.csv")
    with pytest.raises(Refused, match=r"label = '3' in row 1, and train sample \d+ of 'digits' is '7'"):
        data.load("list:wrong.csv", tmp_path, of="digits")
    with pytest.raises(Refused, match="lists rows of a data set; name it, such as of: cifar10"):
        data.load("list:list.csv", tmp_path)
    write(tmp_path, [(99999, "train", 0), *rows], ("row", "split", "experience"), "far.csv")
    with pytest.raises(
        Refused, match="row = '99999' in row 1 is no train sample of 'digits'; they have the numbers 0 to"
    ):
        data.load("list:far.csv", tmp_path, of="digits")


def benchmark(folder, **dataset):
    return {
        "name": "b",
        "stream": {"scenario": "listed", "dataset": {"name": "list:list.csv", **dataset}},
        "model": {"name": "cnn"},
        "training": {"batch_size": 2},
    }


def test_a_cell_knows_the_list_and_its_pictures_and_runs(folder):
    write(folder, PLAIN)
    run = {"data_dir": folder, "seeds": 1, "strategies": ["naive"]}
    [cell] = plan(benchmark(folder), **run).cells
    [record] = clbench.run(benchmark(folder), jobs=1, out=None, **run)
    assert record.status == "done", record.reason
    assert record.trace.rows.tolist() == [2, 1]
    Image.new("L", (4, 4), 7).save(folder / "p/3.png")
    [other] = plan(benchmark(folder), **run).cells
    write(folder, PLAIN[::-1])
    [third] = plan(benchmark(folder), **run).cells
    assert len({cell.key, other.key, third.key}) == 3


def test_samples_are_held_out_of_each_experience_and_keep_their_task(folder):
    rows = [(i, "train", i % 3) for i in range(300)] + [(i, "test", i % 3) for i in range(60)]
    write(folder, rows, ("row", "split", "experience"))
    settings = {"of": "digits", "validation": 0.2}
    stream = stream_of(folder, dataset={**settings, "evaluate_on": "validation"})
    assert [len(t.rows) for t in stream.tasks] == pytest.approx([20, 20, 20], abs=6)
    assert sum(len(e) for e in stream) + sum(len(t.rows) for t in stream.tasks) == 300


def test_a_subset_of_classes_leaves_out_what_is_empty(folder):
    rows = [
        *PLAIN[1:3],
        ("p/0.png", "cow", "train", 1),
        ("p/3.png", "cat", "train", 2),
        *PLAIN[5:],
        ("p/4.png", "cat", "test", 2),
    ]
    write(folder, rows)
    stream = stream_of(folder, dataset={"classes": ["dog", "cat"]})
    assert [t.name for t in stream.tasks] == ["0", "2"]
    assert [e.classes for e in stream] == [(0, 1), (1,)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda rows: [*rows, ("p/9.png", "cat", "train", 0)],
            r"lists 1 of 9 pictures that do not exist in .*'p/9.png'",
        ),
        (lambda rows: [*rows, rows[0]], "p/0.png occurs 2 times .*list every sample once"),
        (
            lambda rows: [(*r[:3], r[3] * 2) for r in rows],
            "go up to 2, and 1 has no training samples; number them from 0",
        ),
        (lambda rows: [(*r[:3], "x") for r in rows], "experience = 'x', which is no number from 0 on, in row 1"),
        (
            lambda rows: [(r[0], r[1], "dev", r[3]) for r in rows],
            "split = 'dev' in row 1 is not allowed; write train or",
        ),
        (lambda rows: [r for r in rows if r[2] == "train"], "has no rows of split test"),
        (lambda rows: [(r[0], "", *r[2:]) for r in rows], r"has no label in row 1 \(8 in all\)"),
        (lambda rows: rows[:-1], "task '1' has no test samples; add some, or leave the column experience"),
        (lambda rows: [*rows[:-1], (*rows[-1][:3], "")], "others have none, such as that in row 8"),
    ],
)
def test_lists_that_contradict_themselves_are_refused_when_the_run_is_planned(folder, change, sentence):
    write(folder, change(PLAIN))
    with pytest.raises(Refused, match=sentence):
        plan(benchmark(folder), data_dir=folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda rows: [*rows[:-1], ("p/7.png", "hen", "test", 1)],
            "test labels hen do not occur among the training labels",
        ),
        (lambda rows: [*rows[:-1], ("p/7.png", "cat", "test", 1)], "no test samples for class cow"),
    ],
)
def test_labels_without_training_or_test_samples_are_refused(folder, change, sentence):
    write(folder, change(PLAIN))
    with pytest.raises(Refused, match=sentence):
        data.load("list:list.csv", folder)


def test_columns_and_files_that_are_missing_are_named(folder):
    write(folder, [row[:3] for row in PLAIN], COLUMNS[:3])
    with pytest.raises(Refused, match="has no column 'experience'; it has path, label, split, and needs split, exper"):
        data.load("list:list.csv", folder)
    write(folder, [row[1:] for row in PLAIN], COLUMNS[1:])
    with pytest.raises(Refused, match="has neither a column 'path' nor a column 'row'"):
        data.load("list:list.csv", folder)
    with pytest.raises(Refused, match=r"there is no file .*lists.csv \(did you mean 'list.csv'\?\)"):
        data.load("list:lists.csv", folder)
    with pytest.raises(Refused, match="needs a list of samples, and 'digits' is none; write dataset: list:FILE"):
        make({"scenario": "listed"}, data.load("digits"), 0)


# ------------------------------------------------------------------------------------------- CORe50


def miniature(root, kind="NI_inc"):
    """Two objects in three sessions: sessions 1 and 2 are learned one after another, session 3 is the test set."""
    lists = root / "batches_filelists" / kind / "run0"
    lists.mkdir(parents=True)
    for name, session in (("train_batch_00", 1), ("train_batch_01", 2), ("test", 3)):
        lines = []
        for label, thing in enumerate((1, 7)):
            for shot in range(2):
                path = f"s{session}/o{thing}/C_{session:02}_{thing:02}_{shot:03}.png"
                (root / "core50_128x128" / path).parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (50 * session, 100 * label, shot)).save(root / "core50_128x128" / path)
                lines.append(f"{path} {label}")
        (lists / f"{name}_filelist.txt").write_text("\n".join(lines) + "\n")
    return root


def test_the_lists_of_core50_become_a_list_of_samples_that_runs(tmp_path):
    root = miniature(tmp_path / "core50")
    answer = call("convert", "core50", root, "--protocol", "ni")
    assert answer.code == 0, answer.err
    assert "2 experiences, 8 training samples, one test set of 4, 2 classes" in answer.out
    file = root / "core50-ni-run0.csv"
    assert file.read_text().splitlines()[:2] == [
        "path,label,split,experience",
        "core50_128x128/s1/o1/C_01_01_000.png,0,train,0",
    ]
    section = {"scenario": "listed", "setting": "domain", "dataset": "list:core50/core50-ni-run0.csv"}
    described = {"name": "b", "stream": section, "model": {"name": "cnn"}}
    [cell] = plan(described, data_dir=tmp_path, seeds=1).cells
    stream = make_stream(cell.config["stream"], 0, data_dir=str(tmp_path))
    assert [t.name for t in stream.tasks] == ["all"]
    for session, experience in enumerate(stream, 1):
        assert set(stream.dataset.train.x[experience.rows, 0, 0, 0]) == {50 * session}
        assert experience.classes == (0, 1)
    assert set(stream.dataset.test.x[:, 0, 0, 0]) == {150}
    assert stream.dataset.test.y.tolist() == (stream.dataset.test.x[:, 1, 0, 0] // 100).tolist()


def test_lists_of_core50_that_are_missing_or_damaged_are_named(tmp_path):
    root = miniature(tmp_path / "core50")
    with pytest.raises(Refused, match=r"no lists of protocol nicv2_391, run 0 \(NIC_v2_391/run0\); unpack batches_fil"):
        convert(root, protocol="nicv2_391")
    with pytest.raises(Refused, match=r"NI_inc_cat/run0"):
        convert(root, categories=True)
    lists = root / "batches_filelists/NI_inc/run0"
    (lists / "train_batch_01_filelist.txt").write_text("s1/o1/C.png\n")
    with pytest.raises(Refused, match=r"line 1: 's1/o1/C.png' is not a path and a label"):
        convert(root)
    (lists / "train_batch_01_filelist.txt").rename(lists / "train_batch_02_filelist.txt")
    with pytest.raises(Refused, match=r"lacks train_batch_01_filelist.txt"):
        convert(root)
    (lists / "test_filelist.txt").unlink()
    (lists / "train_batch_02_filelist.txt").unlink()
    with pytest.raises(Refused, match=r"lacks test_filelist.txt"):
        convert(root)
    assert call("convert", "core50", tmp_path / "nowhere").code == 2
