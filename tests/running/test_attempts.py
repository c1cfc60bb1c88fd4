"""Attempts of cells: how often a cell was started, how each attempt ended, and how much work was lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import clbench
from clbench.core import store
from clbench.core.notices import Notice
from clbench.core.stop_request import Interrupted
from clbench.running.attempts import Attempt, Place, attempts_path, attempts_text, close, lost_seconds, read
from clbench.running.executors import Retried
from clbench.running.options import Options
from clbench.running.plan import plan
from clbench.running.run_cell import run_cell

QUICK = {"training.epochs": 1, "evaluation.every": 0}


def cell_of(strategy: str = "er"):
    [cell] = plan("split-digits", strategies=[strategy], seeds=[3], overrides=["training.epochs=2"]).cells
    return cell


# ---------------------------------------------------------------------------------------------------- the file


def test_a_start_and_its_end_are_two_lines_and_one_attempt(tmp_path):
    path = tmp_path / "attempts" / "KEY.jsonl"
    attempt = Attempt(path, Place(40, 0.25, 2.0))
    assert "ended" not in read(path)[0]
    attempt.saved = Place(70, 0.5, 5.0)
    attempt.end("stopped", Place(75, 0.53, 5.5))
    assert len(path.read_text().splitlines()) == 2
    [told] = read(path)
    assert (told["from_step"], told["from_fraction"], told["from_seconds"]) == (40, 0.25, 2.0)
    assert (told["ended"], told["to_step"], told["lost_steps"], told["lost_seconds"]) == ("stopped", 70, 5, 0.5)
    assert attempt.told == read(path)


def test_an_attempt_that_is_done_loses_nothing_whatever_was_saved(tmp_path):
    attempt = Attempt(tmp_path / "KEY.jsonl")
    attempt.saved = Place(10, 0.1, 1.0)
    attempt.end("done", Place(90, 1.0, 9.0))
    [told] = attempt.told
    assert (told["to_step"], told["lost_steps"], told["lost_seconds"]) == (90, 0, 0.0)


def test_a_start_without_an_end_was_killed_and_lost_what_came_after_its_snapshot(tmp_path):
    path = tmp_path / "KEY.jsonl"
    path.write_text(json.dumps({"began": "2026-01-01T00:00:00.000+00:00", "from_step": 0, "from_seconds": 0.0}) + "\n")
    began = 1767225600  # the same moment in seconds
    os.utime(path, (began + 30, began + 30))  # its last sign of life
    second = Attempt(path, Place(step=200, fraction=0.4, seconds=12.5))
    second.end("done", Place(500, 1.0, 31.0))
    first, last = read(path)
    assert (first["ended"], first["to_step"], first["seconds"], first["lost_seconds"]) == ("killed", 200, 30.0, 17.5)
    assert (last["from_step"], last["ended"]) == (200, "done")
    assert lost_seconds((first, last)) == 17.5
    assert attempts_text((first, last)) == "2 attempts, 17.5 s of work lost"


def test_an_attempt_that_has_ended_is_not_closed_again(tmp_path):
    path = tmp_path / "KEY.jsonl"
    Attempt(path).end("failed", Place())
    before = path.read_bytes()
    close(path, Place(), "killed")
    close(tmp_path / "none.jsonl", Place(), "killed")
    assert path.read_bytes() == before
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize("damage", [b"{", b"\xff\xfe", b"[]", b"null", b"[" * 100_000, b"", b'{"ended": "x"}'])
def test_lines_that_cannot_be_read_are_left_out_and_the_next_line_begins_anew(tmp_path, damage):
    path = tmp_path / "KEY.jsonl"
    path.write_bytes(damage)  # without the end of its line
    Attempt(path).end("done", Place(7, 1.0, 1.0))
    assert [told["to_step"] for told in read(path)] == [7]


def test_a_start_whose_numbers_are_no_numbers_is_counted_all_the_same(tmp_path):
    path = tmp_path / "KEY.jsonl"
    path.write_text('{"began": "soon", "from_seconds": []}\n{"began": 5, "lost_seconds": "many"}\n')
    Attempt(path).end("done", Place())
    assert len(read(path)) == 3
    assert lost_seconds(read(path)) == 0.0


def test_attempts_that_cannot_be_written_are_told_once_and_kept_in_memory(tmp_path):
    (tmp_path / "attempts").write_text("in the way")
    with pytest.warns(Notice, match=r"the attempts of a cell cannot be written to .*; the cell runs nevertheless"):
        attempt = Attempt(attempts_path("KEY", tmp_path))
    attempt.end("done", Place(3, 1.0, 0.5))
    assert [each["to_step"] for each in attempt.told] == [3]


def test_one_attempt_that_lost_nothing_has_nothing_to_be_told():
    assert attempts_text(()) == attempts_text(({"ended": "done", "lost_seconds": 0.0},)) == ""
    assert attempts_text(({"ended": "stopped", "lost_seconds": 0.3},)) == "1 attempt, 0.3 s of work lost"


# ---------------------------------------------------------------------------------------------------- of a cell


def options(out: Path, **more) -> Options:
    return Options(partial=out / "partial", attempts=out / "attempts", **more)


def test_a_cell_that_is_stopped_twice_has_three_attempts_and_the_trace_of_an_undisturbed_one(tmp_path, monkeypatch):
    cell = cell_of()
    whole = run_cell(cell)
    assert [each["ended"] for each in whole.attempts] == ["done"]
    for stop in (20, 50):

        def tick(step, _, stop=stop):
            if step == stop:
                raise Interrupted

        with pytest.raises(Interrupted):
            run_cell(cell, options(tmp_path), tick=tick)
    record = run_cell(cell, options(tmp_path))
    assert [each["from_step"] for each in record.attempts] == [0, 20, 50]
    assert [each["to_step"] for each in record.attempts] == [20, 50, int(whole.trace.step[-1])]
    assert [each["ended"] for each in record.attempts] == ["stopped", "stopped", "done"]
    assert [each["lost_steps"] for each in record.attempts] == [0, 0, 0]
    assert record.attempts[1]["from_fraction"] == pytest.approx(20 / whole.trace.step[-1], abs=0.02)
    assert record.trace_digest == whole.trace_digest


def test_a_snapshot_that_is_put_aside_begins_the_attempt_at_the_start(tmp_path, monkeypatch):
    cell = cell_of()

    def tick(step, _):
        if step == 20:
            raise Interrupted

    with pytest.raises(Interrupted):
        run_cell(cell, options(tmp_path), tick=tick)
    path = tmp_path / "partial" / f"{cell.key}.pt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(Notice, match="the cell starts again"):
        record = run_cell(cell, options(tmp_path))
    assert [each["from_step"] for each in record.attempts] == [0, 0]


def test_the_attempts_of_a_failed_cell_stay_until_it_is_done_and_then_go(tmp_path):
    mark = tmp_path / "mark"
    mark.touch()

    class Late(torch.nn.Module):
        def __init__(self, shape, n_outputs):
            super().__init__()
            self.last = torch.nn.Linear(64, n_outputs)

        def forward(self, x):
            if mark.exists() and self.training and len(x) > 2:
                raise RuntimeError("not yet")
            return self.last(x.flatten(1))

    ask = {"strategies": "naive", "seeds": 1, "overrides": QUICK, "model": Late, "out": tmp_path / "out"}
    [failed] = clbench.run("split-digits", **ask)
    assert [each["ended"] for each in failed.attempts] == ["failed"]
    assert read(attempts_path(failed.key, tmp_path / "out")) == failed.attempts
    mark.unlink()
    [done] = clbench.run("split-digits", **ask)
    assert [each["ended"] for each in done.attempts] == ["failed", "done"]
    assert not (tmp_path / "out" / "attempts").exists()
    [kept] = store.load_all(tmp_path / "out")
    assert kept.attempts == done.attempts


KILLED = """
import os, signal, sys
from pathlib import Path
from clbench.core.rng import derive
import torch

class Mortal(torch.nn.Module):
    "Kills its process in the middle of training, as often as there are weapons."
    def __init__(self, shape, n_outputs):
        super().__init__()
        self.last, self.seen = torch.nn.Linear(64, n_outputs), 0

    def forward(self, x):
        if self.training and len(x) > 2:
            self.seen += 1
            weapons = sorted(Path(FOLDER).glob("weapon*"))
            if self.seen == 30 and weapons:
                weapons[0].unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return self.last(x.flatten(1))

class Undying(Mortal):
    def forward(self, x):
        if self.training and len(x) > 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)
"""


@pytest.fixture
def mortal(tmp_path):
    (tmp_path / "mortal.py").write_text(f"FOLDER = {str(tmp_path)!r}\n" + KILLED)
    return f"{tmp_path / 'mortal.py'}:Mortal", f"{tmp_path / 'mortal.py'}:Undying"


def test_a_worker_that_is_killed_twice_finishes_with_three_attempts_and_the_undisturbed_trace(tmp_path, mortal):
    ask = {"strategies": "er", "seeds": 1, "overrides": {**QUICK, "training.epochs": 3, "model": {"name": mortal[0]}}}
    [whole] = clbench.run("split-digits", **ask)
    for number in range(2):
        (tmp_path / f"weapon{number}").touch()
    seen = []
    with pytest.warns(Notice, match=r"er, seed 0: its worker process died \(SIGKILL\); attempt [23] begins"):
        [record] = clbench.run("split-digits", **ask, isolated=True, out=tmp_path / "out", watch=seen.append)
    assert [event.attempt for event in seen if isinstance(event, Retried)] == [2, 3]
    assert record.status == "done"
    assert [each["ended"] for each in record.attempts] == ["died: SIGKILL", "died: SIGKILL", "done"]
    np.testing.assert_array_equal(record.trace.score, whole.trace.score)
    assert record.trace_digest == whole.trace_digest
    for number in range(2):
        (tmp_path / f"weapon{number}").touch()
    with pytest.warns(Notice, match="attempt [23] begins"):
        [in_memory] = clbench.run("split-digits", **ask, isolated=True)
    assert [each["ended"] for each in in_memory.attempts] == ["died: SIGKILL", "died: SIGKILL", "done"]


def test_a_worker_whose_command_is_killed_ends_without_a_word(tmp_path):
    code = f"""
import clbench
clbench.run("split-digits", strategies="er", seeds=1, overrides=["training.epochs=200"], out={str(tmp_path)!r},
            isolated=True, watch=lambda event: print("event", flush=True))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as command:
        for _ in range(3):  # the third event comes from a worker at work
            assert command.stdout.readline() == b"event\n"
        workers = psutil.Process(command.pid).children()
        command.kill()
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    [path] = (tmp_path / "attempts").iterdir()
    [line] = path.read_text().splitlines()
    assert "began" in json.loads(line)
    assert "ended" not in json.loads(line)


def test_a_part_that_always_kills_its_process_fails_after_three_attempts_and_says_so(tmp_path, mortal):
    with pytest.warns(Notice, match="attempt [23] begins"):
        [record] = clbench.run(
            "split-digits", strategies="naive", seeds=1, overrides={**QUICK, "model": {"name": mortal[1]}},
            isolated=True, out=tmp_path / "out",
        )  # fmt: skip
    assert record.status == "failed"
    assert record.reason.startswith("its worker process died (SIGKILL) in each of 3 attempts")
    assert [each["ended"] for each in record.attempts] == ["died: SIGKILL"] * 3


def test_a_record_is_shown_with_its_attempts_and_the_work_that_was_lost():
    from clbench.cli.show_record import attempts_of

    cell = cell_of()
    told = (
        {"began": "2026-01-01T00:00:00+00:00", "from_step": 0, "ended": "killed", "to_step": 20, "lost_seconds": 3.14},
        {"began": "2026-01-01T00:01:00+00:00", "from_step": 20, "ended": "done", "to_step": 90, "lost_seconds": 0.0},
    )
    record = clbench.Record(key=cell.key, cell=cell.config, label=cell.label, status="done", attempts=told)
    assert attempts_of(record) == {
        "in all": "2 attempts, 3.1 s of work lost",
        "1": "2026-01-01T00:00:00+00:00, steps 0 to 20, killed, 3.1 s lost",
        "2": "2026-01-01T00:01:00+00:00, steps 20 to 90, done",
    }
