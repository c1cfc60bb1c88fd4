"""Several data sets become one, and a sequence visits one after another."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_scenarios_fingerprints import fixed
from tiny_data import tiny

import clbench
from clbench import data
from clbench.core.errors import Refused
from clbench.core.types import Dataset, Origin, Rows
from clbench.data import DATASETS, from_arrays, join
from clbench.data.dataset_registry import check_name, parts
from clbench.running.plan import plan
from clbench.scenarios import make
from clbench.scenarios.realised import check_stream, realised_hash, repetition
from clbench.scenarios.sequence import sequence


def named(name: str, n_classes: int = 3, *, seed: int = 0, shape: tuple[int, ...] = (1, 4, 4)) -> Dataset:
    return replace(tiny(n_classes, seed=seed, shape=shape), name=name)


def pair() -> Dataset:
    return join([named("a", 3), named("b", 2, seed=1)])


# ------------------------------------------------------------------------------------------- joining


def test_joined_rows_follow_each_other_and_labels_are_counted_on():
    a, b = named("a", 3), named("b", 2, seed=1)
    both = join([a, b])
    n, m = len(a.train), len(a.test)
    assert both.name == "a+b"
    assert both.class_names == ("a/c0", "a/c1", "a/c2", "b/c0", "b/c1")
    assert both.origins == (
        Origin("a", (0, n), (0, m), (0, 3)),
        Origin("b", (n, n + len(b.train)), (m, m + len(b.test)), (3, 5)),
    )
    np.testing.assert_array_equal(both.train.x, np.concatenate([a.train.x, b.train.x]))
    np.testing.assert_array_equal(both.train.y, np.concatenate([a.train.y, b.train.y + 3]))
    np.testing.assert_array_equal(both.test.y, np.concatenate([a.test.y, b.test.y + 3]))
    assert both.train.x.dtype == np.uint8
    assert both.scale == a.scale
    assert both.checksum != join([b, a]).checksum != join([a, named("b", 2, seed=2)]).checksum


def test_grey_images_are_repeated_beside_colour():
    grey, colour = named("grey"), named("colour", shape=(3, 4, 4))
    both = join([grey, colour])
    assert both.shape == (3, 4, 4)
    for channel in range(3):
        np.testing.assert_array_equal(both.train.x[: len(grey.train), channel], grey.train.x[:, 0])
    np.testing.assert_array_equal(both.train.x[len(grey.train) :], colour.train.x)


def test_eight_bit_images_of_another_scale_are_brought_to_255():
    x = np.array([[0, 4, 8, 16]], dtype=np.uint8).reshape(1, 1, 2, 2).repeat(2, 0)
    y = np.array([0, 1])
    sixteenths = from_arrays("sixteenths", x, y, x, y, scale=1 / 16)
    both = join([sixteenths, named("a", shape=(1, 2, 2))])
    assert both.scale == 1 / 255
    assert both.train.x.dtype == np.uint8
    assert both.train.x[0].flatten().tolist() == [0, 64, 128, 255]  # 63.75 and 127.5 to the nearest even


def test_floats_and_eight_bit_images_meet_as_floats_in_the_unit_range():
    x = np.full((2, 1, 4, 4), 0.25, dtype=np.float32)
    floats = from_arrays("floats", x, [0, 1], x, [0, 1])
    a = named("a")
    both = join([a, floats])
    assert (both.train.x.dtype, both.scale) == (np.float32, 1.0)
    np.testing.assert_allclose(both.train.x[: len(a.train)], a.train.x / 255, rtol=1e-6)
    assert both.train.x[-1].max() == 0.25


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        (lambda: [named("a")], "at least two data sets"),
        (lambda: [named("a"), named("a", seed=1)], "different names"),
        (lambda: [named("a"), named("b", shape=(1, 5, 5))], "set size"),
        (lambda: [named("a"), named("b", shape=(16,))], "different shapes"),
        (lambda: [named("a"), named("b", shape=(2, 4, 4))], "only 1 and 3 go together"),
    ],
)
def test_data_sets_that_do_not_fit_are_refused(sets, sentence):
    with pytest.raises(Refused, match=sentence):
        join(sets())


# ------------------------------------------------------------------------------------------- names and settings


@pytest.fixture
def registered():
    added = dict(DATASETS._added)
    DATASETS.add("left", named("left", 3))
    DATASETS.add("right", named("right", 3, seed=1))
    yield
    DATASETS._added.clear()
    DATASETS._added.update(added)


def test_a_plus_joins_names_and_belongs_to_the_path_inside_one():
    assert parts("mnist+usps+FashionMNIST") == ["mnist", "usps", "FashionMNIST"]
    assert parts("folder:a+b") == ["folder:a+b"]
    assert parts("folder:a+b+mnist") == ["folder:a+b", "mnist"]
    assert parts("npz:x.npz+folder:y") == ["npz:x.npz", "folder:y"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("mnist+fashionmnist", "did you mean"), ("mnist+mnist", "joins the same one twice"), ("mnist+", "no data set")],
)
def test_wrong_names_in_a_sequence_are_refused_before_anything_is_loaded(name, sentence):
    with pytest.raises(Refused, match=sentence):
        check_name(name)


def test_loading_joined_names_prepares_the_whole_and_finds_the_origins_again(registered):
    whole = data.load("left+right")
    less = data.load("left+right", train_rows=12, validation=0.2, evaluate_on="validation", normalize="mean-std")
    assert len(less.train) == 12
    assert len(less.mean) == 1
    for dataset in (whole, less):
        assert [o.name for o in dataset.origins] == ["left", "right"]
        for origin in dataset.origins:
            for split, span in (("train", origin.train), ("test", origin.test)):
                y = getattr(dataset, split).y
                own = (y >= origin.classes[0]) & (y < origin.classes[1])
                np.testing.assert_array_equal(np.flatnonzero(own), np.arange(*span))


def test_a_list_of_names_in_a_benchmark_is_the_same_cell_as_their_sum():
    def cell(dataset):
        stream = {"scenario": "sequence", "dataset": dataset}
        document = {"name": "b", "stream": stream, "model": {"name": "mlp"}, "seeds": 1}
        return plan(document).cells[0]

    cells = [cell(d) for d in ("mnist+usps", ["mnist", "usps"], {"name": ["mnist", "usps"]})]
    assert len({c.key for c in cells}) == 1
    assert cells[0].config["stream"]["dataset"]["name"] == "mnist+usps"


# ------------------------------------------------------------------------------------------- the stream


@pytest.mark.parametrize("setting", ["class", "task", "domain"])
def test_each_experience_is_one_data_set_with_units_of_the_setting(setting):
    both = join([named("a", 3), named("b", 3, seed=1)])
    stream = sequence(both, 0, setting=setting)
    assert [task.name for task in stream.tasks] == ["a", "b"]
    assert stream.n_outputs == (3 if setting == "domain" else 6)
    assert stream.task_labels == (setting == "task")
    for origin, experience, task in zip(both.origins, stream, stream.tasks, strict=True):
        np.testing.assert_array_equal(experience.rows, np.arange(*origin.train))
        np.testing.assert_array_equal(task.rows, np.arange(*origin.test))
        down = origin.classes[0] if setting == "domain" else 0
        labels = stream.labels(both.train, experience.rows, experience.view)
        np.testing.assert_array_equal(labels, both.train.y[experience.rows] - down)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 4), min_size=2, max_size=4),
    setting=st.sampled_from(["class", "task", "domain"]),
    order=st.sampled_from(["given", "seeded"]),
    seed=st.integers(0, 2**40),
)
def test_every_sequence_partitions_the_training_rows(sizes, setting, order, seed):
    if setting == "domain":
        sizes = [sizes[0]] * len(sizes)
    whole = join([named(f"d{i}", n, seed=i) for i, n in enumerate(sizes)])
    config = {"scenario": "sequence", "setting": setting, "order": order}
    assert check_stream(lambda: make(config, whole, seed)) == []
    stream = make(config, whole, seed)
    assert repetition(stream) == "none"
    assert sum(map(len, stream)) == len(whole.train)


def test_seeded_order_follows_the_seed():
    whole = join([named(f"d{i}", 2, seed=i) for i in range(4)])
    orders = {tuple(t.name for t in sequence(whole, seed, order="seeded").tasks) for seed in range(20)}
    assert len(orders) > 5
    assert [t.name for t in sequence(whole, 7).tasks] == ["d0", "d1", "d2", "d3"]


@pytest.mark.parametrize(
    ("dataset", "config", "sentence"),
    [
        (lambda: named("a"), {}, "needs several data sets"),
        (pair, {"setting": "domain"}, r"equal numbers of classes \(a has 3, b has 2\)"),
        (pair, {"order": "sedeed"}, "order"),
    ],
)
def test_impossible_sequences_are_refused_with_a_sentence(dataset, config, sentence):
    with pytest.raises(Refused, match=sentence):
        make({"scenario": "sequence", **config}, dataset(), 0)


def golden_data() -> Dataset:
    a = fixed()
    return join([a, replace(a, name="mirrored", train=Rows(a.train.x[:, :, ::-1], a.train.y))])


GOLDEN = [
    ({"scenario": "sequence"}, 0, "149a545057577d08", "59218abc3273f489"),
    ({"scenario": "sequence", "setting": "domain", "order": "seeded"}, 3, "f710ecb353f6985c", "addbd5082c0f2d16"),
]


@pytest.mark.parametrize(("config", "seed", "fingerprint", "realised"), GOLDEN)
def test_streams_are_what_they_were_when_their_fingerprints_were_recorded(config, seed, fingerprint, realised):
    stream = make(config, golden_data(), seed)
    assert (stream.fingerprint, realised_hash(stream)) == (fingerprint, realised)


def test_sequences_survive_pickling():
    stream = sequence(pair(), 0)
    copy = pickle.loads(pickle.dumps(stream))
    assert realised_hash(copy) == realised_hash(stream)


def test_a_sequence_is_learned_and_rehearsed(registered):
    digits = data.load("digits", train_rows=200)
    DATASETS.add("upright", replace(digits, name="upright"))
    turned = [Rows(np.ascontiguousarray(r.x.transpose(0, 1, 3, 2)), r.y) for r in (digits.train, digits.test)]
    DATASETS.add("turned", replace(digits, name="turned", train=turned[0], test=turned[1]))
    done = clbench.run(
        {
            "name": "tiny-sequence",
            "stream": {"scenario": "sequence", "dataset": ["upright", "turned"], "setting": "domain"},
            "model": {"name": "mlp", "hidden": [32]},
            "training": {"lr": 0.1, "batch_size": 16, "epochs": 12},
            "memory": {"size": 60},
            "evaluation": {"every": 0, "rows_per_task": 100},
            "strategies": ["naive", "er"],
            "seeds": 1,
        }
    )
    assert [record.status for record in done] == ["done", "done"]
    naive, er = (record.trace.score[-1] for record in done)
    assert min(naive[1], er[1]) > 0.5  # chance is 0.1
    assert er[0] > naive[0]  # rehearsal keeps the first data set
