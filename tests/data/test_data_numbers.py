"""Numbers to be predicted: from arrays, frames and files to groups and statistics; inputs that are tokens."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from numbers_data import BENCHMARK, arrays, dataset
from torch import nn

import clbench
from clbench.core.errors import Refused
from clbench.data import from_arrays, load
from clbench.running.plan import make_stream, plan
from clbench.training.device_rows import Resident


def test_groups_are_quantiles_of_the_first_target_with_equally_many_training_samples():
    data = dataset()
    assert data.n_classes == 10
    assert np.bincount(data.train.y).tolist() == [12] * 10
    highest = [data.train.target[data.train.y == g, 0].max() for g in range(10)]
    lowest = [data.train.target[data.train.y == g, 0].min() for g in range(10)]
    assert all(high < low for high, low in zip(highest, lowest[1:], strict=False))
    assert data.class_names[0] == f"{lowest[0]:.4g} to {highest[0]:.4g}"


def test_groups_become_fewer_where_one_would_have_no_test_samples():
    x, y, xt, yt = arrays(1)
    near = from_arrays("near", x, y, xt[:6], np.sort(yt[:, 0])[[0, 12, 24, 36, 48, 59]], family="regression")
    assert 1 < near.n_classes <= 6
    assert np.bincount(near.test.y, minlength=near.n_classes).min() > 0


def test_labels_stay_the_default_and_whole_floats_stay_classes():
    x, _, xt, _ = arrays(1)
    data = from_arrays("whole", x, np.arange(120) % 3 * 1.0, xt, np.arange(60) % 3 * 1.0)
    assert (data.family, data.n_classes, data.train.target) == ("classification", 3, None)
    with pytest.raises(Refused, match="where these are numbers to be predicted, set family: regression"):
        from_arrays("parts", x, np.linspace(0, 1, 120), xt, np.linspace(0, 1, 60))


def test_the_targets_are_part_of_the_checksum():
    x, y, xt, yt = arrays(1)
    changed = yt.copy()
    changed[3] += 0.01
    assert from_arrays("a", x, y, xt, yt, family="regression").checksum != (
        from_arrays("a", x, y, xt, changed, family="regression").checksum
    )


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.array(["a"] * 120), "numbers to predict have shape"),
        (np.full(120, np.nan), r"has no number in row 0 \(120 in all\)"),
        (np.zeros((120, 2, 2)), "numbers to predict have shape"),
        (np.zeros(119), "has 119 targets for 120 samples"),
    ],
)
def test_targets_that_are_no_numbers_are_refused(target, message):
    x, _, xt, yt = arrays(1)
    with pytest.raises(Refused, match=message):
        from_arrays("a", x, target, xt, yt, family="regression")


# ------------------------------------------------------------------------------------------- forms


def frame(columns: int) -> pd.DataFrame:
    x, y, xt, yt = arrays(columns)
    both = pd.DataFrame(np.concatenate([x, xt]), columns=[f"c{i}" for i in range(5)])
    return both.assign(**{f"t{i}": np.concatenate([y, yt])[:, i] for i in range(columns)})


def test_numbers_come_from_arrays_pairs_and_frames_alike():
    x, y, xt, yt = arrays(2)
    expected = dataset().checksum
    assert clbench.numbers((x, y, xt, yt)).checksum == expected
    assert clbench.numbers(((x, y), (xt, yt))).checksum == expected
    whole = frame(2)
    assert clbench.numbers((whole[:120], whole[120:], "t0,t1")).checksum == expected


def test_without_test_samples_a_fifth_is_held_out_over_the_whole_range():
    data = clbench.numbers((frame(1), "t0"))
    assert len(data.test) == 36
    counts = np.bincount(data.test.y, minlength=data.n_classes)
    assert counts.min() >= 2
    assert counts.max() <= 5


def test_a_csv_and_an_npz_file_hold_numbers_where_that_is_said(tmp_path):
    whole = frame(2).assign(split=["train"] * 120 + ["test"] * 60)
    whole.to_csv(tmp_path / "n.csv", index=False)
    two = load("csv:n.csv?label=t0,t1", tmp_path, family="regression")
    assert (two.family, two.target_names, two.shape) == ("regression", ("t0", "t1"), (5,))
    np.testing.assert_allclose(two.train.target, dataset().train.target, rtol=1e-6)
    again = load("csv:n.csv?label=t0,t1", tmp_path, family="regression")  # now from the cache
    assert again.checksum == two.checksum
    assert again.target_mean == two.target_mean
    x, y, xt, yt = arrays(1)
    np.savez(tmp_path / "n.npz", x_train=x, y_train=y[:, 0], x_test=xt, y_test=yt[:, 0])
    assert load("npz:n.npz", tmp_path, family="regression").train.target.shape == (120, 1)
    with pytest.raises(Refused, match="not whole numbers"):
        load("npz:n.npz", tmp_path)


def test_parquet_files_of_images_hold_numbers_where_that_is_said(tmp_path):
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    rng = np.random.default_rng(0)
    target = {"train": rng.normal(size=40), "test": rng.normal(size=20)}
    for split, numbers in target.items():
        images = []
        for _ in numbers:
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (6, 6), dtype=np.uint8)).save(buffer, "PNG")
            images.append({"bytes": buffer.getvalue(), "path": None})
        pq.write_table(pa.table({"image": images, "label": numbers}), tmp_path / f"{split}-0.parquet")
    data = load(f"parquet:{tmp_path}", tmp_path, family="regression")
    assert data.shape == (1, 6, 6)
    np.testing.assert_allclose(data.train.target[:, 0], target["train"], rtol=1e-6)


def test_diabetes_is_there_without_a_download_and_split_once_and_for_all():
    data = load("diabetes")
    assert (len(data.train), len(data.test), data.shape, data.target_names) == (332, 110, (10,), ("progression",))
    np.testing.assert_allclose(data.train.x.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(data.train.x.std(0), 1, atol=1e-4)
    assert (float(data.train.target.min()), float(data.test.target.max())) == (25.0, 346.0)
    assert load("diabetes", family="regression").checksum == data.checksum


def test_validation_rows_are_held_out_over_the_range_and_statistics_are_those_of_what_remains():
    data = load("diabetes", validation=0.25, evaluate_on="validation", normalize="mean-std")
    assert len(data.test) == 83
    assert data.target_mean[0] == pytest.approx(data.train.target.mean(), rel=1e-6)
    shown = Resident(data.train, data).present(torch.arange(len(data.train)), torch.zeros(len(data.train)).long())
    np.testing.assert_allclose(shown.mean(0), 0, atol=1e-5)


# ------------------------------------------------------------------------------------------- streams


def stream(**settings):
    written = {**BENCHMARK, "stream": {"dataset": "diabetes", **settings}}
    cell = plan(written, strategies=["naive"], seeds=1).cells[0]
    return cell, make_stream(cell.config["stream"], 0)


def test_split_deals_out_neighbouring_ranges_in_a_drawn_order():
    cell, made = stream(scenario="split", experiences=5)
    assert cell.config["stream"]["setting"] == "domain"
    assert cell.config["stream"]["output"] == "all"
    assert cell.config["stream"]["dataset"]["family"] == "regression"
    assert (made.family, made.n_outputs, made.label_map) == ("regression", 1, None)
    groups = [sorted(set(made.dataset.train.y[e.rows].tolist())) for e in made]
    assert sorted(groups) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert groups != sorted(groups)
    assert sorted(np.concatenate([e.rows for e in made]).tolist()) == list(range(332))
    _, fixed = stream(scenario="split", experiences=5, order="fixed")
    assert [sorted(set(fixed.dataset.train.y[e.rows].tolist())) for e in fixed] == sorted(groups)


def test_three_unequal_ranges_come_in_every_order_that_begins_with_the_largest():
    found = set()
    for seed in range(12):
        cell, _ = stream(scenario="split", experiences=3)
        made = make_stream(cell.config["stream"], seed)
        found.add(tuple(tuple(sorted(set(made.dataset.train.y[e.rows].tolist()))) for e in made))
    assert found == {((0, 1, 2, 3), (4, 5, 6), (7, 8, 9)), ((0, 1, 2, 3), (7, 8, 9), (4, 5, 6))}


@pytest.mark.parametrize(
    ("settings", "outputs"),
    [({"scenario": "permuted", "experiences": 3}, 1), ({"scenario": "online", "kind": "class", "experiences": 5}, 1),
     ({"scenario": "online", "kind": "iid", "experiences": 4}, 1), ({"scenario": "gaussian"}, 1),
     ({"scenario": "cir", "experiences": 6}, 1)],
)  # fmt: skip
def test_scenarios_deal_out_numbers_too(settings, outputs):
    _, made = stream(**settings)
    assert made.n_outputs == outputs
    assert sum(len(e) for e in made) > 0


def test_images_with_numbers_can_be_turned():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (60, 8, 8)).astype(np.uint8)
    y = x.mean(axis=(1, 2)) + rng.normal(0, 1, 60)
    data = clbench.numbers((x[:40], y[:40], x[40:], y[40:]))
    benchmark = {**BENCHMARK, "stream": {"scenario": "rotated", "dataset": "x"}}
    (record,) = clbench.run(benchmark, dataset=data, seeds=1, strategies=["er"])
    assert record.status == "done"
    assert record.trace.n_tasks == 3


@pytest.mark.parametrize(("setting", "value"), [("setting", "class"), ("setting", "task"), ("output", "seen")])
def test_settings_that_go_with_classes_are_refused(setting, value):
    with pytest.raises(Refused, match=rf"{setting} = '{value}' needs classes.*set {setting}: "):
        stream(scenario="split", **{setting: value})


def test_a_scenario_that_changes_labels_is_refused():
    with pytest.raises(Refused, match="whose targets are not labels; choose split, permuted, rotated or online"):
        stream(scenario="drift")


# ------------------------------------------------------------------------------------------- tokens


class Words(nn.Module):
    """The mean of word vectors, and a linear layer."""

    def __init__(self, shape: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 6)
        self.head = nn.Linear(6, n_outputs)
        self.kinds: set[torch.dtype] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kinds.add(x.dtype)
        return self.head(self.words(x).mean(1))


def sentences() -> clbench.Dataset:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 20, (90, 7))
    y = (x < 8).sum(axis=1) > 2
    return from_arrays("sentences", x[:60], y[:60], x[60:], y[60:], tokens=True)


def test_tokens_reach_the_model_as_the_integers_that_they_are():
    data = sentences()
    assert data.train.x.dtype == np.int64
    shown = Resident(data.train, data).present(torch.arange(5), torch.zeros(5, dtype=torch.int64))
    assert shown.dtype == torch.int64
    assert shown.tolist() == data.train.x[:5].tolist()
    kinds = []

    def make(shape, n_outputs):
        module = Words(shape, n_outputs)
        kinds.append(module.kinds)
        return module

    benchmark = {**BENCHMARK, "stream": {"scenario": "split", "experiences": 2, "dataset": "x"}}
    records = clbench.run(benchmark, dataset=data, model=make, seeds=1, strategies=["er", "ewc(strength=1)"])
    assert [record.status for record in records] == ["done", "done"]
    assert kinds[-1] == {torch.int64}


def test_whole_numbers_are_values_unless_they_are_declared_tokens():
    x = np.arange(60).reshape(20, 3)
    data = from_arrays("whole", x, np.arange(20) % 2, x, np.arange(20) % 2)
    assert (data.tokens, data.train.x.dtype) == (False, np.float32)
    with pytest.raises(Refused, match="tokens are integers from 0 on"):
        from_arrays("parts", x / 7, np.arange(20) % 2, x / 7, np.arange(20) % 2, tokens=True)
