"""Several commands on one folder share its cells: none runs twice, all end with all records."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import call

import clbench
from clbench import api
from clbench.cli.driver_options import tell_waiting
from clbench.core import store
from clbench.core.errors import Refused
from clbench.running.claims import Claims
from clbench.running.execution import execute_plan
from clbench.running.executors import Elsewhere, Started
from clbench.running.plan import plan
from clbench.running.shards import Shard, read_shard, sharded
from clbench.running.shared_cells import Shared

SHORT = {"training.epochs": 1, "evaluation.every": 0}
SET = ("--set", "training.epochs=1", "--set", "evaluation.every=0")


def cells(seeds=2):
    overrides = [f"{name}={value}" for name, value in SHORT.items()]
    return plan("split-digits", strategies=["naive"], seeds=seeds, overrides=overrides).cells


DRIVER = f"""
import sys
import clbench
from clbench.running.executors import Started

def watch(event):
    if isinstance(event, Started):
        print(event.cell.key, flush=True)

print("ready", flush=True)
input()
records = clbench.run(
    "split-digits", strategies="naive, er, l2", seeds=4, overrides={SHORT!r}, out=sys.argv[1], watch=watch
)
print("all", len(records), *(record.status for record in records))
"""


def test_three_drivers_start_each_of_twelve_cells_once_and_all_have_all_records(tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    drivers = [subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)], **pipes) for _ in range(3)]
    for driver in drivers:
        assert driver.stdout.readline() == "ready\n"
    answers = []
    for driver in drivers:
        driver.stdin.write("\n")
        driver.stdin.flush()
    for driver in drivers:
        out, _ = driver.communicate(timeout=120)
        answers.append(out.split())
    starts = [word for words in answers for word in words[: words.index("all")]]
    assert len(starts) == 12
    assert sorted(starts) == sorted(path.stem for path in (tmp_path / "records").iterdir())
    assert all(words[words.index("all") :] == ["all", "12", *["done"] * 12] for words in answers)
    assert len(list((tmp_path / "traces").iterdir())) == 12
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plans", "records", "traces"]  # no claim is left
    assert len(list((tmp_path / "plans").iterdir())) == 1


def test_a_claimed_cell_is_for_others_to_wait_for_and_its_record_is_taken_over(tmp_path):
    both, heard = cells(), []
    first, second = Shared(both, tmp_path, heard.append), Shared(both, tmp_path, heard.append)
    a, b = first.take(), second.take()
    assert [a.seed, b.seed] == [0, 1]
    assert (first.take(), first.waiting) == (None, True)
    [record] = clbench.run("split-digits", strategies="naive", seeds=[1], overrides=SHORT)
    store.save(record, tmp_path)
    second.release(b.key)
    time.sleep(0.25)  # it searches again after a rest
    assert (first.take(), first.waiting) == (None, False)
    assert [each.key for each in heard] == [b.key]
    np.testing.assert_array_equal(heard[0].trace.score, record.trace.score)
    first.close()
    second.close()
    assert not (tmp_path / "claims").exists()


def test_a_record_written_between_reading_the_folder_and_claiming_is_not_computed_again(tmp_path):
    [cell] = cells(1)
    before: dict = {}  # the folder was read when it was empty
    [record] = clbench.run("split-digits", strategies="naive", seeds=1, overrides=SHORT, out=tmp_path)
    heard = []
    shared = Shared([cell], tmp_path, heard.append, before=before)
    assert shared.take() is None
    assert [each.created for each in heard] == [record.created]
    shared.close()


STOPS = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import clbench
from clbench.running.executors import Progress

def watch(event):
    if isinstance(event, Progress) and not Path(sys.argv[2]).exists():
        Path(sys.argv[2]).touch()
        os.kill(os.getpid(), signal.SIGSTOP)

[record] = clbench.run("split-digits", strategies="er", seeds=1, out=sys.argv[1], watch=watch)
print(record.status)
"""


def stopped_and_woken(tmp_path, seconds):
    """Stop a driver within its cell for longer than its claim lasts, let another one run the cell, and wake it."""
    out, environment = tmp_path / "out", {**os.environ, "CLBENCH_CLAIM_SECONDS": str(seconds)}
    marker = tmp_path / "stopped"
    driver = subprocess.Popen(
        [sys.executable, "-c", STOPS, str(out), str(marker)], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        while not marker.exists():
            assert driver.poll() is None
            time.sleep(0.05)
        began, started = time.monotonic(), []
        [other] = clbench.run("split-digits", strategies="er", seeds=1, out=out, watch=started.append)
        waited = time.monotonic() - began
        path = store.record_path(other.key, out)
        before = path.read_bytes(), path.stat().st_mtime_ns
        driver.send_signal(signal.SIGCONT)
        said, _ = driver.communicate(timeout=120)
    finally:
        driver.kill()
    assert sum(isinstance(event, Started) for event in started) == 1
    assert waited > seconds / 2
    assert said == "done\n"
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before  # the record that was there stands
    assert len(list((out / "traces").iterdir())) == 1
    assert not (out / "claims").exists()
    assert not (out / "conflicts").exists()


def test_a_driver_that_is_stopped_loses_its_cell_and_changes_nothing_when_it_wakes(tmp_path, monkeypatch):
    stopped_and_woken(tmp_path, 4.0)


@pytest.mark.slow
def test_a_driver_that_is_stopped_for_90_seconds_changes_nothing_when_it_wakes(tmp_path):
    stopped_and_woken(tmp_path, 60.0)


# --------------------------------------------------------------------------------------------------- no waiting


def test_no_wait_leaves_the_cells_of_others_with_a_sentence_and_exit_code_3(tmp_path):
    [_, second] = cells()
    theirs = Claims(tmp_path)
    theirs.take(second.key)
    answer = call("run", "split-digits", "--strategies", "naive", "--seeds", "2", *SET, "--out", tmp_path, "--no-wait")
    assert answer.code == 3
    assert f"naive, seed 1: on {theirs.me.host}, process {os.getpid()}" in answer.err
    assert f"other commands run the remaining 1 cell in {tmp_path}; `clbench status {tmp_path}`" in answer.err
    assert not (tmp_path / "leaderboard.md").exists()
    assert [record.seed for record in api.records(tmp_path)] == [0]
    records = clbench.run("split-digits", strategies="naive", seeds=2, overrides=SHORT, out=tmp_path, wait=False)
    assert [record.seed for record in records] == [0]
    theirs.close()
    records = clbench.run("split-digits", strategies="naive", seeds=2, overrides=SHORT, out=tmp_path, wait=False)
    assert [record.seed for record in records] == [0, 1]


def test_a_driver_whose_cells_others_run_waits_and_has_their_records(tmp_path):
    overrides = [f"{name}={value}" for name, value in SHORT.items()]
    made = plan("split-digits", strategies=["naive"], seeds=1, overrides=overrides)
    [cell] = made.cells
    theirs = Claims(tmp_path)
    theirs.take(cell.key)
    [record] = clbench.run("split-digits", strategies="naive", seeds=1, overrides=SHORT)
    heard = []

    def finish(*_):
        store.save(record, tmp_path)
        theirs.close()

    waits = []
    before = signal.signal(signal.SIGALRM, finish)
    signal.setitimer(signal.ITIMER_REAL, 1.5)
    try:
        outcome = execute_plan(made, out=tmp_path, watch=heard.append, waits=waits.append)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert waits == [1]
    assert [type(event) for event in heard] == [Elsewhere]
    assert outcome.records[0].created == record.created


def test_a_command_that_waits_says_so(capsys):
    tell_waiting(3)
    assert capsys.readouterr().err == (
        "clbench: other commands run the remaining 3 cells; this one waits, and takes over what they leave\n"
    )


# --------------------------------------------------------------------------------------------------- shards


@pytest.mark.parametrize("of", [1, 2, 3, 16, 50])
def test_the_shards_of_a_plan_hold_each_cell_once(of):
    whole = plan("split-digits", seeds=4)
    parts = [sharded(whole, Shard(number, of)) for number in range(1, of + 1)]
    assert sorted(cell.key for part in parts for cell in part.cells) == sorted(cell.key for cell in whole.cells)
    for part in parts:
        assert len(part.cells) + len(part.others) == len(whole.cells)
        assert {cell.key for cell in part.cells}.isdisjoint(part.others)


def test_a_cell_belongs_to_the_shard_of_its_keys_remainder():
    assert Shard(1, 16).holds("00000000000000a0")
    assert Shard(11, 16).holds("000000000000000a")
    assert not Shard(10, 16).holds("000000000000000a")
    assert read_shard(" 3 / 16 ") == Shard(3, 16)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("17/16", "shard = '17/16' does not exist; the shares of 16 are 1/16 to 16/16"),
        ("0/4", "shard = '0/4' does not exist; the shares of 4 are 1/4 to 4/4"),
        ("1/0", "shard = '1/0' does not exist; there must be at least one share, as in 1/1"),
        ("x", "shard = 'x' cannot be read; write the share and how many there are, such as 3/16"),
        ("-1/3", "shard = '-1/3' cannot be read"),
    ],
)
def test_a_shard_that_does_not_exist_is_refused(written, sentence):
    with pytest.raises(Refused, match=sentence.replace("/", r"\/")):
        clbench.run("split-digits", shard=written)


def test_the_table_of_a_shard_says_what_is_missing_until_all_shards_are_there(tmp_path):
    command = ("run", "split-digits", "--strategies", "naive, l2", "--seeds", "4", *SET, "--out", tmp_path)
    whole = plan("split-digits", strategies=["naive", "l2"], seeds=4, overrides=[f"{k}={v}" for k, v in SHORT.items()])
    here = [len(sharded(whole, Shard(number, 2)).cells) for number in (1, 2)]
    assert sum(here) == 8
    assert min(here) > 0
    first = call(*command, "--shard", "1/2")
    assert first.code == 0
    assert f"shard 1/2 holds {here[0]} of 8 cells." in first.out
    note = f"shard 1/2: {here[1]} of 8 cells are in other folders"
    assert note in first.out
    assert note in (tmp_path / "leaderboard.md").read_text()
    second = call(*command, "--shard", "2/2")
    assert second.code == 0
    assert "in other folders" not in second.out
    assert len(list((tmp_path / "records").iterdir())) == 8
    [manifest] = [p for p in (tmp_path / "plans").iterdir() if json.loads(p.read_text())["shard"] == "2/2"]
    assert json.loads(manifest.read_text())["command"].endswith("--shard 2/2")


def test_a_shard_without_cells_says_so_and_runs_nothing(tmp_path):
    whole = cells(1)
    empty = next(number for number in range(1, 10) if not Shard(number, 9).holds(whole[0].key))
    out = tmp_path / "out"
    answer = call(
        "run", "split-digits", "--strategies", "naive", "--seeds", "1", *SET, "--out", out, "--shard", f"{empty}/9"
    )
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"shard {empty}/9 holds 0 of 1 cell; there is nothing to run.\n"
    assert [path.relative_to(out).parts[0] for path in out.rglob("*") if path.is_file()] == ["plans"]  # for a merge
    records = clbench.run("split-digits", strategies="naive", seeds=1, overrides=SHORT, shard=f"{empty}/9")
    assert records == []


def test_damaged_records_are_put_aside_only_by_the_command_that_runs_the_cell_again(tmp_path):
    [record] = clbench.run("split-digits", strategies="naive", seeds=1, overrides=SHORT, out=tmp_path)
    path = store.record_path(record.key, tmp_path)
    path.write_text("{ half")
    theirs = Claims(tmp_path)
    theirs.take(record.key)
    clbench.run("split-digits", strategies="naive", seeds=1, overrides=SHORT, out=tmp_path, wait=False)
    assert path.read_text() == "{ half"
    theirs.close()
    with pytest.warns(UserWarning, match="its cell is run again"):
        clbench.run("split-digits", strategies="naive", seeds=1, overrides=SHORT, out=Path(tmp_path), wait=False)
    assert store.load(path).status == "done"


def test_a_different_record_that_another_command_has_written_meanwhile_stands_and_ours_is_a_conflict(tmp_path):
    [record] = clbench.run("split-digits", strategies="naive", seeds=1, overrides=SHORT)
    other = replace(record, trace=replace(record.trace, score=record.trace.score / 2))

    def watch(event):
        if isinstance(event, Started):
            store.save(other, tmp_path)

    with pytest.warns(
        UserWarning, match=r"another run of this cell had a different result \(.*the first record stands"
    ):
        [found] = clbench.run("split-digits", strategies="naive", seeds=1, overrides=SHORT, out=tmp_path, watch=watch)
    np.testing.assert_array_equal(found.trace.score, other.trace.score)
    [ours] = api.records(tmp_path / "conflicts")
    np.testing.assert_array_equal(ours.trace.score, record.trace.score)


def test_two_commands_that_run_stale_cells_again_share_them(tmp_path):
    arguments = {"strategies": "naive", "seeds": 2, "overrides": SHORT, "out": tmp_path}
    for record in clbench.run("split-digits", **arguments):
        store.amend(record.key, tmp_path, code={"engine": "0" * 16, "strategy": "0" * 16})
    started = []

    def count(event):
        started.extend([event.cell.seed] if isinstance(event, Started) else [])

    def watch(event):
        count(event)
        if started == [0]:  # a second command begins while the first one runs a cell
            clbench.run("split-digits", **arguments, rerun="stale", wait=False, watch=count)

    records = clbench.run("split-digits", **arguments, rerun="stale", watch=watch)
    assert started == [0, 1]
    assert [record.status for record in records] == ["done", "done"]
    assert clbench.status(tmp_path)["stale"] == []
