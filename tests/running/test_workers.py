"""What a part does to its process costs its own cell, and leaves nothing running."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import rogue_parts

import clbench
from clbench.core.errors import Refused
from clbench.running.executors import limits, worker_pool
from clbench.running.executors.limits import Limits
from clbench.testing import Broken, check_strategy
from clbench.testing.no_processes import no_processes

FILE = Path(rogue_parts.__file__)
FAST = {"training.epochs": 1, "evaluation.every": 0}


def rogues(*ways, folder="."):
    return [f"{FILE}:Rogue(how={way}, folder='{folder}')" for way in ways]


def started(folder):
    return {int(path.name.removeprefix("copy")) for path in folder.glob("copy*")}


def alive(pids):
    found = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


def gone(pids):
    """Whether all processes have ended, if need be in a moment."""
    for _ in range(100):
        if not alive(pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.filterwarnings("ignore:.*attempt 2 begins")
def test_whatever_ends_a_worker_costs_its_own_cell_and_nothing_else(monkeypatch):
    monkeypatch.setattr(worker_pool, "ATTEMPTS", 2)  # each start of a worker takes seconds
    ways = ["leave", "python_exit", "interrupt", "terminate"]
    records = clbench.run(
        "split-digits", strategies=[*rogues(*ways), "naive"], seeds=1, overrides=FAST, isolated=True
    )  # one job, and each cell after the first shows that the matrix has gone on
    assert [record.status for record in records] == ["failed"] * 4 + ["done"]
    reasons = [record.reason for record in records[:4]]
    assert reasons[0] == "its worker process died (exit code 7) in each of 2 attempts"
    assert reasons[1].startswith("it called sys.exit(3) (rogue_parts.py, line ")
    assert reasons[2].startswith("KeyboardInterrupt: it ended the cell (rogue_parts.py, line ")
    assert reasons[3] == "its worker process died (SIGTERM) in each of 2 attempts"


def test_in_the_callers_process_too_a_part_that_leaves_python_or_has_no_words_is_a_failed_record():
    records = clbench.run("split-digits", strategies=[*rogues("python_exit", "mute"), "naive"], seeds=1, overrides=FAST)
    assert [record.status for record in records] == ["failed", "failed", "done"]
    assert records[0].reason.startswith("it called sys.exit(3) (rogue_parts.py, line ")
    assert records[1].reason.startswith("Mute: (its message raised an error) (rogue_parts.py, line ")


def test_cells_that_take_more_time_or_memory_than_they_may_are_ended_with_the_reason():
    asked = {"seeds": 1, "overrides": FAST}
    [hung] = clbench.run("split-digits", strategies=rogues("hang"), time_limit=6, **asked)
    assert (hung.status, hung.reason) == ("failed", "it exceeded its time limit of 6 seconds")
    [swollen] = clbench.run("split-digits", strategies=rogues("swell"), memory_limit="1.2GB", **asked)
    assert swollen.status == "failed"
    assert swollen.reason.startswith("it held 1.")
    assert swollen.reason.endswith(" GB, more than its memory limit of 1.2 GB")


@pytest.mark.parametrize("isolated", [True, False])
def test_copies_that_a_part_makes_end_and_the_cell_is_as_if_there_were_none(tmp_path, isolated):
    seen, out = [], tmp_path / "out"

    def watch(event):
        if isinstance(event, clbench.Record):
            seen.append((os.getpid(), event.key))

    [record] = clbench.run(
        "split-digits", strategies=rogues("fork", folder=tmp_path), seeds=1, overrides=FAST, isolated=isolated, out=out,
        watch=watch,
    )  # fmt: skip
    [plain] = clbench.run("split-digits", strategies="naive", seeds=1, overrides=FAST)
    copies = started(tmp_path)
    assert len(copies) == rogue_parts.MOST
    assert gone(copies)
    assert seen == [(os.getpid(), record.key)]
    assert (record.status, record.trace.score.tolist()) == ("done", plain.trace.score.tolist())
    assert len(list((out / "records").glob("*.json"))) == 1


@pytest.mark.parametrize(("isolated", "ways"), [(True, ["fork_and_stay", "sleeper", "runaway"]), (False, ["sleeper"])])
def test_what_a_cell_has_started_ends_with_it(tmp_path, isolated, ways):
    records = clbench.run(
        "split-digits", strategies=rogues(*ways, folder=tmp_path), seeds=1, overrides=FAST, isolated=isolated
    )
    assert [record.status for record in records] == ["done"] * len(ways)
    assert len(started(tmp_path)) == len(ways)
    assert gone(started(tmp_path))


@pytest.mark.parametrize("way", ["fork", "sleeper"])
def test_the_contract_refuses_a_part_that_starts_processes_before_there_is_one(tmp_path, way):
    with pytest.raises(AssertionError) as told:
        check_strategy(rogues(way, folder=tmp_path)[0])
    [sentence] = str(told.value).splitlines()
    event = "os.fork" if way == "fork" else "subprocess.Popen"
    assert f"it starts a process ({event}, rogue_parts.py, line " in sentence
    assert not started(tmp_path)


def caught():
    with no_processes(), suppress(Broken):
        os.fork()


def test_the_contract_sees_a_process_although_the_part_has_caught_the_refusal(tmp_path):
    with pytest.raises(Broken, match=r"it starts a process \(os.fork, test_workers.py, line "):
        caught()


def test_a_cell_may_not_have_more_processes_than_allowed(tmp_path, monkeypatch):
    from clbench.running.executors import process_guard

    monkeypatch.setattr(process_guard, "MOST_PROCESSES", 0)
    [record] = clbench.run("split-digits", strategies=rogues("sleeper", folder=tmp_path), seeds=1, overrides=FAST)
    assert record.status == "failed"
    assert record.reason.startswith("RuntimeError: a cell may have 0 processes at a time, and started one more")
    assert not started(tmp_path)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ((90, None), Limits(90.0)),
        (("15m", "8GB"), Limits(900.0, 8 * 2**30)),
        (("2h", "500 MiB"), Limits(7200.0, 500 * 2**20)),
        (("1.5d", 10**9), Limits(129600.0, 10**9)),
    ],
)
def test_limits_are_read_with_their_units(written, meant):
    assert limits.limits(*written) == meant


def test_a_share_of_memory_is_of_what_this_machine_or_container_has(monkeypatch, tmp_path):
    (tmp_path / "max").write_text("1000000\n")
    monkeypatch.setattr(limits, "CGROUPS", (tmp_path / "none", tmp_path / "max"))
    assert limits.limits(memory_limit="50%") == Limits(None, 500_000)
    (tmp_path / "max").write_text("max\n")
    assert limits.machine_memory() == psutil.virtual_memory().total


@pytest.mark.parametrize("written", ["soon", "0", -5, "5 parsecs", ""])
def test_a_limit_that_cannot_be_read_is_refused(written):
    with pytest.raises(Refused, match=r"time_limit = .* cannot be read; write a number above 0 with a unit"):
        limits.limits(time_limit=written)
