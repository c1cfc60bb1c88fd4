"""Streams partition what they say they do, are functions of (settings, data, seed), and refuse the impossible."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_data import tiny

from clbench.core.errors import Refused
from clbench.core.types import Rows
from clbench.scenarios import SCENARIOS, canonical, describe, make
from clbench.scenarios.permuted import permuted
from clbench.scenarios.rotated import rotated
from clbench.scenarios.split import split

# --------------------------------------------------------------------------------------------------- split


@st.composite
def splits(draw: st.DrawFn) -> tuple[int, dict]:
    n_classes = draw(st.integers(2, 12))
    setting = draw(st.sampled_from(["class", "task", "domain"]))
    counts = [n for n in range(1, n_classes + 1) if setting != "domain" or n_classes % n == 0]
    order = draw(st.sampled_from(["fixed", "seeded"]) | st.permutations(list(range(n_classes))))
    return n_classes, {"setting": setting, "experiences": draw(st.sampled_from(counts)), "order": order}


@settings(max_examples=60, deadline=None)
@given(case=splits(), seed=st.integers(-(2**40), 2**40))
def test_a_split_trains_on_each_row_once_and_tests_on_each_row_once(case, seed):
    n_classes, config = case
    data = tiny(n_classes)
    stream = split(data, seed, **config)
    for parts, rows in ((list(stream), data.train), (stream.tasks, data.test)):
        together = np.concatenate([part.rows for part in parts])
        assert sorted(together) == list(range(len(rows)))
        groups = [set(rows.y[part.rows]) for part in parts]
        assert set.union(*groups) == set(range(n_classes))
        assert sum(map(len, groups)) == n_classes  # no class in two groups
    assert [e.task for e in stream] == [t.id for t in stream.tasks] == list(range(config["experiences"]))


@settings(max_examples=60, deadline=None)
@given(case=splits(), seed=st.integers(0, 2**40))
def test_classes_of_a_split_are_the_units_that_its_labels_take(case, seed):
    data = tiny(case[0])
    stream = split(data, seed, **case[1])
    for experience, task in zip(stream, stream.tasks, strict=True):
        trained = stream.labels(data.train, experience.rows, experience.view)
        tested = stream.labels(data.test, task.rows, task.view)
        assert set(trained) == set(tested) == set(experience.classes) == set(task.classes)
        assert min(trained) >= 0
        assert max(trained) < stream.n_outputs
    if case[1]["setting"] == "domain":
        assert all(task.classes == tuple(range(stream.n_outputs)) for task in stream.tasks)


def test_the_first_experiences_of_an_uneven_split_have_one_class_more():
    stream = split(tiny(8), 0, experiences=3, order="fixed")
    assert [e.classes for e in stream] == [(0, 1, 2), (3, 4, 5), (6, 7)]


def test_domain_split_of_ordered_classes_in_pairs_asks_for_parity():
    data = tiny(6)
    stream = split(data, 0, setting="domain", experiences=3, order="fixed")
    assert stream.n_outputs == 2
    for experience in stream:
        labels = stream.labels(data.train, experience.rows, experience.view)
        np.testing.assert_array_equal(labels, data.train.y[experience.rows] % 2)


def test_domain_split_maps_a_class_to_its_position_in_the_given_order():
    stream = split(tiny(4), 0, setting="domain", experiences=2, order=[3, 0, 2, 1])
    assert stream.label_map.tolist() == [[1, -1, -1, 0], [-1, 1, 0, -1]]


def test_a_given_order_deals_the_classes_out_in_that_order():
    stream = split(tiny(4), 0, experiences=2, order=[3, 0, 2, 1])
    assert [e.classes for e in stream] == [(0, 3), (1, 2)]
    assert stream.tasks[0].name == "c3 c0"


def test_seeded_order_follows_the_seed_and_fixed_order_does_not():
    data = tiny(10)
    seeded = {tuple(e.classes for e in split(data, seed, order="seeded")) for seed in range(5)}
    fixed = {tuple(e.classes for e in split(data, seed, order="fixed")) for seed in range(5)}
    assert (len(seeded), len(fixed)) == (5, 1)


def test_task_labels_are_revealed_in_the_task_setting_only_unless_a_domain_stream_asks():
    data = tiny()
    shown = {s: split(data, 0, setting=s, experiences=2).task_labels for s in ("class", "task", "domain")}
    assert shown == {"class": False, "task": True, "domain": False}
    assert split(data, 0, setting="domain", experiences=2, task_labels=True).task_labels


def test_hidden_boundaries_leave_the_rows_of_every_experience_as_they_were():
    data = tiny()
    for name in ("split", "permuted", "rotated"):
        config = {"scenario": name, "experiences": 2}
        shown, hidden = (make({**config, "boundaries": b}, data, 3) for b in (True, False))
        assert [e.boundary for e in [*shown, *hidden]] == [True, True, False, False]
        for a, b in zip(shown, hidden, strict=True):
            np.testing.assert_array_equal(a.rows, b.rows)


# --------------------------------------------------------------------------------------------------- permuted, rotated


@pytest.mark.parametrize("scenario", ["permuted", "rotated"])
@pytest.mark.parametrize("setting", ["domain", "task", "class"])
def test_views_show_all_rows_in_every_experience_with_units_of_the_setting(scenario, setting):
    data = tiny(3)
    stream = make({"scenario": scenario, "setting": setting, "experiences": 4}, data, 1)
    assert all(task.rows is stream.tasks[0].rows for task in stream.tasks)  # one array, however many tasks
    own = setting != "domain"
    assert stream.n_outputs == (12 if own else 3)
    assert stream.task_labels == (setting == "task")
    for i, (experience, task) in enumerate(zip(stream, stream.tasks, strict=True)):
        assert (experience.task, experience.view, task.view) == (i, i, i)
        np.testing.assert_array_equal(experience.rows, np.arange(len(data.train)))
        np.testing.assert_array_equal(task.rows, np.arange(len(data.test)))
        labels = stream.labels(data.train, experience.rows, experience.view)
        np.testing.assert_array_equal(labels, data.train.y + (3 * i if own else 0))
        assert experience.classes == task.classes == tuple(sorted(set(labels)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**40), wanted=st.integers(1, 45))
def test_rows_per_experience_are_different_rows_drawn_anew_and_alone(seed, wanted):
    data = tiny(6)  # 45 training rows
    stream = permuted(data, seed, experiences=3, rows_per_experience=wanted)
    forwards = [experience.rows for experience in stream]
    assert all(len(set(rows)) == len(rows) == wanted for rows in forwards)
    np.testing.assert_array_equal(stream[2].rows, forwards[2])
    for experience in stream:
        assert set(experience.classes) == set(data.train.y[experience.rows])


def test_rows_per_experience_differ_between_experiences_and_seeds():
    draws = [tuple(e.rows) for seed in (0, 1) for e in rotated(tiny(), seed, rows_per_experience=20)]
    assert len(set(draws)) == 6


def test_first_order_is_the_identity_and_the_others_do_not_depend_on_that():
    data = tiny(shape=(2, 3, 3))
    with_identity, without = (
        permuted(data, 5, experiences=3, first_identity=f).transform.orders for f in (True, False)
    )
    np.testing.assert_array_equal(with_identity[0], np.arange(18))
    np.testing.assert_array_equal(with_identity[1:], without[1:])
    assert not np.array_equal(without[0], np.arange(18))
    assert all(sorted(order) == list(range(18)) for order in without)


def test_angles_are_the_published_ones_the_given_ones_or_evenly_spaced():
    data = tiny()
    assert rotated(data, 0).description["degrees"] == [0, 80, 160]
    assert rotated(data, 0, degrees=[0, 10.5]).description["degrees"] == [0, 10.5]
    assert rotated(data, 0, experiences=4).description["degrees"] == [0, 45, 90, 135]
    assert rotated(data, 0, experiences=2, max_degrees=90).description["degrees"] == [0, 45]
    assert rotated(data, 0, degrees=[30]).tasks[0].name == "30 degrees"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**40), limit=st.floats(0.5, 360))
def test_random_angles_lie_below_the_limit_and_follow_the_seed(seed, limit):
    def angles(s: int) -> list[float]:
        stream = rotated(tiny(2), s, experiences=5, spacing="random", max_degrees=limit)
        return stream.description["degrees"]

    assert all(0 <= angle < limit for angle in angles(seed))
    assert angles(seed) == angles(seed) != angles(seed + 1)


# --------------------------------------------------------------------------------------------------- all of them


@pytest.mark.parametrize("scenario", ["split", "permuted", "rotated"])
def test_the_same_seed_gives_the_same_stream_and_another_seed_another_fingerprint(scenario):
    config = {"scenario": scenario, "experiences": 3}
    first, again, other = (make(config, tiny(), seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)


def test_every_setting_and_the_data_enter_the_fingerprint():
    base = {"scenario": "permuted", "experiences": 3}
    changes = [
        {},
        {"setting": "class"},
        {"setting": "task"},
        {"experiences": 4},
        {"first_identity": False},
        {"rows_per_experience": 7},
        {"output": "all"},
        {"task_labels": True},
        {"boundaries": False},
    ]
    prints = [make({**base, **change}, tiny(), 0).fingerprint for change in changes]
    prints.append(make(base, tiny(seed=1), 0).fingerprint)
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize("scenario", ["split", "permuted", "rotated"])
def test_streams_survive_pickling(scenario):
    stream = make({"scenario": scenario, "experiences": 2}, tiny(), 0)
    copy = pickle.loads(pickle.dumps(stream))
    assert copy.fingerprint == stream.fingerprint
    np.testing.assert_array_equal(copy[1].rows, stream[1].rows)


def test_canonical_form_writes_every_setting_out_and_is_its_own_canonical_form():
    assert canonical({"scenario": "split", "experiences": 2}) == {
        "scenario": "split",
        "setting": "class",
        "experiences": 2,
        "order": "seeded",
        "output": "seen",
        "task_labels": None,
        "boundaries": True,
    }
    for entry in SCENARIOS:
        config = canonical({"scenario": entry.name})
        assert canonical(config) == config


def test_description_for_people_tells_counts_classes_and_fingerprint():
    stream = split(tiny(4), 0, experiences=2, order="fixed")
    text = describe(stream)
    assert text["experiences"] == "2, 11 to 15 training samples each"  # 5 + 6 and 7 + 8 rows
    assert text["tasks"] == "2, 4 test samples each"
    assert text["classes"] == "0 1 | 2 3"
    assert text["fingerprint"] == stream.fingerprint
    assert describe(permuted(tiny(3), 0))["classes"] == "0 1 2 in each"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "a stream needs scenario: NAME"),
        ({"scenario": "splitt"}, "did you mean 'split'"),
        ({"scenario": "split", "experience": 2}, "did you mean 'experiences'"),
        ({"scenario": "split", "experiences": 7}, "has 6 classes, too few for 7"),
        ({"scenario": "split", "experiences": 0}, "ask for at least 1"),
        ({"scenario": "split", "experiences": 4, "setting": "domain"}, r"choose experiences among \[1, 2, 3, 6\]"),
        ({"scenario": "split", "order": [0, 1, 2]}, "does not name every class of 'tiny' once"),
        ({"scenario": "split", "setting": "task", "task_labels": False}, "choose setting = 'class'"),
        ({"scenario": "split", "setting": "class", "task_labels": True}, "choose setting = 'task'"),
        ({"scenario": "split", "output": "some"}, "output"),
        ({"scenario": "permuted", "rows_per_experience": 46}, "has 45 training samples"),
        ({"scenario": "permuted", "rows_per_experience": 0}, "ask for 1 to that many"),
        ({"scenario": "rotated", "degrees": [0.0], "experiences": 2}, "give one of them"),
        ({"scenario": "rotated", "degrees": []}, "give at least one"),
        ({"scenario": "rotated", "degrees": [float("nan")]}, "should be a finite number"),
        ({"scenario": "rotated", "experiences": 2, "max_degrees": 0}, "finite number above 0"),
    ],
)
def test_impossible_streams_are_refused_with_a_sentence(config, sentence):
    with pytest.raises(Refused, match=sentence):
        make(config, tiny(), 0)


def test_settings_are_checked_also_without_the_registry():
    with pytest.raises(Refused, match="did you mean 'class'"):
        split(tiny(), 0, setting="clas")
    with pytest.raises(Refused, match="did you mean 'seeded'"):
        split(tiny(), 0, order="seed")
    with pytest.raises(Refused, match="did you mean 'even'"):
        rotated(tiny(), 0, spacing="evens")


def test_vectors_cannot_be_rotated():
    with pytest.raises(Refused, match="cannot be rotated"):
        rotated(tiny(shape=(16,)), 0)


def test_a_group_of_classes_without_test_rows_is_refused():
    data = tiny(4)
    kept = data.test.y < 3
    lacking = replace(data, test=Rows(data.test.x[kept], data.test.y[kept]))
    with pytest.raises(Refused, match=r"experience 3 would hold no test samples: 'tiny' has none of classes \[3\]"):
        split(lacking, 0, experiences=4, order="fixed")
