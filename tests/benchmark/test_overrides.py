"""Settings given by a program are taken as they are; text is YAML; anything else is answered with a sentence."""

from pathlib import PurePosixPath

import numpy as np
import pytest
import torch

import clbench
from clbench.benchmark.assignments import override, seeds
from clbench.benchmark.documents import plain
from clbench.core.errors import Refused
from clbench.running.plan import plan


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (None, None),
        ((3, 4), [3, 4]),
        (range(3), [0, 1, 2]),
        ({4, 3}, [3, 4]),
        (np.int64(7), 7),
        (np.float64(0.25), 0.25),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (torch.tensor(2), 2),
        ("folder:/data/run #1", "folder:/data/run #1"),
        ("[3, 4", "[3, 4"),
        ("null", "null"),
        ("a: b", "a: b"),
        (PurePosixPath("/data/run #1"), "/data/run #1"),
        ({"dense": {"steps": np.int32(3)}}, {"dense": {"steps": 3}}),
        (True, True),
        ("", ""),
    ],
)
def test_a_value_from_a_program_is_taken_as_it_is(value, held):
    document = override({"a": {}}, [("a.b", value)])
    assert document == {"a": {"b": held}}
    assert type(document["a"]["b"]) is type(held)


def test_pairs_and_texts_make_the_same_cells():
    pairs = {"training.clip_norm": None, "model.hidden": (3, 4), "training.lr": np.float64(0.25), "memory.size": 3}
    texts = ["training.clip_norm=null", "model.hidden=[3, 4]", "training.lr=0.25", "memory.size=3"]
    keys = [
        [cell.key for cell in plan("split-digits", seeds=1, overrides=each).cells] for each in (pairs.items(), texts)
    ]
    assert keys[0] == keys[1]


def test_a_run_takes_values_that_yaml_would_have_read_otherwise():
    overrides = {
        "training.clip_norm": None,
        "model.hidden": (3, 4),
        "training.epochs": np.int64(1),
        "evaluation.every": 0,
    }
    (record,) = clbench.run("split-digits", strategies="naive", seeds=1, overrides=overrides)
    assert record.status == "done"
    assert record.cell["model"]["hidden"] == [3, 4]
    with pytest.raises(Refused, match=r"there is no folder /data/run #1"):
        clbench.run("split-digits", strategies="naive", seeds=1, overrides={"stream.dataset": "folder:/data/run #1"})


def test_one_text_is_one_assignment():
    made = plan("split-digits", strategies=["naive"], seeds=1, overrides="training.epochs=3").cells[0]
    assert made.config["training"]["epochs"] == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"training.lr": object()},
            r"overrides: training\.lr = <object object at .*> is a object; write text, a number",
        ),
        ({"model.hidden": [3, print]}, r"overrides: model\.hidden = <built-in function print> is a"),
        ({"training.lr": "fast"}, r"training\.lr = 'fast' is not allowed"),
        ({"training.lr.high": 1}, r"'lr' holds 0\.\d+, not a section"),
        ({3: 4}, r"has no dotted key"),
        ([("training.lr",)], r"has no dotted key"),
        ([0.03], r"has no dotted key"),
    ],
)
def test_what_cannot_be_a_setting_is_refused_with_its_place(overrides, message):
    with pytest.raises(Refused, match=message):
        clbench.run("split-digits", strategies="naive", seeds=1, overrides=overrides)


def test_a_benchmark_given_as_a_mapping_may_hold_what_programs_hold():
    made = plan(
        {
            "name": "own",
            "stream": {
                "scenario": "split",
                "dataset": {"name": "digits", "train_rows": np.int64(50)},
                "experiences": np.int64(2),
            },
            "model": {"name": "mlp", "hidden": np.array([3, 4])},
            "training": {"lr": np.float64(0.5)},
        }
    )
    assert made.cells[0].config["model"]["hidden"] == (3, 4)
    assert made.cells[0].key == plan(plain(made.benchmark.model_dump())).cells[0].key


@pytest.mark.parametrize("written", [np.int64(3), np.arange(3), range(3), (n for n in range(3)), [0, np.int8(1), 2], 3])
def test_seeds_are_taken_from_any_whole_numbers(written):
    assert seeds(written) == [0, 1, 2]


@pytest.mark.parametrize("written", [np.array([0.5]), [True], np.array([0, 0])])
def test_seeds_that_are_no_whole_numbers_or_repeat_are_refused(written):
    with pytest.raises(Refused, match="seeds"):
        seeds(written)
