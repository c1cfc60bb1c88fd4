"""Corrupted streams visit what their order says; rotation may drift continuously."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_scenarios_fingerprints import fixed
from tiny_data import tiny

import clbench
from clbench.core.errors import Refused
from clbench.data.corruptions import STRENGTHS
from clbench.scenarios import make
from clbench.scenarios.corrupted import DEFAULT, corrupted
from clbench.scenarios.realised import check_stream, realised_hash
from clbench.scenarios.rotated import rotated


def kinds(stream) -> list[tuple[str, int]]:
    """Corruption and severity of each experience."""
    return [stream.transform.views[e.view] for e in stream]


def test_continual_order_shows_each_corruption_once_at_full_severity():
    stream = corrupted(tiny(), 0, corruptions=["fog", "contrast"], severity=4)
    assert kinds(stream) == [("clean", 0), ("fog", 4), ("contrast", 4)]
    assert [task.name for task in stream.tasks] == ["clean", "fog 4", "contrast 4"]
    assert [(e.task, e.view) for e in stream] == [(0, 0), (1, 1), (2, 2)]
    assert [name for name, _ in kinds(corrupted(tiny(), 0))] == ["clean", *DEFAULT]


def test_gradual_order_goes_up_and_down_within_the_task_of_its_corruption():
    stream = corrupted(tiny(), 0, corruptions=["fog", "contrast"], severity=3, order="gradual", first_clean=False)
    ramp = [1, 2, 3, 2, 1]
    assert kinds(stream) == [("fog", s) for s in ramp] + [("contrast", s) for s in ramp]
    assert [e.task for e in stream] == [0] * 5 + [1] * 5
    assert [stream.transform.views[task.view] for task in stream.tasks] == [("fog", 3), ("contrast", 3)]
    assert len(corrupted(tiny(), 0, order="gradual")) == 1 + 9 * len(DEFAULT)


def test_mixed_order_gives_every_row_a_corruption_of_its_own():
    data = tiny(6, per_class=200)
    stream = corrupted(data, 0, corruptions=["fog", "contrast", "brightness"], order="mixed", experiences=2)
    assert len(stream) == 3
    assert stream[0].view == 0
    views = np.concatenate([stream[1].view, stream[2].view])
    np.testing.assert_array_equal(views, np.concatenate([stream[1].task, stream[2].task]))
    share = np.bincount(views) / len(views)
    np.testing.assert_allclose(share, [0, 1 / 3, 1 / 3, 1 / 3], atol=4 * (2 / 9 / len(views)) ** 0.5)
    assert not np.array_equal(stream[1].view, stream[2].view)


@pytest.mark.parametrize("setting", ["domain", "class", "task"])
def test_units_belong_to_the_task_in_class_and_task_setting_at_every_severity(setting):
    data = tiny(3)
    stream = corrupted(data, 0, corruptions=["fog", "contrast"], severity=2, order="gradual", setting=setting)
    own = setting != "domain"
    assert stream.n_outputs == (9 if own else 3)
    assert stream.task_labels == (setting == "task")
    for e in stream:
        labels = stream.labels(data.train, e.rows, e.view)
        np.testing.assert_array_equal(labels, data.train.y[e.rows] + 3 * e.task * own)


@settings(max_examples=40, deadline=None)
@given(
    chosen=st.lists(st.sampled_from(sorted(set(STRENGTHS) - {"saturate"})), min_size=1, max_size=4, unique=True),
    severity=st.integers(1, 5),
    order=st.sampled_from(["continual", "gradual", "mixed"]),
    setting=st.sampled_from(["domain", "class", "task"]),
    first_clean=st.booleans(),
    rows=st.none() | st.integers(1, 45),
    seed=st.integers(0, 2**40),
)
def test_every_corrupted_stream_keeps_the_contract(chosen, severity, order, setting, first_clean, rows, seed):
    config = {
        "scenario": "corrupted",
        "corruptions": chosen,
        "severity": severity,
        "order": order,
        "setting": setting,
        "first_clean": first_clean,
        "rows_per_experience": rows,
    }
    data = tiny(6)
    assert check_stream(lambda: make(config, data, seed)) == []
    length = {"continual": len(chosen), "mixed": len(chosen), "gradual": len(chosen) * (2 * severity - 1)}[order]
    stream = make(config, data, seed)
    assert len(stream) == length + first_clean
    assert all(len(set(e.rows)) == len(e) == (rows or 45) for e in stream)


def test_noise_and_rows_follow_the_seed():
    data = tiny()
    first, other = (corrupted(data, seed, rows_per_experience=20) for seed in (0, 1))
    assert first.transform.seed != other.transform.seed
    assert not np.array_equal(first[1].rows, other[1].rows)
    assert not np.array_equal(first[1].rows, first[2].rows)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"corruptions": ["fogg"]}, "did you mean 'fog'"),
        ({"corruptions": []}, "at least one, each once"),
        ({"corruptions": ["fog", "fog"]}, "at least one, each once"),
        ({"corruptions": ["clean"]}, "set first_clean"),
        ({"corruptions": ["saturate"]}, "needs colour"),
        ({"severity": 6}, "choose 1 to 5"),
        ({"severity": 0}, "choose 1 to 5"),
        ({"experiences": 3}, "is for order = 'mixed'"),
        ({"order": "mixed", "experiences": 0}, "ask for at least 1"),
        ({"rows_per_experience": 46}, "has 45 training samples"),
    ],
)
def test_impossible_corruptions_are_refused_with_a_sentence(config, sentence):
    with pytest.raises(Refused, match=sentence):
        make({"scenario": "corrupted", **config}, tiny(6), 0)


def test_data_that_are_no_images_in_the_unit_range_are_refused():
    with pytest.raises(Refused, match="cannot be corrupted"):
        corrupted(tiny(shape=(16,)), 0)
    with pytest.raises(Refused, match=r"values from 0 to 2, and"):
        corrupted(replace(tiny(per_class=50), scale=2 / 255), 0)


# ------------------------------------------------------------------------------------------ continuous rotation


def angles(stream, experience) -> np.ndarray:
    return stream.transform.degrees[np.broadcast_to(experience.view, len(experience))]


def test_continuous_rotation_turns_evenly_from_angle_to_angle():
    data = tiny(6)  # 45 rows
    stream = rotated(data, 0, degrees=[0, 90, 30], continuous=True)
    np.testing.assert_allclose(angles(stream, stream[0]), np.arange(45) * 2)
    np.testing.assert_allclose(angles(stream, stream[1]), 90 - 60 * np.arange(45) / 45)
    np.testing.assert_array_equal(angles(stream, stream[2]), np.full(45, 30))
    assert [task.view for task in stream.tasks] == [0, 1, 2]
    for i, experience in enumerate(stream):
        assert not experience.shuffled
        assert experience.task == i
        assert sorted(experience.rows) == list(range(45))
        assert not np.array_equal(experience.rows, np.arange(45))


def test_continuous_rotation_has_at_most_a_thousand_views_and_few_angles_use_fewer_steps():
    stream = rotated(tiny(6, per_class=300), 0, degrees=[0, 180], continuous=True)
    assert len(stream.transform.degrees) == 1000
    steps = np.diff(angles(stream, stream[0]))
    assert steps.min() >= 0
    assert steps.max() < 0.2
    many = rotated(tiny(6, per_class=300), 0, experiences=100, continuous=True)
    assert len(many.transform.degrees) == 100 + 99 * 9  # 900 // 99 = 9 further steps between two angles


@pytest.mark.parametrize("setting", ["domain", "class", "task"])
def test_continuous_rotation_keeps_the_contract(setting):
    config = {"scenario": "rotated", "continuous": True, "experiences": 4, "setting": setting, "rows_per_experience": 9}
    assert check_stream(lambda: make(config, tiny(3), 5)) == []
    stream = make(config, tiny(3), 5)
    for e in stream:
        base = 0 if setting == "domain" else 3 * e.task
        np.testing.assert_array_equal(
            stream.labels(stream.dataset.train, e.rows, e.view), tiny(3).train.y[e.rows] + base
        )


def test_one_angle_cannot_drift():
    with pytest.raises(Refused, match="give at least two angles"):
        rotated(tiny(), 0, degrees=[10], continuous=True)


# ------------------------------------------------------------------------------------------ lasting, small, learned

GOLDEN = [
    ({"scenario": "corrupted"}, 0, "13e963611976098f", "6347ca6998d0a728"),
    (
        {"scenario": "corrupted", "order": "gradual", "severity": 3, "setting": "class"},
        1,
        "72ff9170f7e59b9b",
        "43d90936b26348e1",
    ),
    (
        {"scenario": "corrupted", "order": "mixed", "corruptions": ["fog", "contrast"], "rows_per_experience": 20},
        2,
        "897058fb421c6ab1",
        "71b4d44be2a081b1",
    ),
    ({"scenario": "rotated", "continuous": True, "experiences": 3}, 3, "645612b142287a21", "1a3ef1e11acbb141"),
]


@pytest.mark.parametrize(("config", "seed", "fingerprint", "realised"), GOLDEN)
def test_streams_are_what_they_were_when_their_fingerprints_were_recorded(config, seed, fingerprint, realised):
    stream = make(config, fixed(), seed)
    assert (stream.fingerprint, realised_hash(stream)) == (fingerprint, realised)


def test_ten_thousand_mixed_experiences_stay_small():
    stream = corrupted(tiny(), 0, order="mixed", experiences=10_000, rows_per_experience=10)
    assert len(pickle.dumps(stream)) < 500_000
    copy = pickle.loads(pickle.dumps(stream))
    np.testing.assert_array_equal(copy[9_999].view, stream[9_999].view)
    json.dumps(stream.description)


@pytest.mark.parametrize("order", ["continual", "mixed"])
def test_corrupted_digits_are_learned_and_rehearsed(order):
    torch.manual_seed(0)
    done = clbench.run(
        {
            "name": "tiny-corrupted",
            "stream": {
                "scenario": "corrupted",
                "dataset": {"name": "digits", "train_rows": 300},
                "corruptions": ["gaussian_noise", "contrast"],
                "severity": 2,
                "order": order,
            },
            "model": {"name": "mlp", "hidden": [32]},
            "training": {"lr": 0.1, "batch_size": 16, "epochs": 2},
            "memory": {"size": 60},
            "evaluation": {"every": 0, "rows_per_task": 100},
            "strategies": ["naive", "er"],
            "seeds": 1,
        }
    )
    assert [record.status for record in done] == ["done", "done"]
    for record in done:
        assert record.trace.score[-1].mean() > 0.5  # chance is 0.1
