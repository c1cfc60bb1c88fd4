"""Benchmark files for users with the data: each plans, and makes its stream on a miniature of its data."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import miniature_data
import pytest

from clbench.benchmark.shipped_files import find
from clbench.core.errors import Refused
from clbench.running.plan import make_stream, plan

STREAMS = {
    "cifar100-online": (100, [5] * 20),
    "tinyimagenet-10": (200, [20] * 10),
}
"""Name -> number of classes, and number of new classes in each experience."""


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("miniatures")
    for write in miniature_data.FILES.values():
        write(folder)
    return folder


@pytest.fixture(autouse=True)
def _hub(miniatures, monkeypatch):
    """The package ``datasets`` with the miniatures of the hub, and no network."""
    module = ModuleType("datasets")
    module.__spec__ = ModuleSpec("datasets", None)  # find_spec looks there
    module.load_dataset = lambda name, config=None, *, revision=None: miniature_data.HUB[name]()
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setenv("CLBENCH_CACHE", str(miniatures / "cache"))
    monkeypatch.setenv("CLBENCH_OFFLINE", "0")


def images_of(name, data_dir):
    """Return the stream of a file's first cell, with pictures where it has features of a model."""
    section = plan(name, seeds=1, data_dir=data_dir).cells[0].config["stream"]
    images = {key: value for key, value in section["dataset"].items() if key != "features"}
    return make_stream({**section, "dataset": images}, 0, data_dir=str(data_dir))


@pytest.mark.parametrize("name", STREAMS)
def test_the_file_makes_its_stream_on_a_miniature_of_its_data(name, miniatures):
    classes, groups = STREAMS[name]
    stream = images_of(name, miniatures)
    assert stream.dataset.n_classes == classes
    assert [len(e.classes) for e in stream] == groups


@pytest.mark.parametrize("name", STREAMS)
def test_without_the_data_one_sentence_says_what_is_missing_and_where(name, tmp_path, monkeypatch):
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    with pytest.raises(Refused) as told:
        images_of(name, tmp_path)
    sentence = str(told.value)
    assert "\n" not in sentence
    assert str(tmp_path) in sentence or "CLBENCH_OFFLINE" in sentence
    assert find(name).read_text().startswith("# ")


@pytest.mark.parametrize("name", STREAMS)
def test_published_numbers_have_a_source(name, miniatures):
    published = plan(name, seeds=1, data_dir=miniatures).benchmark.published
    assert all(0 < each.value < 1 and len(each.source) > 10 for each in published)
