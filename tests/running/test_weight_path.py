"""Lines between kept weights: their ends are the run's evaluations, and what lies between is worked out by hand."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from command_line import call
from torch.nn import functional as F

import clbench
from clbench.core import store
from clbench.core.record import Kind
from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.running.saved_models.unpack import read_kept

BENCHMARK = {
    "name": "lines",
    "stream": {"scenario": "split", "dataset": {"name": "digits", "train_rows": 300}, "setting": "class"},
    "model": {"name": "mlp", "hidden": [16]},
    "training": {"optimizer": "sgd", "lr": 0.1, "batch_size": 16, "epochs": 2},
    "memory": {"size": 40},
    "evaluation": {"schedule": "ends", "rows_per_task": 20},
    "seeds": 1,
}


def kept(folder, strategies, save="ends", seeds=1, **changes):
    clbench.run({**BENCHMARK, **changes}, strategies=strategies, seeds=seeds, out=folder, save_model=save)
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return kept(tmp_path_factory.mktemp("lines"), ["er", "frozen", "joint", "slda"])


def line_of(path, label, name):
    (found,) = (line for line in path.lines if (line.label, line.name) == (label, name))
    return found


def record_of(folder, label):
    (found,) = (record for record in store.load_all(folder) if record.label == label)
    return found


def file_of(folder, label, experience):
    return store.end_path(store.model_path(record_of(folder, label).key, folder), experience)


def rewritten(source, target, edit):
    """Write a kept model with other weights."""
    held = torch.load(source, weights_only=True)
    edit(held["model"]["parameters"], held["model"]["buffers"])
    torch.save(held, target)


# ------------------------------------------------------------------------- values


def test_the_later_end_of_each_line_has_the_scores_of_the_record_and_lines_follow_one_another(results):
    path = clbench.weight_path(results, points=3)
    trace = record_of(results, "er").trace
    for stop in range(1, 5):
        line = line_of(path, "er", f"end {stop - 1} -> end {stop}")
        at = np.flatnonzero((trace.kind == Kind.END) & (trace.experience == stop))[-1]
        assert line.tasks.tolist() == list(range(stop + 1))
        assert line.old.tolist() == [True] * stop + [False]
        assert np.array_equal(line.score[-1], trace.score[at, : stop + 1])
    assert not path.notes


def test_the_middle_of_a_line_is_a_model_with_the_mean_weights(results):
    line = line_of(clbench.weight_path(results, points=3), "er", "end 3 -> end 4")
    first, last = (read_kept(file_of(results, "er", end))["model"]["parameters"] for end in (3, 4))
    w = {name: (first[name] + last[name]) / 2 for name in first}
    run = prepare(plan(BENCHMARK, strategies=["er"], seeds=1).cells[0])
    stream = run.stream
    test, scale = stream.dataset.test, stream.dataset.scale
    score, loss = [], []
    for task in stream.tasks:
        rows = run.evaluator.panels.rows[task.id]
        x = torch.tensor(test.x[rows]).float().flatten(1) * scale
        mean, std = (torch.tensor(each) for each in (stream.dataset.mean, stream.dataset.std))
        x = (x - mean) / std if len(mean) else x
        logits = F.relu(x @ w["layers.0.weight"].T + w["layers.0.bias"]) @ w["head.weight"].T + w["head.bias"]
        y = torch.tensor(test.y[rows])
        score.append((logits.argmax(1) == y).double().mean().item())
        loss.append(F.cross_entropy(logits, y).item())
    assert line.score[1] == pytest.approx(score)
    assert line.loss[1] == pytest.approx(loss, rel=1e-5)


def test_two_identical_ends_have_a_barrier_of_exactly_zero(results):
    for line in clbench.weight_path(results, strategies=["frozen"], points=5).lines:
        if line.stop != "joint":  # no training after the first experience
            assert line.barrier == line.loss_barrier == line.instability == 0
            assert (line.score == line.score[0]).all()


def test_the_loss_of_a_linear_model_has_no_barrier(tmp_path):
    kept(tmp_path, ["naive", "joint"], model={"name": "mlp", "hidden": []})
    path = clbench.weight_path(tmp_path, points=6)
    assert len(path.lines) == 5
    for line in path.lines:  # cross-entropy is convex in the weights of a linear model
        chord = (1 - line.at)[:, None] * line.loss[0] + line.at[:, None] * line.loss[-1]
        assert (line.loss <= chord + 1e-5).all()
        assert line.loss_barrier < 0


def test_a_model_and_its_copy_with_permuted_hidden_units_have_a_barrier_between_equal_ends(results, tmp_path):
    folder = tmp_path / "permuted"
    shutil.copytree(results, folder)

    good = read_kept(file_of(results, "joint", 0))["model"]["parameters"]

    def permute(parameters, _):
        parameters.update(good)
        parameters["layers.0.weight"] = good["layers.0.weight"].roll(1, 0)
        parameters["layers.0.bias"] = good["layers.0.bias"].roll(1, 0)
        parameters["head.weight"] = good["head.weight"].roll(1, 1)

    rewritten(file_of(folder, "er", 3), file_of(folder, "er", 3), permute)
    rewritten(file_of(folder, "er", 4), file_of(folder, "er", 4), lambda parameters, _: parameters.update(good))
    line = line_of(clbench.weight_path(folder, strategies=["er"], points=5), "er", "end 3 -> end 4")
    assert np.array_equal(line.score[0], line.score[-1])  # the same function
    assert line.loss[0] == pytest.approx(line.loss[-1], rel=1e-4)
    assert line.barrier > 0.1
    assert line.barrier == pytest.approx(line.score[0].mean() - line.score[1:-1].mean(axis=1).min())


def test_running_statistics_are_estimated_or_interpolated(tmp_path):
    kept(tmp_path, ["naive"], model={"name": "cnn", "norm": "batch"})
    first, second = file_of(tmp_path, "naive", 0), file_of(tmp_path, "naive", 1)

    def disturb(_, buffers):
        for name, buffer in buffers.items():
            if name.endswith("running_var"):
                buffer.mul_(100)

    rewritten(first, second, disturb)  # the same weights, other statistics
    held = torch.load(second, weights_only=True)
    torch.save({**held, "experience": 1, "seen": read_kept(file_of(tmp_path, "naive", 2))["seen"]}, second)
    lines = {
        how: line_of(clbench.weight_path(tmp_path, points=3, statistics=how), "naive", "end 0 -> end 1")
        for how in ("estimated", "interpolated")
    }
    assert (lines["estimated"].loss == lines["estimated"].loss[0]).all()
    assert lines["interpolated"].loss[-1].mean() != pytest.approx(lines["interpolated"].loss[0].mean(), rel=1e-3)
    path = clbench.weight_path(tmp_path, points=3)
    assert path.caption == "running statistics estimated"


def test_a_line_leads_from_the_last_end_to_the_weights_of_joint(results):
    path = clbench.weight_path(results, points=3)
    line = line_of(path, "er", "end 4 -> joint")
    trace = record_of(results, "joint").trace
    ends = np.flatnonzero(trace.kind == Kind.END)
    assert np.array_equal(line.score[-1], trace.score[ends[-1]])
    assert line.old.all()
    assert np.array_equal(line.score[0], line_of(path, "er", "end 3 -> end 4").score[-1])
    assert "joint" not in {each.label for each in path.lines}


# ------------------------------------------------------------------------- tables, pictures and mistakes


def test_rows_csv_and_json_hold_every_value(results):
    path = clbench.weight_path(results, strategies=["er"], points=3)
    rows = list(path.rows())
    assert len(rows) == 3 * (2 + 3 + 4 + 5 + 5)
    assert path.csv().splitlines()[0] == "strategy,seed,from,to,at,task,old,score,loss"
    held = json.loads(path.json())
    assert held["lines"][0]["barrier"] == path.lines[0].barrier
    assert held["lines"][-1]["to"] == "joint"
    assert sum(len(line["score"]) * len(line["tasks"]) for line in held["lines"]) == len(rows)


def test_the_command_prints_a_line_for_each_pair_of_ends_and_writes_files(results, tmp_path):
    done = call("path", results, "--points", "3", "-o", tmp_path / "path.svg")
    assert done.code == 0
    assert "end 3 -> end 4" in done.out
    assert "end 4 -> joint" in done.out
    assert "left out: slda, seed 0: slda computes or changes the scores" in done.out
    assert "task 4" in (tmp_path / "path.svg").read_text(encoding="utf-8")
    call("path", results, "--points", "3", "--strategies", "er", "-o", tmp_path / "path.csv")
    assert len((tmp_path / "path.csv").read_text(encoding="utf-8").splitlines()) == 1 + 3 * 19


def test_save_ends_keeps_the_weights_at_every_end(tmp_path):
    out = tmp_path / "kept"
    changes = ["--set", "training.epochs=1", "--set", "stream.dataset.train_rows=200", "--seeds", "1", "--in-process"]
    done = call("run", "split-digits", "--strategies", "naive", *changes, "--save-ends", "--out", out)
    assert done.code == 0
    assert sorted(path.name for path in out.glob("models/*/*.pt")) == [f"{end}.pt" for end in range(5)]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"points": 2}, "a line has 3 or more"),
        ({"statistics": "none"}, "use estimated or interpolated"),
        ({"strategies": ["slda"]}, "weights alone predict nothing"),
        ({"seeds": "7,"}, "no run has one of these seeds"),
        ({"strategies": ["eer"]}, "did you mean 'er'"),
    ],
)
def test_wrong_settings_are_refused_with_the_cure(results, settings, told):
    with pytest.raises(clbench.Refused, match=told):
        clbench.weight_path(results, **{"points": 3, **settings})


def test_a_folder_without_kept_ends_names_the_option(tmp_path):
    kept(tmp_path, ["naive"], save=True)
    with pytest.raises(clbench.Refused, match="--save-ends"):
        clbench.weight_path(tmp_path)


def test_a_given_model_is_asked_for(tmp_path):
    class Net(torch.nn.Sequential):
        pass

    def make(shape, n_outputs):
        return Net(torch.nn.Flatten(), torch.nn.Linear(int(np.prod(shape)), n_outputs))

    without = {**BENCHMARK, "model": {"name": "mlp"}}
    clbench.run(without, strategies=["naive"], out=tmp_path, save_model="ends", model=make)
    with pytest.raises(clbench.Refused, match="model="):
        clbench.weight_path(tmp_path, points=3)
    assert len(clbench.weight_path(tmp_path, points=3, model=make).lines) == 4
