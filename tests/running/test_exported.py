"""An exported model answers as the run did: through clbench, through plain torch, and through ONNX."""

from __future__ import annotations

import json
import re
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from command_line import call
from support import SMALL
from torch import Tensor, nn

import clbench
from clbench import data
from clbench.core.errors import Refused
from clbench.core.notices import Notice
from clbench.running.plan import make_stream

needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")), reason="ONNX is not installed"
)
QUICK = {"evaluation.every": 0, "stream.dataset.train_rows": 200}


class Net(nn.Module):
    """A user's network: no layer is called head, batch normalisation has buffers, and two layers share weights."""

    def __init__(self, shape: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 12), nn.BatchNorm1d(12), nn.ReLU())
        self.twice, self.again = nn.Linear(12, 12), nn.Linear(12, 12)
        self.again.weight = self.twice.weight
        self.last = nn.Linear(12, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.again(torch.tanh(self.twice(self.body(x)))))


def run(folder, strategy="er", *, given=None, save_model=True, benchmark=SMALL, **changes):
    [record] = clbench.run(
        benchmark, strategies=[strategy], seeds=[1], out=folder, model=given, save_model=save_model,
        overrides={**QUICK, **changes},
    )  # fmt: skip
    assert record.status == "done", record.reason
    return record


def kept(record, folder, experience=None):
    return folder / "models" / (f"{record.key}.pt" if experience is None else f"{record.key}/{experience}.pt")


def samples(record, n=70):
    return make_stream(record.cell["stream"], record.seed).dataset.test.x[:n]


def of_onnx(path, x, **more):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    [found] = session.run(None, {"x": x, **more})
    return found, json.loads(session.get_modelmeta().custom_metadata_map["clbench"])


def test_plain_torch_loads_the_weights_into_the_users_network_and_gets_the_same_scores(tmp_path):
    record = run(tmp_path, given=Net, save_model="ends", **{"stream.dataset.normalize": "mean-std"})
    for experience in (1, None):
        clbench.export_model(tmp_path, record.key[:6], tmp_path / "model.pt", experience=experience)
        held = torch.load(tmp_path / "model.pt", weights_only=True)
        net = Net((1, 8, 8), 10)
        assert net.load_state_dict(held["state_dict"]).missing_keys == []
        x, told = samples(record), held["input"]
        values = torch.from_numpy(x).float() * told["scale"]
        values = (values - torch.tensor(told["mean"])) / torch.tensor(told["std"])
        scores = net.eval()(values).masked_fill(~held["competing"], -torch.inf)
        saved = clbench.load_model(kept(record, tmp_path, experience), model=Net)
        torch.testing.assert_close(scores, saved.scores(x), atol=1e-5, rtol=1e-5)
        assert held["competing"].sum() == (4 if experience == 1 else 10)
        assert (held["classes"], held["read_out"]) == (list("0123456789"), "network")
        assert (told["shape"], told["type"], told["features"]) == ([1, 8, 8], "uint8", None)


def test_a_model_of_a_table_names_its_inputs_and_has_a_scale_for_plain_torch(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"heat": rng.normal(50, 9, 80), "oil": ["a", "b"] * 40, "label": ["x", "y", "y", "z"] * 20})
    frame.to_csv(tmp_path / "t.csv", index=False)
    benchmark = {
        "name": "table",
        "stream": {"scenario": "split", "experiences": 3, "dataset": {"name": f"csv:{tmp_path / 't.csv'}"}},
        "model": {"name": "mlp", "hidden": [4]},
    }
    short = {"stream.dataset.normalize": "mean-std", "evaluation.every": 0, "training.epochs": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)  # the column of text is encoded
        [record] = clbench.run(
            benchmark, strategies=["naive"], seeds=[1], out=tmp_path, save_model=True, overrides=short
        )
        x = make_stream(record.cell["stream"], 1).dataset.test.x
    saved = clbench.load_model(clbench.export_model(tmp_path, record.key, tmp_path / "model.pt"))
    told = torch.load(tmp_path / "model.pt", weights_only=True)["input"]
    assert told["names"] == ["heat", "oil=a", "oil=b"]
    assert (told["type"], told["scale"]) == ("float32", 1.0)
    values = (torch.from_numpy(x[:]) * told["scale"] - torch.tensor(told["mean"])) / torch.tensor(told["std"])
    torch.testing.assert_close(saved.module(values).logits, saved.scores(x), atol=1e-5, rtol=1e-5)


def test_an_exported_file_is_read_by_clbench_and_predicts_as_the_kept_one(tmp_path):
    record = run(tmp_path, "icarl")
    clbench.export_model(tmp_path, record.key, tmp_path / "out/model.pt")
    ours, theirs = (clbench.load_model(path) for path in (kept(record, tmp_path), tmp_path / "out/model.pt"))
    x = samples(record)
    assert torch.equal(ours.scores(x), theirs.scores(x))
    assert "icarl" in theirs.read_out
    assert theirs.read_out.endswith("changes its scores")


def test_a_file_of_an_earlier_clbench_gets_the_users_names_when_it_is_exported(tmp_path):
    for given, names in ((Net, list(Net((1, 8, 8), 10).state_dict())), (None, ["layers.0.weight", "layers.0.bias"])):
        record = run(tmp_path, given=given)
        held = torch.load(kept(record, tmp_path), weights_only=True)
        assert set(names) <= set(held.pop("state_dict"))
        torch.save(held, kept(record, tmp_path))
        path = clbench.export_model(tmp_path, record.key, tmp_path / "model.pt")
        found = torch.load(path, weights_only=True)["state_dict"]
        assert set(names) - {"again.weight"} <= set(found)  # a shared weight was kept under one name
        assert not any(name.startswith("module.") for name in found)


@needs_onnx
@pytest.mark.parametrize(
    "model",
    ["mlp", {"name": "cnn", "width": 4}, {"name": "resnet", "width": 4, "norm": "batch"}, {"name": "vit", "depth": 1}],
    ids=str,
)
def test_onnx_and_torch_programs_of_our_networks_give_our_scores_at_every_batch_size(model, tmp_path):
    record = run(tmp_path, **{"model": {"name": model} if model == "mlp" else model})
    saved = clbench.load_model(kept(record, tmp_path))
    x = samples(record)
    for n in (1, 7, 70):
        expected = saved.scores(x[:n]).numpy()
        if n == 1:
            saved.export(tmp_path / "model.onnx")
            saved.export(tmp_path / "model.pt2")
            program = torch.export.load(tmp_path / "model.pt2").module()
        found, told = of_onnx(tmp_path / "model.onnx", x[:n])
        assert np.abs(found - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(program(torch.from_numpy(x[:n])).numpy(), expected, atol=1e-5, rtol=1e-5)
    assert told["classes"] == list("0123456789")
    assert told["input"] == {"shape": [1, 8, 8], "type": "uint8", "features": None}


@needs_onnx
def test_onnx_holds_the_normalisation_and_leaves_out_classes_that_were_not_met(tmp_path):
    record = run(tmp_path, save_model="ends", **{"stream.dataset.normalize": "mean-std"})
    clbench.export_model(tmp_path, record.key, tmp_path / "model.onnx", experience=0)
    x = samples(record)
    found, told = of_onnx(tmp_path / "model.onnx", x)
    expected = clbench.load_model(kept(record, tmp_path, 0)).scores(x).numpy()
    assert np.array_equal(np.isinf(found), np.isinf(expected))
    assert np.isinf(found).sum(1).tolist() == [8] * len(x)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)
    assert sum(told["seen"]) == 2


@needs_onnx
def test_onnx_takes_the_task_of_each_sample_if_the_model_has_task_labels(tmp_path):
    record = run(tmp_path, **{"stream.setting": "task", "model.heads": "separate"})
    clbench.export_model(tmp_path, record.key, tmp_path / "model.onnx")
    x, task = samples(record, 20), np.arange(20) % 5
    found, told = of_onnx(tmp_path / "model.onnx", x, task=task)
    saved = clbench.load_model(kept(record, tmp_path))
    np.testing.assert_allclose(found, saved.scores(x, task).numpy(), atol=1e-5, rtol=1e-5)
    assert told["tasks"] == list(saved.tasks)
    assert len(told["tasks"]) == 5
    held = torch.load(clbench.export_model(tmp_path, record.key, tmp_path / "model.pt"), weights_only=True)
    own = make_stream(record.cell["stream"], record.seed).tasks
    assert [task["units"] for task in held["tasks"]] == [list(task.classes) for task in own]


@needs_onnx
def test_numbers_come_out_of_onnx_in_the_units_of_the_data_set(tmp_path):
    record = run(tmp_path, benchmark="split-diabetes", **{"stream.dataset.train_rows": None, "training.epochs": 1})
    clbench.export_model(tmp_path, record.key, tmp_path / "model.onnx")
    x = samples(record)
    found, told = of_onnx(tmp_path / "model.onnx", x)
    np.testing.assert_allclose(found, clbench.load_model(kept(record, tmp_path)).predict(x), rtol=1e-4)
    assert told["output"] == "numbers"
    assert 20 < found.mean() < 400  # the disease progression, not its standardised form


class Words(nn.Module):
    def __init__(self, shape: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        self.words, self.last = nn.Embedding(20, 4), nn.Linear(4 * shape[0], n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.words(x).flatten(1))


@needs_onnx
def test_tokens_stay_whole_numbers_in_a_kept_model_and_in_onnx(tmp_path):
    tokens = np.random.default_rng(0).integers(0, 20, (300, 6))
    labels = tokens[:, 0] // 5
    own = data.from_arrays("words", tokens[:200], labels[:200], tokens[200:], labels[200:], tokens=True)
    [record] = clbench.run(
        {**SMALL, "stream": {"scenario": "split", "dataset": "digits", "experiences": 2}}, dataset=own, model=Words,
        strategies="naive", seeds=1, out=tmp_path, save_model=True, overrides={"evaluation.schedule": "ends"},
    )  # fmt: skip
    assert record.status == "done", record.reason
    saved = clbench.load_model(kept(record, tmp_path), model=Words)
    saved.export(tmp_path / "model.onnx")
    found, told = of_onnx(tmp_path / "model.onnx", tokens[200:])
    np.testing.assert_allclose(found, saved.scores(tokens[200:]).numpy(), atol=1e-5, rtol=1e-5)
    assert told["input"] == {"shape": [6], "type": "int64", "features": None}


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        ("ncm", "ncm answers instead of the network"),
        ("slda", "slda answers instead of the network"),
        ("icarl", "icarl .*changes its scores"),
        ("pcr(views=1)", "pcr .*changes its scores"),
    ],
)
def test_onnx_is_refused_with_the_reason_if_the_network_alone_does_not_predict(strategy, reason, tmp_path):
    record = run(tmp_path, strategy)
    with pytest.raises(Refused, match=f"does not predict by its network alone: {reason}; choose --format torch"):
        clbench.export_model(tmp_path, record.key, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


OWN = '''
from clbench import Part
from torch import nn


class Mine(Part):
    """Train as naive does."""


class Layers(nn.Module):
    def __init__(self, num_classes, width=4):
        super().__init__()
        self.down = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU())
        self.up = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.up(self.down(x))
'''


def test_a_strategy_of_a_file_that_only_trains_is_not_needed_to_predict(tmp_path):
    own = tmp_path / "own.py"
    own.write_text(OWN)
    record = run(tmp_path, f"{own}:Mine")
    path = clbench.export_model(tmp_path, record.key, tmp_path / "model.pt")
    x, expected = samples(record), clbench.load_model(kept(record, tmp_path)).predict(samples(record))
    own.unlink()
    assert np.array_equal(clbench.load_model(path).predict(x), expected)
    held = torch.load(path, weights_only=True)
    assert str(tmp_path) not in json.dumps([held[name] for name in ("label", "cell", "data", "foreign")])


@needs_onnx
def test_a_network_of_a_file_is_exported_by_those_who_trust_it_and_given_again_elsewhere(tmp_path, monkeypatch):
    own = tmp_path / "own.py"
    own.write_text(OWN)
    record = run(tmp_path, **{"model": {"name": f"{own}:Layers", "width": 8}})
    with pytest.raises(Refused, match=r"onnx needs the code of .*own.py:Layers.*--trust"):
        clbench.export_model(tmp_path, record.key, tmp_path / "model.onnx")
    clbench.export_model(tmp_path, record.key, tmp_path / "model.onnx", trust=True)
    path = clbench.export_model(tmp_path, record.key, tmp_path / "model.pt")
    told = call("export", tmp_path, record.key, "-o", path).out
    assert f"load_model('{path}', model=Layers) predicts as the run did" in told
    assert list(torch.load(path, weights_only=True)["state_dict"]) == [
        "down.1.weight", "down.1.bias", "up.weight", "up.bias"
    ]  # fmt: skip
    from clbench.core.registry import from_file

    layers, x = from_file(f"{own}:Layers", "model"), samples(record)
    (tmp_path / "program").mkdir()
    monkeypatch.chdir(tmp_path / "program")
    own.rename("own.py")  # it lies beside the program now, and not where the run found it
    here = clbench.load_model(path, trust=True).scores(x)
    Path("own.py").unlink()
    with pytest.raises(
        Refused, match=r"holds own.py:Layers, .*give the model itself: load_model\(\.\.\., model=Layers\)"
    ):
        clbench.load_model(path)
    with pytest.raises(Refused, match=r"needs the code of own.py:Layers, and .*program has no file own.py; run this"):
        clbench.load_model(path, trust=True)
    found = clbench.load_model(path, model=layers).scores(x).numpy()
    assert np.array_equal(found, here.numpy())
    np.testing.assert_allclose(of_onnx(tmp_path / "model.onnx", x)[0], found, atol=1e-5, rtol=1e-5)


def test_a_network_that_branches_on_values_is_refused_as_a_graph(tmp_path):
    class Branching(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x if bool((x.sum() > 1e9).item()) else x * 1.0)

    record = run(tmp_path, given=Branching)
    saved = clbench.load_model(kept(record, tmp_path), model=Branching)
    with pytest.raises(Refused, match=r"cannot be written as a graph .*choose --format torch"):
        saved.export(tmp_path / "model.pt2")


def test_without_the_packages_of_onnx_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    record = run(tmp_path, "naive")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(Refused, match=r"a package for ONNX is missing .*pip install 'clbench\[onnx\]'"):
        clbench.export_model(tmp_path, record.key, tmp_path / "model.onnx")


def test_the_command_line_writes_the_file_and_names_what_is_missing_in_one_sentence(tmp_path):
    plain, file = run(tmp_path, "naive", save_model=False), tmp_path / "model.pt"
    answer = call("export", tmp_path, plain.key, "-o", file)
    assert answer.code == 2
    assert f"naive, seed 1) kept no such model; repeat the command that made {tmp_path} with --save-model" in answer.err
    record = run(tmp_path)
    for words in ((record.key[:7],), ("er",), ("er", "--seed", "1")):
        file.unlink(missing_ok=True)
        answer = call("export", tmp_path, *words, "--output", file)
        assert (answer.code, answer.out.splitlines()[0]) == (0, f"{file} written")
        assert torch.load(file, weights_only=True)["key"] == record.key
    for words, expected in [
        ((record.key, "-o", file, "--experience", "2"), "with --save-model ends"),
        ((record.key, "-o", file, "--experience", "5"), "experiences 0 to 4"),
        (("", "-o", file), "'' means 2 cells in .* exactly one is exported: .*er, seed 1.*; add --seed N"),
        (("naif", "-o", file), "no cell in .* has the strategy 'naif' or a key that begins so; did you mean 'naive'"),
        (("er", "-o", file, "--seed", "0"), "no cell of seed 0"),
        ((record.key, "-o", tmp_path / "model.h5"), r"has no suffix of a model; .* \.pt \(torch\)"),
        ((record.key, "-o", file, "--format", "onnx"), r"is no file of the format onnx; .* \.onnx \(onnx\)"),
        ((record.key, "-o", file, "--format", "tflite"), "there is no format 'tflite' of models"),
    ]:
        answer = call("export", tmp_path, *words)
        assert answer.code == 2
        assert len(answer.err.strip().splitlines()) == 1
        assert re.search(expected, answer.err), answer.err
