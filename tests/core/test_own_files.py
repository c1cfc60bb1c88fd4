"""Scenarios, strategies and models of a user's own, taken from a file, and the contract that checks a stream."""

from __future__ import annotations

import numpy as np
import pytest
from command_line import call

import clbench
from clbench.running.plan import plan

NO_PARTS = """
import numpy as np


class Mine:
    def __init__(self, model): ...
    def observe(self, x, y): ...


class Bare: ...


def numbers():
    return [1, 2]


value = 3
"""

RING = '''
from dataclasses import dataclass
import numpy as np
import clbench
from clbench.core.rng import Generator


def ring(dataset: clbench.Dataset, seed: int, *, experiences: int = 3, width: int = 2) -> clbench.Stream:
    """Neighbouring classes of a random ring."""
    order = Generator(seed, "stream").permutation(dataset.n_classes)

    def build(i):
        classes = tuple(sorted(int(order[(i + k) % len(order)]) for k in range(width)))
        rows = np.flatnonzero(np.isin(dataset.train.y, classes))
        return clbench.Experience(id=i, rows=rows, task=dataset.train.y[rows], view=0, classes=classes)

    tasks = tuple(clbench.Task(c, str(c), np.flatnonzero(dataset.test.y == c), (c,)) for c in range(dataset.n_classes))
    what = {"ring": order.tolist(), "experiences": experiences, "width": width}
    return clbench.Stream("ring", dataset, tasks, experiences, build, dataset.n_classes, seed, what)


calls = []


def careless(dataset: clbench.Dataset, seed: int) -> clbench.Stream:
    """Draws from a generator that is not the stream's."""
    calls.append(1)
    shift = len(calls)

    def build(i):
        rows = np.arange(shift, shift + 20)
        classes = tuple(sorted(set(dataset.train.y[rows].tolist())))
        return clbench.Experience(id=i, rows=rows, task=0, view=0, classes=classes)

    tasks = (clbench.Task(0, "all", np.arange(len(dataset.test)), tuple(range(dataset.n_classes))),)
    return clbench.Stream("careless", dataset, tasks, 2, build, dataset.n_classes, seed, {})


@dataclass(kw_only=True)
class Still(clbench.Part):
    strength: float

    def gradient(self, learner, batch):
        learner.g.mul_(1 - self.strength)


def tiny(shape, n_outputs, *, width: int = 8):
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, n_outputs))
'''


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "ring.py"
    path.write_text(RING, encoding="utf-8")
    return path


def benchmark(own, **changes):
    return {
        "name": "mine",
        "stream": {"scenario": f"{own}:ring", "dataset": {"name": "digits", "train_rows": 200}, "width": 3},
        "model": {"name": f"{own}:tiny", "width": 6},
        "strategies": ["naive", f"{own}:Still(strength=1)"],
        "seeds": 1,
        **changes,
    }


def test_scenario_strategy_and_model_of_a_file_run_in_workers(own):
    naive, still = clbench.run(benchmark(own), jobs=2)
    assert [naive.status, still.status] == ["done", "done"]
    still_scores, naive_scores = (
        r.trace.score[(r.trace.kind == 1) & (r.trace.experience == 0)] for r in (still, naive)
    )
    seen = ~np.isnan(still_scores[0])
    assert (still_scores[:, seen] == still_scores[0, seen]).all()  # a gradient of 0 leaves the model where it is
    assert not (naive_scores[:, seen] == naive_scores[0, seen]).all()


def test_a_changed_line_of_a_file_makes_other_cells_and_a_changed_comment_does_not(own):
    before = plan(benchmark(own)).cells[0].key
    assert plan(benchmark(own)).cells[0].key == before
    own.write_text(RING.replace("Neighbouring", "Adjacent") + "\n# changed\n", encoding="utf-8")
    assert plan(benchmark(own)).cells[0].key == before
    own.write_text(RING.replace("width: int = 2", "width: int = 3"), encoding="utf-8")
    assert plan(benchmark(own)).cells[0].key != before


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ring.py:rign", "ring.py has no 'rign' to be a scenario; did you mean 'ring'?"),
        ("nowhere.py:ring", "which cannot be read"),
        ("broken.py:ring", "broken.py does not import: SyntaxError"),
    ],
)
def test_a_file_that_does_not_hold_it_is_refused_with_a_sentence(own, name, sentence):
    (own.parent / "broken.py").write_text("def ring(:", encoding="utf-8")
    stream = {"scenario": str(own.parent / name), "dataset": "digits"}
    with pytest.raises(clbench.Refused) as caught:
        plan(benchmark(own, stream=stream))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (
            "observ:{}:Mine",
            "there is no scheme 'observ', as in 'observ:none.py:Mine'; did you mean observe:none.py:Mine?",
        ),
        ("nope:{}:Mine", "written avalanche:NAME, sklearn:NAME, observe:FILE.py:NAME"),
        ("nope:Mine", "written avalanche:NAME, sklearn:NAME, observe:FILE.py:NAME"),
        ("SKLEARN:GaussianNB", "did you mean sklearn:GaussianNB?"),
        ("avalanche", "did you mean avalanche:NAME?"),
        ("ewc:x", "did you mean 'ewc'?"),
        ("{}", "write none.py:NAME for an object in that file"),
        ("{}:", "'none.py:' names the file none.py, which cannot be read"),
    ],
)
def test_a_name_that_is_no_strategy_is_answered_with_what_was_meant(written, sentence):
    with pytest.raises(clbench.Refused) as caught:
        plan("split-digits", strategies=[written.format("none.py")])
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "Mine",
            "cannot be made from its settings (missing a required argument: 'model'); a strategy is a subclass of",
        ),
        ("Bare", "makes a Bare, which is no part"),
        ("numbers", "makes a list, which is no part"),
        ("value", "mine.py:value is an int; a strategy is a class, or a function that makes one"),
        ("np", "mine.py:np is a module; a strategy is a class"),
        ("", "mine.py is to hold a strategy; write mine.py:NAME; known: Bare, Mine, numbers, value"),
    ],
)
def test_what_makes_no_part_is_refused_with_a_sentence(tmp_path, name, sentence):
    file = tmp_path / "mine.py"
    file.write_text(NO_PARTS, encoding="utf-8")
    with pytest.raises(clbench.Refused) as caught:
        plan("split-digits", strategies=[f"er + {file}:{name}"])
    assert sentence in str(caught.value)


def test_check_leads_a_class_with_observe_to_its_scheme(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(NO_PARTS, encoding="utf-8")
    answer = call("check", f"{file}:Mine")
    assert answer.code == 2
    assert f"write clbench check observe:{file}:Mine" in answer.err


def test_a_data_set_in_a_python_file_is_no_known_form(own):
    with pytest.raises(clbench.Refused, match="not of a known form; write one of csv:PATH, folder:PATH"):
        plan(benchmark(own, stream={"scenario": "split", "dataset": f"{own}:ring"}))


def test_check_says_that_a_good_stream_keeps_the_contract(own):
    done = call("check", f"{own}:ring", "--set", "width=4")
    assert done.code == 0
    assert "The contract is kept" in done.out


def test_check_says_what_is_wrong_with_a_careless_stream(own):
    done = call("check", f"{own}:careless")
    assert done.code == 1
    assert "two builds have one fingerprint and hold different samples or labels" in done.out


def test_check_takes_a_shipped_benchmark_and_refuses_an_unknown_name():
    assert call("check", "split-digits").code == 0
    assert call("check", "splt-digits").code == 2
