"""ACC and gap of running cells, and the forms in which progress is shown."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

import clbench
from clbench.core.errors import Refused
from clbench.core.record import Kind, Record
from clbench.metrics import compute
from clbench.running.cell_order import longest_first, seconds_of
from clbench.running.executors import Elsewhere, Notified, Progress, Retried, Started
from clbench.running.options import Options
from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.running.progress import FORMS, Tally, display
from clbench.running.progress_json import JsonLines
from clbench.running.run_cell import run_cell
from clbench.running.scores_so_far import NOTHING, ScoresSoFar, scores_of, until_now

SHORT = ["training.epochs=1"]


def cell_of(strategy="er"):
    [cell] = plan("split-digits", strategies=[strategy], seeds=[3], overrides=SHORT).cells
    return cell


@pytest.fixture(scope="module")
def record():
    return run_cell(cell_of())


def cut(trace, experience):
    """The trace as it was at the end of an experience."""
    last = np.flatnonzero((trace.experience == experience) & (trace.kind == Kind.END))[0]
    return trace.at(np.arange(last + 1))


def test_scores_at_the_end_are_those_of_the_record(record):
    found = compute(record.trace, ["acc", "gap_depth"])
    scores = scores_of(record.trace)
    assert (scores.acc, scores.gap) == (found["acc"].value, found["gap_depth"].value)
    assert scores.text == f"ACC {100 * scores.acc:.1f} %, gap {100 * scores.gap:.1f} %"


@pytest.mark.parametrize("experience", [0, 1, 2])
def test_scores_in_between_are_of_the_tasks_met_so_far(record, experience):
    partial = cut(record.trace, experience)
    scores, tasks = scores_of(partial), experience + 1
    mine = record.trace.first_visit <= experience
    assert mine.sum() == tasks
    assert scores.acc == pytest.approx(partial.score[-1, mine].mean())
    assert (scores.gap is None) == (experience == 0)  # there was no switch
    assert until_now(partial).score.shape == (len(partial.step), tasks)


def test_nothing_is_known_before_an_experience_has_begun(record):
    assert scores_of(record.trace.at(np.arange(1))) == NOTHING
    assert scores_of(record.trace.at(np.arange(0))) == NOTHING


def test_scores_are_computed_once_a_second_and_in_a_small_share_of_the_time():
    now, job = [0.0], prepare(cell_of())
    asked = []

    def trace(own=job.trace):
        asked.append(now[0])
        now[0] += 0.1  # it takes a tenth of a second
        return own()

    job.trace = trace
    scores = ScoresSoFar(clock=lambda: now[0])
    assert scores() == NOTHING
    scores.watch(job)
    while now[0] < 21:
        scores()
        now[0] += 0.5
    assert len(asked) == 5  # every 0.1 / 0.02 = 5 seconds


def test_a_job_without_a_trace_has_no_scores():
    class Broken:
        def trace(self):
            raise RuntimeError

    scores = ScoresSoFar()
    scores.watch(Broken())
    assert scores() == NOTHING


def test_showing_scores_changes_no_bit_of_a_run(record, monkeypatch):
    from clbench.running import executors, scores_so_far

    monkeypatch.setattr(executors, "TICK_SECONDS", 0.0)
    monkeypatch.setattr(scores_so_far, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(scores_so_far, "SHARE", 1e9)
    seen = []
    executors.execute([cell_of()], Options(scores=True), jobs=1, emit=seen.append)
    shown = [event.scores for event in seen if isinstance(event, Progress)]
    assert len(shown) == record.trace.step[-1]
    assert shown[-1].acc is not None
    assert shown[-1].gap is not None
    assert seen[-1].trace_digest == record.trace_digest


# ---------------------------------------------------------------------------------------------------- forms

FIELDS = {
    "begin": {"cells", "finished"},
    "started": {"key", "benchmark", "strategy", "seed"},
    "progress": {"key", "benchmark", "strategy", "seed", "step", "fraction", "acc", "gap"},
    "retried": {"key", "benchmark", "strategy", "seed", "reason", "attempt"},
    "notice": {"sentence"},
    "record": {
        "key", "benchmark", "strategy", "seed", "status", "reason", "acc", "gap", "seconds", "attempts", "lost_seconds",
    },
    "end": {"cells", "finished", "seconds", "stopped"},
}  # fmt: skip
FIELDS["elsewhere"] = FIELDS["record"]


def test_every_event_is_a_line_of_json_with_its_fields(record):
    stream, cell = io.StringIO(), cell_of()
    failed = Record(key=cell.key, cell=cell.config, label="er", status="failed", reason="broken")
    with JsonLines(Tally(4, 1), stream) as watch:
        watch(Started(cell))
        watch(Progress(cell, 7, 0.25))
        watch(Progress(cell, 9, 0.5, scores_of(record.trace)))
        watch(Retried(cell, "its worker process died (SIGKILL)", 2))
        watch(Notified("a sentence"))
        watch(record)
        watch(failed)
        watch(Elsewhere(record))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    names = ["begin", "started", "progress", "progress", "retried", "notice", "record", "record", "elsewhere", "end"]
    assert [line["event"] for line in lines] == names
    for line in lines:
        assert set(line) - {"event", "time"} == FIELDS[line["event"]]
    assert (lines[2]["acc"], lines[3]["acc"]) == (None, lines[6]["acc"])
    assert (lines[7]["status"], lines[7]["acc"], lines[7]["seconds"]) == ("failed", None, None)
    assert (lines[0]["finished"], lines[-1]["finished"], lines[-1]["stopped"]) == (1, 3, False)


def test_a_script_chooses_the_form_of_its_progress(capsys):
    ask = {"strategies": "naive", "seeds": 1, "overrides": {"training.epochs": 1, "evaluation.every": 0}}
    clbench.run("split-digits", **ask, progress="json")
    names = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert (names[0], names[1], names[-2], names[-1]) == ("begin", "started", "record", "end")
    clbench.run("split-digits", **ask, progress="none")
    assert capsys.readouterr() == ("", "")
    with pytest.raises(Refused, match="progress = 'dots' is not known; use True, False, bars, lines, json, none"):
        clbench.run("split-digits", **ask, progress="dots")


@pytest.mark.parametrize("form", FORMS)
def test_each_form_has_a_display_that_counts(form, record):
    from rich.console import Console

    shown = display(Tally(1, 0), Console(file=io.StringIO()), form, io.StringIO())
    with shown as watch:
        watch(Started(cell_of()))
        watch(record)
    assert shown.tally.finished == 1


# ---------------------------------------------------------------------------------------------------- order


def test_cells_begin_with_the_longest_after_those_of_which_nothing_is_known(tmp_path):
    cells = plan("split-digits", strategies=["naive", "er", "l2"], seeds=[0, 1], overrides=SHORT).cells
    (tmp_path / "records").mkdir()
    for cell, seconds in ((cells[0], 2.0), (cells[2], 8.0)):  # naive and er, with seed 0
        cost = {"train_seconds": seconds, "evaluation_seconds": 1.0}
        written = {"cell": cell.config, "status": "done", "cost": cost}
        (tmp_path / "records" / f"{cell.key}.json").write_text(json.dumps(written))
    (tmp_path / "records" / "stray.json").write_text("{}")
    (tmp_path / "records" / "cut.json").write_text('{"cell"')
    assert sorted(seconds_of(tmp_path).values()) == [3.0, 9.0]
    todo = [cells[1], cells[3], cells[4], cells[5]]  # naive, er, l2, l2
    assert [(c.label, c.seed) for c in longest_first(todo, tmp_path)] == [
        ("l2", 0), ("l2", 1), ("er", 1), ("naive", 1),
    ]  # fmt: skip
    assert longest_first(todo, None) == longest_first(todo, tmp_path / "none") == todo


def test_several_jobs_begin_with_the_longest_cell_and_results_are_in_the_order_of_the_plan(tmp_path):
    ask = {"strategies": "naive, er", "overrides": {"training.epochs": 1, "evaluation.every": 0}, "out": tmp_path}
    clbench.run("split-digits", **ask, seeds=[0])
    for path in (tmp_path / "records").glob("*.json"):  # er took an hour; the checksum does not fit any more
        content = json.loads(path.read_text())
        if content["label"] == "er":
            content["cost"]["train_seconds"] = 3600.0
            path.write_text(json.dumps(content))
    seen = []
    records = clbench.run("split-digits", **ask, seeds=[1], jobs=2, watch=seen.append)
    assert [event.cell.label for event in seen if isinstance(event, Started)] == ["er", "naive"]
    assert [record.label for record in records] == ["naive", "er"]
