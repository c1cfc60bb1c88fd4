"""Schedules and executors from outside: from a file, from this program, and from an installed package."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from command_line import call

import clbench
from clbench.benchmark.evaluation_schedules import EVALUATION_SCHEDULES
from clbench.benchmark.lr_schedules import LR_SCHEDULES
from clbench.core.errors import Refused
from clbench.core.record import Kind
from clbench.core.trace_equality import trace_difference
from clbench.running.executors import EXECUTORS, Started, run_here
from clbench.running.plan import plan
from clbench.running.prepare import prepare

SOURCE = '''
from clbench.running.executors import Started, run_here


def halved(e, u, n, *, factor: float = 0.5) -> float:
    """Multiply the rate by a factor after every experience."""
    return factor**e


def odd(*, first: int = 1):
    """Look at every second iteration of an experience."""
    return lambda step, since: since >= first and since % 2 == 1


def backwards(queue, options, jobs, emit):
    """Run the last cell first."""
    cells = []
    while (cell := queue.take()) is not None:
        cells.append(cell)
    for cell in reversed(cells):
        emit(Started(cell))
        emit(run_here(cell, options, None, lambda record: None))
'''
FAST = {"evaluation.rows_per_task": 5, "training.epochs": 1, "training.batch_size": 128}
STEPPED = {"training.lr_schedule": {"step": {"gamma": 0.5}}}
"""What ``halved`` does, by a schedule that comes with clbench."""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def cell(**changes):
    return plan("split-digits", strategies=["naive"], seeds=[0], overrides=list({**FAST, **changes}.items())).cells[0]


def own(file, name, **settings):
    return {f"{file}:{name}": settings}


def run(isolated=False, **changes):
    (record,) = clbench.run(
        "split-digits", strategies="naive", seeds=1, overrides={**FAST, **changes}, isolated=isolated
    )
    assert record.status == "done", record.reason
    return record


@pytest.mark.parametrize("isolated", [False, True])
def test_a_learning_rate_schedule_of_a_file_trains_as_the_same_one_of_clbench_does(file, isolated):
    ours, theirs = run(isolated, **{"training.lr_schedule": own(file, "halved")}), run(**STEPPED)
    assert trace_difference(ours.trace, theirs.trace) == ""
    assert ours.key != theirs.key


def test_an_evaluation_schedule_of_a_file_decides_when_to_look(file):
    record = run(**{"evaluation.schedule": own(file, "odd", first=3)})
    steps = record.trace.step[record.trace.kind == Kind.STEP]
    ends = np.unique(record.trace.step[record.trace.kind == Kind.END])
    starts = np.concatenate([[0], ends[:-1]])
    expected = [
        s for start, end in zip(starts, ends, strict=True) for s in range(start + 1, end + 1)
        if s - start >= 3 and (s - start) % 2
    ]  # fmt: skip
    assert steps.tolist() == expected
    assert len(expected) >= 5


@pytest.mark.parametrize(
    ("name", "key", "section", "setting", "filled"),
    [
        ("halved", "training.lr_schedule", "training", "lr_schedule", {"factor": 0.5}),
        ("odd", "evaluation.schedule", "evaluation", "schedule", {"first": 1}),
    ],
)
def test_a_schedule_of_a_file_is_in_the_key_with_its_settings_and_its_source(file, name, key, section, setting, filled):
    first, again = cell(**{key: own(file, name)}), cell(**{key: f"{file}:{name}"})
    written = first.config[section][setting]
    assert written == {f"{file}:{name}": filled, "source": written["source"]}
    assert len(written["source"]) == 16
    assert first.key == again.key
    file.write_text(SOURCE.replace("factor**e", "factor**(2 * e)").replace("% 2 == 1", "% 3 == 1"), encoding="utf-8")
    assert cell(**{key: own(file, name)}).key != first.key
    with pytest.raises(Refused, match="is not the code that this cell was planned with"):
        prepare(first).train()


def test_a_schedule_that_a_program_adds_counts_with_its_code(monkeypatch):
    def flat(e, u, n, *, level: float = 1.0):
        return level

    def lower(e, u, n, *, level: float = 1.0):
        return level / 2

    keys = {}
    for function in (flat, lower, flat):
        monkeypatch.setattr(LR_SCHEDULES, "_added", {})
        LR_SCHEDULES.add("mine", function)
        keys.setdefault(function, []).append(cell(**{"training.lr_schedule": "mine"}).key)
    assert keys[flat][0] == keys[flat][1] != keys[lower][0]


def test_mistakes_in_a_schedule_of_a_file_are_told_in_a_sentence(file):
    with pytest.raises(Refused, match="no parameter 'facto'; did you mean 'factor'"):
        cell(**{"training.lr_schedule": own(file, "halved", facto=1)})
    with pytest.raises(Refused, match="has no 'halve' to be a learning-rate schedule; did you mean 'halved'"):
        cell(**{"training.lr_schedule": own(file, "halve")})


def test_the_cells_of_schedules_that_come_with_clbench_hold_no_source():
    for registry, section in ((LR_SCHEDULES, "training.lr_schedule"), (EVALUATION_SCHEDULES, "evaluation.schedule")):
        for name in (entry.name for entry in registry if entry.name not in ("at", "milestones")):
            made = cell(**{"training.epochs": 2, section: name})
            assert "source" not in str(made.config[section.split(".")[0]])


# --------------------------------------------------------------------------------------------------- executors


def test_an_executor_of_a_file_runs_the_cells_in_its_own_order_to_the_same_records(file):
    events = []
    records = clbench.run(
        "split-digits", strategies="naive", seeds=2, overrides=FAST, executor=f"{file}:backwards", watch=events.append
    )
    assert [event.cell.seed for event in events if isinstance(event, Started)] == [1, 0]
    usual = clbench.run("split-digits", strategies="naive", seeds=2, overrides=FAST)
    assert [record.key for record in records] == [record.key for record in usual]
    assert [trace_difference(a.trace, b.trace) for a, b in zip(records, usual, strict=True)] == ["", ""]


def test_what_an_executor_runs_is_written_and_not_run_again(file, tmp_path):
    options = ["--strategies", "naive", "--seeds", "1", "--executor", f"{file}:backwards", "--out", tmp_path / "out"]
    for key, value in FAST.items():
        options += ["--set", f"{key}={value}"]
    assert "1 cell run" in call("run", "split-digits", *options).out
    assert "1 of 1 cells are already finished" in call("run", "split-digits", *options).out


def test_an_executor_of_this_program_is_given_jobs_and_options(monkeypatch):
    monkeypatch.setattr(EXECUTORS, "_added", {})
    given = []

    def mine(queue, options, jobs, emit):
        given.append((jobs, options.limits.seconds))
        while (cell := queue.take()) is not None:
            emit(run_here(cell, options, None, lambda record: None))

    EXECUTORS.add("mine", mine)
    records = clbench.run(
        "split-digits", strategies="naive", seeds=2, overrides=FAST, executor="mine", jobs=2, time_limit=90
    )
    assert given == [(2, 90.0)]
    assert [record.status for record in records] == ["done", "done"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "worker"}, "there is no executor called 'worker'; did you mean 'workers'"),
        ({"executor": "in-process", "jobs": 2, "seeds": 2}, "in-process runs one cell at a time"),
        ({"executor": "in-process", "time_limit": 9}, "in-process runs one cell at a time and without limits"),
    ],
)
def test_an_executor_that_cannot_do_what_is_asked_is_refused(options, message):
    with pytest.raises(Refused, match=message):
        clbench.run("split-digits", strategies="naive", overrides=FAST, **{"seeds": 1, **options})


# --------------------------------------------------------------------------------------------------- a package


METADATA = "Metadata-Version: 2.1\nName: our-schedules\nVersion: 1.2\n"
POINTS = """
[clbench.lr_schedules]
halved = our_schedules:halved
[clbench.evaluation_schedules]
odd = our_schedules:odd
[clbench.executors]
backwards = our_schedules:backwards
"""
INSTALLED = """
import io, contextlib
import clbench
from clbench.cli import main
records = clbench.run("split-digits", strategies="naive", seeds=1, executor="backwards", overrides={
    "training.lr_schedule": "halved", "evaluation.schedule": {"odd": {"first": 3}}, **%r})
out = io.StringIO()
with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
    main(["list"])
print([records[0].status, records[0].cell["training"]["lr_schedule"], records[0].cell["evaluation"]["schedule"],
       [name for name in ("halved", "odd", "backwards") if f"  {name} " in out.getvalue()],
       out.getvalue().count("[our-schedules 1.2]")])
"""


def test_an_installed_package_brings_one_of_each_by_its_entry_points(tmp_path):
    (tmp_path / "our_schedules.py").write_text(SOURCE, encoding="utf-8")
    information = tmp_path / "our_schedules-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(METADATA, encoding="utf-8")
    (information / "entry_points.txt").write_text(POINTS, encoding="utf-8")
    paths = [str(tmp_path), str(Path(clbench.__file__).parents[1])]
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(INSTALLED % FAST)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    status, rate, looks, names, plugins = ast.literal_eval(found.stdout)
    assert (status, names, plugins) == ("done", ["halved", "odd", "backwards"], 3)
    assert rate == {"halved": {"factor": 0.5}, "source": rate["source"]}
    assert looks == {"odd": {"first": 3}, "source": looks["source"]}
    assert rate["source"] == looks["source"]
