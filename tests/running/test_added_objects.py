"""Objects that a program adds to registries reach worker processes by value; other code never runs under an old key."""

import re
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

import clbench
from clbench import api
from clbench.core.registry import Registry, load
from clbench.core.trace_equality import trace_difference
from clbench.data import DATASETS
from clbench.models import MODELS
from clbench.running.executors.added_objects import REGISTRIES, pack, unpack
from clbench.running.plan import plan
from clbench.running.run_cell import run_cell
from clbench.scenarios import SCENARIOS
from clbench.strategies import STRATEGIES

NOTEBOOK = """
from dataclasses import dataclass
from clbench import Part
from clbench.data import load
from clbench.scenarios.split import split

SHARE = 0.5


def shrunk(vector, strength):
    vector.mul_(SHARE * strength)


@dataclass(kw_only=True)
class Mine(Part):
    strength: float = 1.0

    def gradient(self, learner, batch):
        shrunk(learner.g, self.strength)


def network(shape, n_outputs, *, width: int = 4):
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, n_outputs))


def samples(data_dir):
    return load("digits", train_rows=200)


def halves(dataset, seed, *, setting: str = "class"):
    return split(dataset, seed, setting=setting, experiences=2)
"""


@pytest.fixture
def notebook():
    """The names of a notebook, whose module no other process can import."""
    names = {"__name__": "__main__"}
    exec(NOTEBOOK, names)
    added = [(STRATEGIES, "mine", "Mine"), (MODELS, "mine_net", "network"), (DATASETS, "mine_data", "samples")]
    added += [(SCENARIOS, "mine_halves", "halves")]
    for registry, name, what in added:
        registry.add(name, names[what])
    yield names
    for registry, name, _ in added:
        registry._added.pop(name)


BENCHMARK = {
    "name": "of-a-notebook",
    "stream": {"scenario": "mine_halves", "dataset": "mine_data"},
    "model": {"name": "mine_net"},
    "training": {"epochs": 1},
    "evaluation": {"every": 0},
    "seeds": 1,
}


def test_added_objects_of_every_kind_run_in_workers_as_in_this_process(notebook, tmp_path):
    here = clbench.run(BENCHMARK, strategies=["mine", "naive"])
    there = clbench.run(BENCHMARK, strategies=["mine", "naive"], jobs=2, out=tmp_path)
    assert [(record.status, record.key) for record in there] == [("done", record.key) for record in here]
    for one, other in zip(here, there, strict=True):
        assert trace_difference(one.trace, other.trace) == ""
    assert trace_difference(here[0].trace, here[1].trace) != ""  # half the gradient


def test_an_added_object_that_cannot_be_sent_is_refused_before_anything_starts(tmp_path, monkeypatch):
    lock = threading.Lock()

    @dataclass(kw_only=True)
    class Locked(clbench.Part):
        def gradient(self, learner, batch):
            with lock:
                learner.g.mul_(1.0)

    monkeypatch.setattr(STRATEGIES, "_added", dict(STRATEGIES._added))
    STRATEGIES.add("locked", Locked)
    seen = []
    with pytest.raises(
        clbench.Refused, match=r"the strategy 'locked', which this program added, cannot be sent"
    ) as told:
        clbench.run("split-digits", strategies="locked", seeds=2, jobs=2, out=tmp_path / "out", watch=seen.append)
    assert "use jobs=1, or write it in a file and name it FILE.py:NAME" in str(told.value)
    assert not seen
    assert not (tmp_path / "out").exists()
    sent = pack(plan("split-digits", strategies=["naive"], seeds=1).cells)
    assert "locked" not in [each.name for each in sent]  # no cell uses it


def test_what_was_sent_is_added_under_its_name(notebook, monkeypatch):
    sent = [each for each in pack([]) if each.name == "mine"]
    monkeypatch.delitem(STRATEGIES._added, "mine")
    assert unpack(sent) == []
    assert STRATEGIES.get("mine").__name__ == "Mine"
    [sentence] = unpack([type(sent[0])(sent[0].registry, "mine", "", b"no pickle")])
    assert sentence.startswith("'mine' does not reach a worker process: UnpicklingError")


def test_all_registries_of_the_package_are_searched_for_added_objects():
    root = Path(clbench.__file__).parent
    assert all(isinstance(load(path), Registry) for path in REGISTRIES)
    made = [name for file in root.rglob("*.py") for name in re.findall(r"^(\w+) = Registry\(", file.read_text(), re.M)]
    assert sorted(made) == sorted(path.partition(":")[2] for path in REGISTRIES)


PLUGIN = '''
from clbench import Part


class Still(Part):
    """Words."""

    def gradient(self, learner, batch):
        learner.g.mul_(1.0)  # a comment
'''


def test_an_edited_comment_runs_nothing_again_and_an_edited_line_runs_its_cells(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = Path("still.py")

    def finished(text):
        file.write_text(text, encoding="utf-8")
        watched = []
        settings = {"stream.dataset.train_rows": 100, "training.epochs": 1, "evaluation.every": 0}
        run = {"seeds": 1, "overrides": settings, "out": "out", "watch": watched.append}
        [record] = clbench.run("split-digits", strategies=["still.py:Still"], **run)
        return record.key, len(watched) > 0

    key, ran = finished(PLUGIN)
    assert ran
    assert finished(PLUGIN.replace("Words.", "Other words.\n\n    And more.")) == (key, False)
    assert finished(PLUGIN.replace("# a comment", "# another\n\n")) == (key, False)
    other, ran = finished(PLUGIN.replace("1.0", "0.5"))
    assert ran
    assert other != key
    assert len(api.records("out")) == 2


def test_a_file_that_is_edited_after_its_cells_were_planned_fails_them_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("still.py").write_text(PLUGIN, encoding="utf-8")
    [cell] = plan("split-digits", strategies=["still.py:Still"], seeds=1).cells
    Path("still.py").write_text(PLUGIN.replace("1.0", "0.5"), encoding="utf-8")
    record = run_cell(cell)
    assert record.status == "failed"
    assert record.reason.startswith("the file of the strategy still.py:Still, or a module that it imports, was edited")
