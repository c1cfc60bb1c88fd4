"""Benchmark files for users with the data: each plans, and makes its stream on a miniature of its data."""

from __future__ import annotations

import numpy as np
import pytest

from clbench.benchmark.schema import Training
from clbench.benchmark.shipped_files import find
from clbench.core.errors import Refused
from clbench.running.plan import make_stream, plan
from clbench.running.run_cell import run_cell

STREAMS = {
    "cifar100-b0-inc10": (100, [10] * 10),
    "cifar100-b50-inc5": (100, [50] + [5] * 10),
    "cifar100-online": (100, [5] * 20),
    "cifar100-224-inc10": (100, [10] * 10),
    "core50-nc": (50, [10] + [5] * 8),
    "core50-ni": (50, [50] * 8),
    "cub-inc10": (200, [10] * 20),
    "domainnet": (345, [345] * 6),
    "imagenet-a-inc20": (200, [20] * 10),
    "imagenet-r-inc20": (200, [20] * 10),
    "imagenet100-b50-inc5": (100, [50] + [5] * 10),
    "tinyimagenet-10": (200, [20] * 10),
    "vtab-inc10": (50, [10] * 5),
}
"""Name -> number of classes, and number of new classes in each experience."""


SMALL = {"shorter": 8, "crop": 8}
"""Instead of the size of pictures, which would only take time."""


def images_of(name, folder):
    """Return the stream of a file's first cell, of small pictures."""
    section = plan(name, seeds=1, data_dir=folder).cells[0].config["stream"]
    images = dict(section["dataset"])
    if "resize" in images:
        images["resize"] = SMALL
    return make_stream({**section, "dataset": images}, 0, data_dir=str(folder))


@pytest.mark.parametrize("name", STREAMS)
def test_the_file_makes_its_stream_on_a_miniature_of_its_data(name, miniatures):
    classes, groups = STREAMS[name]
    stream = images_of(name, miniatures)
    assert stream.dataset.n_classes == classes
    assert [len(e.classes) for e in stream] == groups


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.usefixtures("miniatures")
def test_without_the_data_one_sentence_says_what_is_missing_and_where(name, tmp_path, monkeypatch):
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CLBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    with pytest.raises(Refused) as told:
        images_of(name, tmp_path)
    sentence = str(told.value)
    assert "\n" not in sentence
    assert str(tmp_path) in sentence or "CLBENCH_OFFLINE" in sentence
    assert find(name).read_text().startswith("# ")


@pytest.mark.parametrize("name", STREAMS)
def test_without_the_weights_one_sentence_says_which_file_is_missing(name, miniatures, monkeypatch):
    if "timm:" not in find(name).read_text():
        pytest.skip("it has no pretrained weights")
    monkeypatch.undo()
    monkeypatch.setenv("CLBENCH_DATA", str(miniatures))
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    with pytest.raises(Refused, match=r"the file model\.safetensors of timm/\S+ is not in the cache of the hub"):
        plan(name, seeds=1)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.usefixtures("miniatures")
def test_published_numbers_have_a_source(name):
    published = plan(name, seeds=1).benchmark.published
    assert all(0 < each.value < 1 and len(each.source) > 10 for each in published)


def test_a_file_with_pretrained_weights_runs(miniatures):
    """The network is a small one at the full size of pictures; the closed forms see each picture once."""
    some = ["ncm(features=model, metric=cosine)", "slda(features=model)", "ranpac(size=64)", "fecam", "naive", "l2p"]
    some += ["dualprompt", "coda_prompt"]
    made = plan("vtab-inc10", strategies=some, seeds=1, data_dir=miniatures, overrides=["training.epochs=1"])
    for cell in made.cells:
        record = run_cell(cell)
        assert record.status == "done", (cell.label, record.reason)
        assert record.trace is not None
        assert record.trace.score.shape == (11, 5)


SCRATCH = ("cifar100-b0-inc10", "cifar100-b50-inc5", "imagenet100-b50-inc5")


@pytest.mark.parametrize("name", SCRATCH)
def test_files_from_scratch_have_the_schedule_of_pycil(name, miniatures):
    made = plan(name, seeds=1, data_dir=miniatures)
    for cell in made.cells:
        training, methods = Training(**cell.config["training"]), {item["name"] for item in cell.config["strategy"]}
        assert (training.lr, training.momentum, training.batch_size) == (0.1, 0.9, 128)
        assert (training.optimizer, training.optimizer_state) == ("sgd", "reset")
        expected = {0: (200, 5e-4, [60, 120, 170]), 1: (170, 2e-4, [60, 100, 140])}
        if "lucir" in methods:  # its authors'
            expected = dict.fromkeys((0, 1), (160, 5e-4, [80, 120]))
        elif "expand" in methods:
            expected[1] = (170, 2e-4, [80, 120, 150])
        for experience, (epochs, decay, at) in expected.items():
            own = training.during(experience)
            assert (own.epochs, own.weight_decay) == (epochs, decay)
            assert own.lr_schedule == {"milestones": {"at": at, "factor": 0.1}}


def test_the_classes_of_imagenet100_are_the_first_of_the_order_1993(miniatures):
    dataset = plan("imagenet100-b50-inc5", seeds=1, data_dir=miniatures).cells[0].config["stream"]["dataset"]
    assert dataset["classes"] == np.random.RandomState(1993).permutation(1000)[:100].tolist()
    stream = images_of("imagenet100-b50-inc5", miniatures)
    assert stream.dataset.class_names[:3] == ("n00000054", "n00000007", "n00000894")
    assert [e.classes for e in stream][:2] == [tuple(range(50)), tuple(range(50, 55))]


def test_a_file_from_scratch_runs(miniatures):
    """Two epochs in the first experience, of which the second is at a tenth of the rate, and one in the others."""
    first = {"epochs": 2, "lr_schedule": {"milestones": {"at": [1]}}, "weight_decay": 5e-4}
    small = [
        ("training.epochs", 1),
        ("training.lr_schedule", "constant"),
        ("training.first", first),
        ("model", {"name": "resnet_cifar", "depth": 8, "width": 2}),
        ("memory.size", 200),
    ]
    some = ["naive", "er", "icarl(over_classes=sum)", "bic", "wa", "lucir", "expand", "joint"]
    made = plan("cifar100-b50-inc5", seeds=1, data_dir=miniatures, strategies=some, overrides=small)
    for cell in made.cells:
        record = run_cell(cell)
        assert record.status == "done", (cell.label, record.reason)
