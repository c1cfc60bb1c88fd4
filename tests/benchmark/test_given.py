"""Settings of a section that a given object replaces are applied to it, or refused: never dropped."""

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

import clbench
from clbench import data
from clbench.benchmark.sections import describe_dataset
from clbench.core.errors import Refused
from clbench.data.arrays import from_arrays
from clbench.running.plan import make_stream, plan

rng = np.random.default_rng(0)
LABELS = np.arange(120) % 4
X = rng.random((120, 8)).astype("float32")
OWN = from_arrays("own", X, LABELS, X[:60], LABELS[:60])
SMALL = {
    "name": "small",
    "stream": {"scenario": "split", "experiences": 2},
    "model": {"name": "mlp", "hidden": [4]},
    "evaluation": {"every": 0},
}
SETTINGS = [
    {"validation": 0.3, "evaluate_on": "validation"},
    {"validation": 0.3},
    {"normalize": "mean-std"},
    {"train_rows": 8},
    {"train_rows": 40, "validation": 0.2, "normalize": "mean-std", "evaluate_on": "validation"},
]


def planned(settings, own=OWN):
    return plan(
        SMALL, overrides=[f"stream.dataset.{k}={v}" for k, v in settings.items()], dataset=describe_dataset(own)
    )


@pytest.mark.parametrize("settings", SETTINGS)
def test_settings_are_applied_to_given_arrays_as_to_the_same_rows_by_name(settings, tmp_path):
    np.savez(tmp_path / "own.npz", x_train=X, y_train=LABELS, x_test=X[:60], y_test=LABELS[:60])
    named = data.load("npz:own.npz", tmp_path, **settings)
    section = planned(settings).cells[0].config["stream"]
    given = make_stream(section, 0, dataset=OWN).dataset
    assert (given.checksum, given.mean, given.std) == (named.checksum, named.mean, named.std)
    np.testing.assert_array_equal(given.test.x, named.test.x)
    np.testing.assert_array_equal(given.train.x, named.train.x)
    told = {"statistics": "columns"} if "normalize" in settings else {}
    assert section["dataset"] == {"name": "given:own", "checksum": OWN.checksum, **settings, **told}


def test_rows_held_out_are_looked_at_where_the_benchmark_says_so():
    [record] = clbench.run(
        SMALL,
        dataset=(X, LABELS, X[:60], LABELS[:60]),
        strategies="naive",
        seeds=1,
        overrides={"stream.dataset.validation": 0.3, "stream.dataset.evaluate_on": "validation"},
    )
    assert record.trace.rows.sum() == 36  # 0.3 of 120, not the 60 test rows
    assert record.cost["stream_rows"] == 84


def test_settings_of_the_file_are_applied_too():
    benchmark = {**SMALL, "stream": {**SMALL["stream"], "dataset": {"name": "cifar10", "train_rows": 8}}}
    [record] = clbench.run(benchmark, dataset=OWN, strategies="naive", seeds=1)
    assert record.cost["stream_rows"] == 8
    assert record.cell["stream"]["dataset"]["name"] == "given:own"


def test_each_setting_is_another_cell_and_defaults_written_out_are_the_same():
    keys = [planned(settings).cells[0].key for settings in [{}, *SETTINGS]]
    assert len(set(keys)) == len(keys)
    assert planned({"validation": 0.0, "normalize": "none"}).cells[0].key == keys[0]


def test_statistics_of_a_given_data_set_are_kept_and_are_part_of_its_cell():
    shifted = replace(OWN, mean=(0.5,), std=(2.0,))
    made = planned({"train_rows": 8}, shifted).cells[0]
    assert made.config["stream"]["dataset"]["mean"] == [0.5]
    given = make_stream(made.config["stream"], 0, dataset=shifted).dataset
    assert (given.mean, given.std) == ((0.5,), (2.0,))
    assert made.key != planned({"train_rows": 8}).cells[0].key


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"nonsense": 1}, "no parameter 'nonsense'"),
        ({"validation": 2}, "validation = 2"),
        ({"evaluate_on": "validation"}, "needs held-out samples"),
        ({"size": 16}, "size = 16 is set and dataset= is given"),
        ({"name": "digits"}, "stream.dataset.name is set and dataset= is given"),
    ],
)
def test_settings_that_cannot_be_applied_to_given_arrays_are_refused(settings, why):
    with pytest.raises(Refused, match=why):
        clbench.run(
            SMALL,
            dataset=OWN,
            strategies="naive",
            seeds=1,
            overrides={f"stream.dataset.{k}": v for k, v in settings.items()},
        )


@pytest.mark.parametrize("key", ["stream.setting", "stream.nonsense", "stream.dataset.validation", "stream"])
def test_settings_beside_a_given_stream_are_refused(key):
    stream = clbench.stream("split", OWN, experiences=2)
    with pytest.raises(Refused, match=f"{key} is set and stream= is given"):
        clbench.run(SMALL, stream=stream, strategies="naive", seeds=1, overrides={key: "task"})


@pytest.mark.parametrize("stream", ["split", [1, 2], OWN])
def test_what_is_no_stream_is_refused(stream):
    with pytest.raises(Refused, match=r"stream= is a \w+; allowed are a clbench\.Stream or a function"):
        clbench.run(SMALL, stream=stream, strategies="naive", seeds=1)


@pytest.mark.parametrize("key", ["model.hidden", "model.name", "model", "model.nonsense"])
def test_settings_beside_a_given_model_are_refused(key):
    with pytest.raises(Refused, match=f"{key} is set and model= is given"):
        clbench.run(SMALL, dataset=OWN, model=nn.Linear(8, 4), strategies="naive", seeds=1, overrides={key: "4"})


def test_separate_heads_are_given_to_a_given_model():
    benchmark = {**SMALL, "stream": {**SMALL["stream"], "setting": "task"}}
    shared, separate = (
        clbench.run(
            benchmark,
            dataset=OWN,
            model=nn.Linear(8, 4),
            strategies="naive",
            seeds=1,
            overrides={"model.heads": heads},
        )[0]
        for heads in ("shared", "separate")
    )
    assert shared.key != separate.key
    assert shared.status == separate.status == "done"
