"""The hash of what a stream really holds, and a contract that catches generators that break it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_scenarios_fingerprints import fixed
from tiny_data import tiny

from clbench.core.types import Experience, Stream
from clbench.scenarios import make
from clbench.scenarios.combinators import repeat
from clbench.scenarios.permuted import permuted
from clbench.scenarios.realised import check_stream, realised_hash, repetition
from clbench.scenarios.split import split

DATA = tiny(6)


def base(**settings: Any) -> Stream:
    return split(DATA, 0, **{"experiences": 3, **settings})


def changed(stream: Stream, change: Callable[[Experience], Experience]) -> Stream:
    return replace(stream, build=lambda i: change(stream.build(i)))


# ------------------------------------------------------------------------------------------- the hash


def test_the_hash_follows_rows_and_labels_whatever_the_recipe():
    a, b = base(order="fixed"), base(order=[0, 1, 2, 3, 4, 5])
    assert a.fingerprint != b.fingerprint
    assert realised_hash(a) == realised_hash(b)


@pytest.mark.parametrize(
    "change",
    [
        lambda e: replace(e, rows=e.rows[::-1]),
        lambda e: replace(e, rows=np.append(e.rows, e.rows[0])),
        lambda e: replace(e, task=(e.task + 1) % 3),
        lambda e: replace(e, view=1),
        lambda e: replace(e, boundary=False),
        lambda e: replace(e, shuffled=False),
        lambda e: replace(e, classes=e.classes[:1]),
    ],
)
def test_every_field_of_an_experience_enters_the_hash(change):
    assert realised_hash(changed(base(), change)) != realised_hash(base())


def test_outputs_labels_order_data_and_drift_enter_the_hash():
    stream = base()
    others = [
        replace(stream, n_outputs=7),
        replace(stream, task_labels=True),
        replace(stream, output="all"),
        replace(stream, tasks=stream.tasks[::-1]),
        replace(stream, label_map=np.arange(6)[None, ::-1]),
        replace(stream, build=lambda i: stream.build((i + 1) % 3)),
        replace(stream, views_at=lambda i: np.array([i, 0, 0])),
        split(tiny(6, seed=1), 0, experiences=3),
        repeat(stream),
    ]
    hashes = {realised_hash(each) for each in others}
    assert len(hashes) == len(others)
    assert realised_hash(stream) not in hashes


def test_one_number_for_all_rows_is_the_same_as_one_per_row():
    spread = changed(base(), lambda e: replace(e, task=np.full(len(e), e.task), view=np.zeros(len(e), dtype=np.int64)))
    assert realised_hash(spread) == realised_hash(base())


def test_another_process_realises_the_same_rows_and_imports_no_torch():
    config = {"scenario": "scole", "experiences": 30, "apply": [{"recur": {"visits": 50}}]}
    program = (
        f"import sys; sys.path[:0] = {[str(path) for path in Path(__file__).parents[1:3]]}\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1] / 'scenarios')!r})\n"
        "from test_scenarios_fingerprints import fixed, make\n"
        "from clbench.scenarios.realised import realised_hash\n"
        f"print(realised_hash(make({config}, fixed(), 3)), 'torch' in sys.modules)\n"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.split() == [realised_hash(make(config, fixed(), 3)), "False"]


# ------------------------------------------------------------------------------------------- repetition


def test_repetition_is_none_between_or_within():
    assert repetition(base()) == "none"
    assert repetition(repeat(base())) == "between"
    assert repetition(permuted(DATA, 0, experiences=2)) == "between"
    assert repetition(changed(base(), lambda e: replace(e, rows=np.append(e.rows, e.rows[0])))) == "within"


@pytest.mark.parametrize(
    ("declared", "times", "fine"),
    [("none", 1, True), ("none", 2, False), ("between", 1, True), ("between", 2, True), ("often", 1, False)],
)
def test_declared_repetition_is_held_to(declared, times, fine):
    stream = repeat(base(), times=times)
    stream = replace(stream, description={**stream.description, "repetition": declared})
    problems = check_stream(lambda: stream)
    assert (problems == []) == fine
    assert all("repetition" in p for p in problems)


# ------------------------------------------------------------------------------------------- the contract


def test_good_streams_have_no_problems():
    for stream in (base(), base(setting="domain"), permuted(DATA, 0, setting="class", experiences=2)):
        assert check_stream(lambda stream=stream: stream) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda e: replace(e, rows=e.rows + 40), "rows go from"),
        (lambda e: replace(e, rows=e.rows - 20), "rows go from -"),
        (lambda e: replace(e, rows=e.rows[:0]), "at least one"),
        (lambda e: replace(e, rows=e.rows.astype(np.int32)), "int64"),
        (lambda e: replace(e, task=3), "tasks go from 3 to 3, and there are 3"),
        (lambda e: replace(e, task=np.zeros(2, dtype=np.int64)), "task has shape (2,)"),
        (lambda e: replace(e, view=-1), "views go from -1"),
        (lambda e: replace(e, classes=(5,)), "classes are said to be (5,)"),
        (lambda e: replace(e, id=0), "the ids of experiences are not their positions"),
    ],
)
def test_faulty_experiences_are_told_once_with_numbers(change, sentence):
    problems = check_stream(lambda: changed(base(), change))
    assert len([p for p in problems if sentence in p]) == 1


def test_labels_beyond_the_outputs_are_told():
    stream = base()
    assert "labels go from" in check_stream(lambda: replace(stream, n_outputs=2))[0]
    outside = replace(stream, label_map=np.full((1, 6), -1))
    assert "labels go from -1 to -1" in check_stream(lambda: outside)[0]
    assert (
        "labels are mapped for 1"
        in check_stream(lambda: changed(replace(stream, label_map=np.arange(6)[None]), lambda e: replace(e, view=1)))[0]
    )


def test_faulty_tasks_and_empty_streams_are_told():
    stream = base()
    beyond = replace(stream.tasks[0], rows=np.arange(13))
    assert "task 0: rows go from 0 to 12, and there are 12" in check_stream(
        lambda: replace(stream, tasks=(beyond, *stream.tasks[1:]))
    )
    assert "has id 2" in check_stream(lambda: replace(stream, tasks=stream.tasks[::-1]))[0]
    assert "at least one of each" in check_stream(lambda: replace(stream, length=0))[0]
    unwritable = replace(stream, description={"when": np.arange(2)})
    assert "cannot be written as JSON" in check_stream(lambda: unwritable)[0]


def test_builds_that_depend_on_anything_else_are_told():
    calls = count()
    moving = lambda: split(DATA, next(calls), experiences=3)  # noqa: E731
    assert "two builds have fingerprints" in check_stream(moving)[0]

    def same_print() -> Stream:
        return replace(split(DATA, next(calls), experiences=3), seed=0, description={"scenario": "mine"})

    assert "one fingerprint and hold different samples" in check_stream(same_print)[0]


def test_builds_that_depend_on_the_order_are_told():
    class Rolling:
        """Rows depend on how often it was called."""

        def __init__(self) -> None:
            self.calls, self.stream = 0, base()

        def __call__(self, i: int) -> Experience:
            self.calls += 1
            experience = self.stream.build(i)
            return replace(experience, rows=np.roll(experience.rows, self.calls // len(self.stream)))

    problems = check_stream(lambda: replace(base(), build=Rolling()))
    assert any("out of order" in p for p in problems)
