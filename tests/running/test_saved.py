"""A model that was kept predicts as its run did at that moment, whatever the strategy, and without the data set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support import EVERY_STRATEGY, SMALL, home
from torch import nn

import clbench
from clbench import data
from clbench.core import store
from clbench.core.errors import Refused
from clbench.core.notices import Notice
from clbench.core.record import Kind
from clbench.metrics import acc, end_scores, get
from clbench.plots.confusion_plot import confusion_matrix
from clbench.running.plan import make_stream
from clbench.running.plan import plan as make_plan

OBSERVER = f"observe:{Path(__file__).parents[1] / 'observers.py'}:"
OTHERS = ("sklearn:SGDClassifier", "sklearn:GaussianNB", "sklearn:MLPClassifier(hidden_layer_sizes=[8])")
HOSTS = (
    "avalanche:Naive",
    "avalanche:Replay",
    "avalanche:ICaRL(fixed_memory=true)",
    "avalanche:StreamingLDA",
    "avalanche:SCR",
)
QUICK = {"evaluation.every": 0, "stream.dataset.train_rows": 200}


def run(folder, strategy, *, model=None, save_model="ends", network=None, **changes):
    [record] = clbench.run(
        SMALL, strategies=[strategy], seeds=[1], out=folder, model=model, save_model=save_model, save_predictions=True,
        overrides=[*home(strategy, model), *(f"{key}={value}" for key, value in {**QUICK, **changes}.items()),
                   *([f"model={network}"] if network else [])],
    )  # fmt: skip
    assert record.status == "done", record.reason
    return store.load(store.record_path(record.key, folder))


def table(record):
    held = record.trace.predictions.columns
    return {look: {name: column[held["look"] == look] for name, column in held.items()} for look in set(held["look"])}


def rows_of(record, held, folder):
    """Stored rows of the evaluation split, and the tasks where they are revealed."""
    stream = make_stream(record.cell["stream"], record.seed)
    x = stream.dataset.test.x[held["row"]]
    return x, held["task"] if stream.task_labels else None


def agrees(record, folder, **how):
    """Whether the files predict what the looks at their moments saw; the model of the end is returned."""
    looks = table(record)
    for look, held in looks.items():
        experience = int(held["experience"][0])
        final = look == max(looks)
        path = store.model_path(record.key, folder)
        if any(other > look and int(looks[other]["experience"][0]) == experience for other in looks):
            continue  # the end of the stream has a look of its own, after which the file of the experience is written
        model = clbench.load_model(path if final else store.end_path(path, experience), **how)
        x, task = rows_of(record, held, folder)
        assert np.array_equal(model.predict(x, task), held["prediction"])
        right = model.predict(x, task) == held["label"]
        scores = [right[held["task"] == t].mean() for t in range(record.trace.n_tasks)]
        at = np.flatnonzero(record.trace.kind == Kind.END)[look]
        assert scores == pytest.approx(record.trace.score[at])
        p = model.predict_proba(x, task)
        assert p.shape == (len(x), 10)
        assert np.allclose(p.sum(1), 1, atol=1e-5)
        assert (p >= 0).all()
        assert (
            np.array_equal(p.argmax(1), held["prediction"]) or (p.max(1) == p[range(len(p)), held["prediction"]]).all()
        )
    return model


@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_every_strategys_model_predicts_what_its_run_saw_at_each_end(strategy, tmp_path):
    record = run(tmp_path, strategy)
    model = agrees(record, tmp_path)
    assert model.shape == (1, 8, 8)
    assert model.classes == tuple("0123456789")


BUILDS = """
import torch
from dataclasses import dataclass
from torch import nn
import clbench

class Shifted(nn.Module):
    def __init__(self, model, shift):
        super().__init__()
        self.model, self.shift = model, nn.Parameter(shift)
        self.register_buffer("mark", torch.zeros(3))
        self.head = model.head
    def forward(self, x):
        features = self.model.features(x) + self.shift
        return clbench.Output(self.head(features), features)

@dataclass(kw_only=True)
class Shift(clbench.Part):
    def build(self, model, shape, n_outputs):
        return Shifted(model, torch.randn(16))
"""


def test_a_kept_model_predicts_as_the_run_did_with_what_a_part_built(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shift.py").write_text(BUILDS)
    record = run(tmp_path / "out", "shift.py:Shift")
    model = agrees(record, tmp_path / "out", trust=True)
    assert type(model.module).__name__ == "Shifted"
    assert record.cost["weights"] == sum(p.numel() for p in model.module.parameters())


@pytest.mark.parametrize("strategy", ["er", "icarl", "ncm", "slda(features=model)", "ncm(features=model)"])
@pytest.mark.parametrize("setting", ["task", "domain"])
def test_models_that_are_told_tasks_and_models_of_domains_predict_as_they_did(strategy, setting, tmp_path):
    record = run(tmp_path, strategy, **{"stream.setting": setting, "evaluation.rows_per_task": "all"})
    looks = table(record)
    x, task = rows_of(record, looks[max(looks)], tmp_path)
    model = clbench.load_model(store.model_path(record.key, tmp_path))
    assert np.array_equal(model.predict(x, task), looks[max(looks)]["prediction"])
    if setting == "task":
        own = make_stream(record.cell["stream"], record.seed).tasks[2].classes
        assert set(model.predict(x, 2)) <= set(own)
        with pytest.raises(Refused, match="give task=, 0 to 4"):
            model.predict(x)
        with pytest.raises(Refused, match="task = 5 is not known"):
            model.predict(x, 5)
    else:
        with pytest.raises(Refused, match="has no task labels"):
            model.predict(x, 0)


@pytest.mark.parametrize("strategy", [*OTHERS, OBSERVER + "Plain", OBSERVER + "Rehearsing"])
def test_learners_of_others_are_kept_whole_and_read_by_those_who_trust_the_file(strategy, tmp_path):
    record = run(tmp_path, strategy)
    with pytest.raises(Refused, match=r"run code that is not clbench's; if you trust its origin.*trust=True"):
        clbench.load_model(store.model_path(record.key, tmp_path))
    agrees(record, tmp_path, trust=True)


@pytest.mark.parametrize("strategy", HOSTS)
def test_strategies_of_avalanche_are_kept_without_what_they_learned_with(strategy, tmp_path):
    record = run(tmp_path, strategy)
    path = store.model_path(record.key, tmp_path)
    agrees(record, tmp_path, trust=True)
    assert path.stat().st_size < 200_000  # of rows there are 200 x 64 floats more
    with pytest.raises(Refused, match="trust=True"):
        clbench.load_model(path)


def test_a_model_is_read_where_there_is_no_data_set_and_unpickles_nothing(tmp_path):
    record = run(tmp_path, "icarl")
    held = table(record)[max(table(record))]
    np.savez(tmp_path / "x.npz", x=rows_of(record, held, tmp_path)[0])
    program = f"""
import numpy as np, pickle, torch
import clbench, clbench.data
def no(*_, **__): raise AssertionError("the data set was asked for")
clbench.data.load = clbench.data.read = no
model = clbench.load_model({str(store.model_path(record.key, tmp_path))!r})
print(model.predict(np.load({str(tmp_path / "x.npz")!r})["x"]).tolist())
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(told.stdout) == held["prediction"].tolist()
    content = torch.load(store.model_path(record.key, tmp_path), weights_only=True)
    assert content["clbench model"] == 1
    assert len(content["rows"]["x"]) <= 40  # exemplars, and no other rows


class Own(nn.Module):
    """Running statistics, a buffer that is not persistent, and an input that it changes."""

    def __init__(self, shape, n_outputs):
        super().__init__()
        self.norm = nn.BatchNorm1d(64)
        self.register_buffer("met", torch.zeros(()), persistent=False)
        self.last = nn.Linear(64, n_outputs)

    def forward(self, x):
        x -= 0.5
        if self.training:
            self.met += 1
        return self.last(self.norm(x.flatten(1))) * (1 + self.met)


def test_a_given_model_is_given_again_and_has_the_weights_and_buffers_of_the_file(tmp_path):
    record = run(tmp_path, "er", model=Own)
    path = store.model_path(record.key, tmp_path)
    with pytest.raises(Refused, match=r"program's own model.*load_model\(\.\.\., model=\.\.\.\)"):
        clbench.load_model(path)
    model = agrees(record, tmp_path, model=Own)
    assert float(model.module.module.met) > 0
    with pytest.raises(Refused, match="is not the one that was run"):
        clbench.load_model(path, model=lambda shape, n: nn.Sequential(nn.Flatten(), nn.Linear(64, n)))
    built_in = run(tmp_path, "naive")
    with pytest.raises(Refused, match="model= has no place"):
        clbench.load_model(store.model_path(built_in.key, tmp_path), model=Own)


def test_rows_are_taken_as_stored_or_in_0_to_1_in_any_usual_layout_and_refused_elsewhere(tmp_path):
    record = run(tmp_path, "er", **{"stream.dataset.normalize": "mean-std"})
    model = clbench.load_model(store.model_path(record.key, tmp_path))
    held = table(record)[max(table(record))]
    x, _ = rows_of(record, held, tmp_path)
    kind = x.dtype
    expected = held["prediction"]
    scale = data.load("digits").scale
    forms = [x[:, 0], np.moveaxis(x, 1, 3), torch.from_numpy(x.copy()), (x * np.float32(scale)).astype(np.float32)]
    for form in forms:
        assert np.array_equal(np.asarray(model.predict(form)), expected)
    assert isinstance(model.predict(forms[2]), torch.Tensor)
    assert isinstance(model.predict_proba(forms[2]), torch.Tensor)
    assert model.predict(x[:0]).shape == (0,)
    for wrong, sentence in ((x[:, :, :5], "takes samples of shape"), ("abc", "no array of numbers")):
        with pytest.raises(Refused, match=sentence):
            model.predict(wrong)
    if kind == np.uint8:
        with pytest.raises(Refused, match="whole numbers from 0 to 255"):
            model.predict(x.astype(np.float32))


def test_a_file_that_is_no_model_is_refused_in_a_sentence(tmp_path):
    record = run(tmp_path, "naive")
    path = store.model_path(record.key, tmp_path)
    other = tmp_path / "other.pt"
    torch.save({"layer.weight": torch.zeros(2)}, other)
    with pytest.raises(Refused, match="holds only weights, as an earlier clbench kept them"):
        clbench.load_model(other)
    other.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(Refused, match="is damaged"):
        clbench.load_model(other)
    with pytest.raises(Refused, match="cannot be read"):
        clbench.load_model(tmp_path / "nothing.pt")
    torch.save({**torch.load(path, weights_only=True), "clbench model": 99}, other)
    with pytest.raises(Refused, match="newer clbench"):
        clbench.load_model(other)


def test_keeping_leaves_no_trace_in_a_run(tmp_path):
    for strategy in ("icarl", "er", "sklearn:SGDClassifier"):
        kept = run(tmp_path / "kept", strategy)
        [plain] = clbench.run(SMALL, strategies=[strategy], seeds=[1], out=tmp_path / "plain", overrides=QUICK)
        assert kept.key == plain.key
        assert np.array_equal(kept.trace.score, plain.trace.score, equal_nan=True)
        times = ("seconds", "peak_bytes")
        ours, theirs = ({k: v for k, v in r.cost.items() if not k.endswith(times)} for r in (kept, plain))
        assert ours == theirs


def test_cells_that_were_finished_without_a_model_are_run_again_when_one_is_asked_for(tmp_path):
    def ran(**asked):
        told = []
        clbench.run(
            SMALL, strategies="naive, frozen", seeds=1, out=tmp_path, overrides=QUICK, watch=told.append, **asked
        )
        return len([event for event in told if isinstance(event, clbench.Record)])

    assert [ran(), ran(), ran(save_model=True), ran(save_model=True), ran(save_predictions=True)] == [2, 0, 2, 0, 2]
    assert [ran(save_model="ends"), ran(save_model="ends", save_predictions=True), ran()] == [2, 0, 0]
    assert len(list((tmp_path / "models").glob("*.pt"))) == 2
    assert len(list((tmp_path / "models").glob("*/*.pt"))) == 10


def test_a_record_is_kept_where_its_model_cannot_be(tmp_path):
    (tmp_path / "models").write_text("in the way")
    with pytest.warns(Notice) as told:
        [record] = clbench.run(SMALL, strategies="naive", seeds=1, out=tmp_path, save_model="ends", overrides=QUICK)
    sentences = [str(each.message) for each in told if issubclass(each.category, Notice)]
    assert len(sentences) == 6  # after each of 5 experiences, and at the end
    assert sentences[-1].startswith(f"naive, seed 0: the model could not be kept in {tmp_path} (")
    assert store.load(store.record_path(record.key, tmp_path)).status == "done"


def test_unknown_words_and_a_missing_folder_are_refused():
    with pytest.raises(Refused, match="save_model = 'all' is not known"):
        clbench.run(SMALL, save_model="all", out="nowhere")
    with pytest.raises(Refused, match="need out"):
        clbench.run(SMALL, save_predictions=True)


def test_predictions_give_top_k_accuracy_and_confusion_matrices(tmp_path):
    record = run(tmp_path, "er", save_model=False)
    trace, held = record.trace, record.trace.predictions.last()
    assert get("top1")(trace).value == pytest.approx(acc(trace))
    in_five = [held["label"][i] in held["top"][i] for i in range(len(held["label"]))]
    means = [np.mean([hit for hit, task in zip(in_five, held["task"], strict=True) if task == t]) for t in range(5)]
    assert get("top5")(trace).value == pytest.approx(np.mean(means))
    assert get("top5")(trace).value >= get("top2")(trace).value >= get("top1")(trace).value
    counts = confusion_matrix(trace)
    assert counts.sum() == len(held["label"])
    assert np.trace(counts) == (held["label"] == held["top"][:, 0]).sum()
    assert counts[3, 5] == sum((held["label"] == 3) & (held["top"][:, 0] == 5))
    assert all(len(set(row[row >= 0])) == (row >= 0).sum() for row in held["top"])
    figure = clbench.plot(tmp_path, kind="confusion")
    assert len(figure.axes) == 2  # a panel and the scale of colours
    assert list(clbench.board(tmp_path, metrics=["top5"]).shown) == ["top5"]
    with pytest.raises(Refused, match="5 best classes"):
        get("top6")


def test_without_predictions_top_k_is_undefined_and_nothing_is_drawn(tmp_path):
    [record] = clbench.run(SMALL, strategies="naive", seeds=1, out=tmp_path, overrides=QUICK)
    assert "run it with --save-predictions" in get("top5")(record.trace).reason
    with pytest.raises(Refused, match="--save-predictions"):
        clbench.plot(tmp_path, kind="confusion")


def test_ends_in_predictions_are_those_of_the_trace(tmp_path):
    record = run(tmp_path, "er", save_model=False)
    for look, held in table(record).items():
        right = held["prediction"] == held["label"]
        scores = [right[held["task"] == t].mean() for t in range(5)]
        assert scores == pytest.approx(end_scores(record.trace)[look])


def test_predictions_survive_an_interruption(tmp_path):
    from clbench.evaluate.predictions import Predictions
    from clbench.running.prepare import prepare

    cell = make_plan(SMALL, strategies=["er"], seeds=[0], overrides=["evaluation.every=0"]).cells[0]
    whole, half, resumed = (prepare(cell) for _ in range(3))
    for each in (whole, half, resumed):
        each.evaluator.predictions = Predictions()
    whole.train()
    kept = []
    half.train(lambda step, done: kept.append(half.snapshot()) if done > 0.5 and not kept else None)
    resumed.restore(kept[0])
    resumed.train()
    ours, theirs = whole.evaluator.predictions.columns(), resumed.evaluator.predictions.columns()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


# ---------------------------------------------------------------------------------- pretrained weights


def pretrained_file(path, seed=0):
    """A vision transformer of one block with random weights as a file, and its source."""
    from clbench.models.image_input import ImageInput
    from clbench.models.transformer import Form, VisionTransformer

    torch.manual_seed(seed)
    form = Form(width=16, depth=2, heads=2, hidden=16, patch=4, grid=(2, 2))
    torch.save(VisionTransformer(form, ImageInput((0.0,) * 3, (1.0,) * 3, None), 1).state_dict(), path)
    return f"{{name: pretrained, source: 'file:{path}', attention_heads: 2, input: unit, train: TRAIN}}"


@pytest.mark.parametrize(("train", "held"), [("head", set()), ("norm+head", {"norm", "attention_norm", "mlp_norm"})])
def test_pretrained_weights_that_did_not_change_are_read_from_their_source_again(train, held, tmp_path):
    model = pretrained_file(tmp_path / "vit.pth").replace("TRAIN", train)
    record = run(tmp_path / "out", "er", network=model)
    agrees(record, tmp_path / "out")
    path = store.model_path(record.key, tmp_path / "out")
    kept = torch.load(path, weights_only=True)
    names = set(kept["model"]["parameters"])
    assert {name.split(".")[-2] for name in names} == held | {"head"}
    assert set(kept["state_dict"]) >= names
    whole = clbench.load_model(path)
    source = torch.load(tmp_path / "vit.pth", weights_only=True)
    for name, tensor in whole.module.state_dict().items():
        assert name in names or "head" in name or torch.equal(tensor, source[name])


def test_an_export_holds_the_weights_of_the_source_and_other_weights_there_are_refused(tmp_path):
    network = pretrained_file(tmp_path / "vit.pth").replace("TRAIN", "head")
    record = run(tmp_path / "out", "er", network=network)
    path = store.model_path(record.key, tmp_path / "out")
    clbench.export_model(tmp_path / "out", "er", file=tmp_path / "whole.pt")
    exported = torch.load(tmp_path / "whole.pt", weights_only=True)["state_dict"]
    source = torch.load(tmp_path / "vit.pth", weights_only=True)
    assert torch.equal(exported["blocks.1.up.weight"], source["blocks.1.up.weight"])
    pretrained_file(tmp_path / "vit.pth", seed=1)
    with pytest.raises(Refused, match="are not those that this cell was planned with"):
        clbench.load_model(path)
