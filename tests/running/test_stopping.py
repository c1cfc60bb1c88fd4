"""A run that is asked to stop: where it is saved, and that it resumes from there as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from clbench.cli import stopping as command_stopping
from clbench.core import stop_request, store
from clbench.core.record import Kind
from clbench.core.stop_request import EvaluationInterrupted, Interrupted
from clbench.evaluate import evaluator
from clbench.running import snapshots, stop_signals
from clbench.running.attempts import attempts_path, read
from clbench.running.plan import plan
from clbench.running.prepare import prepare
from clbench.running.snapshot_file import place_of
from clbench.running.snapshots import Snapshots
from clbench.running.stop_signals import Stop, Stopped, stops_cleanly


def cell_of(strategy, *settings):
    [cell] = plan("split-digits", strategies=[strategy], seeds=[3], overrides=["training.epochs=2", *settings]).cells
    return cell


def assert_same(run, other):
    """The same trace, cost and weights."""
    one, two = run.trace(), other.trace()
    for name in ("step", "kind", "experience", "score", "rows", "present", "units", "competing", "met"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert run.learner.w.tolist() == other.learner.w.tolist()
    counted = [vars(each.account()) for each in (run, other)]
    ours, theirs = ({k: v for k, v in each.items() if "seconds" not in k} for each in counted)
    assert ours == theirs


def interrupted_in(monkeypatch, cell, path, kind, number):
    """Run a cell and ask it to stop inside of its ``number``-th evaluation of a kind, after the first chunk."""
    run, now = prepare(cell), {"kind": None, "chunks": 0, "count": 0}
    take = run.evaluator.take

    def taking(learner, kind, experience, step):
        now.update(kind=kind, chunks=0, count=now["count"] + (kind == asked))
        take(learner, kind, experience, step)

    def asked_to_stop():
        now["chunks"] += 1
        return (now["kind"], now["count"]) == (asked, number) and now["chunks"] == 2

    asked = kind
    monkeypatch.setattr(run.evaluator, "take", taking)
    with monkeypatch.context() as patch:
        patch.setattr(evaluator, "asked_to_stop", asked_to_stop)
        with pytest.raises(EvaluationInterrupted):
            Snapshots(run, path).train()
    return run


# Evaluations have several chunks, so that one can be left between two of them.
@pytest.mark.parametrize(
    ("strategy", "kind", "number"),
    [("er + ewc(strength=1)", kind, number) for kind, number in [(Kind.STEP, 25), (Kind.END, 1), (Kind.SWITCH, 2)]]
    + [("agem", Kind.END, 2), ("joint", Kind.STEP, 7), ("joint", Kind.END, 1)],
)
def test_a_run_that_is_stopped_inside_of_an_evaluation_makes_it_again_and_nothing_is_lost(
    tmp_path, monkeypatch, strategy, kind, number
):
    monkeypatch.setattr(evaluator, "CHUNK_VALUES", 6400)
    cell, path = cell_of(strategy), tmp_path / "KEY.pt"
    whole = prepare(cell)
    whole.train()
    stopped = interrupted_in(monkeypatch, cell, path, kind, number)
    assert place_of(path).step == stopped.cursor.step
    rest = prepare(cell)
    Snapshots(rest, path).train()
    assert_same(rest, whole)


def test_early_stopping_is_not_repeated_after_a_stop_inside_of_the_evaluation_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluator, "CHUNK_VALUES", 6400)
    settings = ("training.epochs=6", "training.stop.patience=1", "stream.dataset.validation=0.1")
    cell, path = cell_of("er", *settings), tmp_path / "KEY.pt"
    whole = prepare(cell)
    whole.train()
    interrupted_in(monkeypatch, cell, path, Kind.END, 2)
    rest = prepare(cell)
    Snapshots(rest, path).train()
    assert_same(rest, whole)


def test_a_run_is_saved_when_the_samples_of_an_experience_are_learned_before_its_end_hooks(tmp_path, monkeypatch):
    cell, path = cell_of("er + ewc(strength=1)"), tmp_path / "KEY.pt"
    whole, first, rest = prepare(cell), prepare(cell), prepare(cell)
    whole.train()
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "asked_to_stop", lambda: first.cursor.experience == 1)
        with pytest.raises(Interrupted):
            Snapshots(first, path).train()
    assert (first.cursor.experience, first.cursor.step) == (1, 20)  # two passes of 5 steps on each
    steps = []
    Snapshots(rest, path).train(lambda step, _: steps.append(step))
    assert steps[0] == 21
    assert_same(rest, whole)


def test_snapshots_at_ends_of_experiences_keep_their_distance_and_short_runs_write_none(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(Snapshots, "_save", lambda self: written.append(self.run.cursor.step))
    Snapshots(prepare(cell_of("er")), tmp_path / "KEY.pt").train()
    assert written == []
    monkeypatch.setattr(snapshots, "END_SECONDS", 0.0)
    Snapshots(prepare(cell_of("er")), tmp_path / "KEY.pt").train()
    # at the last step of each experience, and after the first step of the next one
    assert written == [10, 11, 20, 21, 30, 31, 40, 41, 50]
    written.clear()
    Snapshots(prepare(cell_of("er")), tmp_path / "KEY.pt", seconds=float("inf")).train()
    assert written == []


# ---------------------------------------------------------------------------------------------------- signals


@pytest.fixture
def steps():
    """A run that makes steps in this process, so that it can be asked to stop."""
    stop_request.note_step()
    yield
    stop_request.end_steps()
    stop_request.forget_stop()


@pytest.mark.usefixtures("steps")
def test_the_first_signal_asks_a_run_of_this_process_and_the_second_one_stops_it_at_once():
    stop = Stop()
    stop(signal.SIGTERM, None)
    assert stop_request.asked_to_stop()
    with pytest.raises(Stopped) as told:
        stop(signal.SIGINT, None)
    assert told.value.number == stop.number == signal.SIGTERM
    stop.end()
    assert not stop_request.asked_to_stop()


def test_a_signal_stops_at_once_what_has_nothing_to_save():
    with pytest.raises(Stopped):
        Stop()(signal.SIGUSR1, None)
    assert not stop_request.asked_to_stop()


@pytest.mark.usefixtures("steps")
def test_a_run_that_does_not_reach_a_place_where_it_can_be_saved_is_stopped_nevertheless(monkeypatch):
    monkeypatch.setattr(stop_signals, "SAVE_SECONDS", 0.05)

    def wait():
        with stops_cleanly():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        wait()
    assert time.monotonic() - began < 25
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_of_the_program_are_left_alone():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("own"))
    try:
        with stops_cleanly():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == ["own"]


def test_a_signal_that_is_ignored_stays_ignored_by_commands_too():
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with command_stopping.Stoppable(), stops_cleanly():
            assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before)


PROGRAM = [sys.executable, "-m", "clbench"]
LONG = ["--seeds", "1", "--set", "training.epochs=12"]


def begun(process: subprocess.Popen[str], out: Path) -> Path:
    """Wait until a cell has been trained for a while: its attempt gives signs of life."""
    seen: set[int] = set()
    for _ in range(4000):
        for path in out.glob("attempts/*.jsonl"):
            if path.read_bytes().endswith(b"\n"):  # its start is written
                seen.add(path.stat().st_mtime_ns)
            if len(seen) > 1:
                return path
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("no cell began")


@pytest.mark.parametrize(("number", "arguments"), [(signal.SIGTERM, ()), (signal.SIGUSR1, ("--in-process",))])
def test_a_signal_loses_no_step_of_a_long_cell_and_the_same_command_continues(tmp_path, monkeypatch, number, arguments):
    monkeypatch.delenv("CLBENCH_IN_PROCESS", raising=False)
    command = [*PROGRAM, "run", "split-digits", "--strategies", "er", *LONG, "--out", str(tmp_path), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    path = begun(process, tmp_path)
    process.send_signal(number)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 128 + number
    assert "stopped: 0 of 1 cell" in told
    [first] = read(path)
    assert first["ended"] == "stopped"
    assert first["lost_steps"] == 0
    assert first["to_step"] > 0
    snapshot = tmp_path / "partial" / f"{path.stem}.pt"
    assert place_of(snapshot).step == first["to_step"]

    subprocess.run(command, check=True, capture_output=True)
    [record] = store.load_all(tmp_path)
    assert [each["from_step"] for each in record.attempts] == [0, first["to_step"]]
    assert record.attempts[1]["ended"] == "done"
    assert not snapshot.exists()
    assert attempts_path(record.key, tmp_path).exists() is False


SCRIPT = """
import clbench
clbench.run("split-digits", strategies="er", seeds=1, overrides={"training.epochs": 12}, out=OUT)
"""


def test_a_script_that_is_ended_by_a_signal_saves_its_cell_and_ends_by_that_signal(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.replace("OUT", repr(str(tmp_path)))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    path = begun(process, tmp_path)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGTERM
    [first] = read(path)
    assert (first["ended"], first["lost_steps"]) == ("stopped", 0)
    assert place_of(tmp_path / "partial" / f"{path.stem}.pt").step == first["to_step"] > 0
