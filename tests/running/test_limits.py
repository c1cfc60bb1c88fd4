"""Processes and memory of a cell: found, counted and ended, on processes that are started for it."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from clbench.running.executors import limits, process_guard
from clbench.running.executors.limits import Limits

HOLD = (
    "import time; held = bytearray({size}); held[::4096] = b'x' * len(held[::4096]);"
    "print('ready', flush=True); time.sleep(60)"
)
PARENT = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    "print(child.pid, flush=True); child.wait()"
)


@pytest.fixture
def start():
    """Start Python with some code, and wait for its first line; all that was started is ended afterwards."""
    running = []

    def started(code, **options):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options)
        running.append(process)
        return process, process.stdout.readline().strip()

    yield started
    for process in running:
        limits.end([*limits.descendants(process.pid), process.pid])
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 MB"),
        (1 << 20, "1 MB"),
        (1536 << 20, "1.5 GB"),
        (1 << 30, "1 GB"),
        (100 << 30, "100 GB"),
        (5 << 19, "2.5 MB"),
    ],
)
def test_sizes_are_written_in_the_unit_that_people_read(count, text):
    assert limits.size_text(count) == text


@pytest.mark.parametrize(("found", "given"), [(Limits(), False), (Limits(seconds=1.0), True), (Limits(memory=1), True)])
def test_a_limit_is_given_if_either_is(found, given):
    assert found.given is given


def test_resident_memory_counts_what_processes_hold(start):
    small, _ = start(HOLD.format(size=1 << 20))
    large, _ = start(HOLD.format(size=65 << 20))
    difference = limits.resident([large.pid]) - limits.resident([small.pid])
    assert 60 << 20 < difference < 70 << 20
    assert limits.resident([small.pid, large.pid]) == pytest.approx(
        limits.resident([small.pid]) + limits.resident([large.pid]), rel=0.01
    )


def test_a_process_that_is_gone_holds_nothing_and_has_started_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert limits.resident([process.pid]) == 0
    assert limits.descendants(process.pid) == []
    limits.end([process.pid])  # ending it again is no error


def test_descendants_are_children_and_theirs(start):
    parent, grandchild = start(PARENT)
    assert limits.descendants(parent.pid) == [int(grandchild)]
    assert {parent.pid, int(grandchild)} <= set(limits.descendants(os.getpid()))


def test_processes_that_are_ended_are_gone_when_the_call_returns(start):
    process, _ = start(HOLD.format(size=1))
    limits.end([process.pid])
    assert not psutil.pid_exists(process.pid)


def test_processes_are_found_by_the_mark_in_their_environment(start):
    name = "CLBENCH_TEST_MARK"
    one, _ = start(HOLD.format(size=1), env={**os.environ, name: "a"})
    start(HOLD.format(size=1), env={**os.environ, name: "b"})
    assert limits.marked(name, "a") == [one.pid]
    assert limits.marked(name, "c") == []


def test_the_process_itself_is_not_among_those_that_are_marked(monkeypatch):
    monkeypatch.setenv("CLBENCH_TEST_MARK", "own")
    assert limits.marked("CLBENCH_TEST_MARK", "own") == []


# ---------------------------------------------------------------------------------------------- one process


def test_children_are_those_that_run(start):
    before = process_guard.children()
    process, _ = start(HOLD.format(size=1))
    assert process_guard.children() - before == {process.pid}


def test_what_was_started_in_between_is_ended_and_what_was_there_before_is_not(start):
    old, _ = start(HOLD.format(size=1))
    before = process_guard.children()
    new, grandchild = start(PARENT)
    assert set(process_guard.left_behind(before)) == {new.pid, int(grandchild)}
    assert not psutil.pid_exists(int(grandchild)) or psutil.Process(int(grandchild)).status() == psutil.STATUS_ZOMBIE
    assert old.poll() is None


def test_processes_that_a_cell_starts_are_counted_from_its_beginning():
    for times in (2, 1):
        with process_guard.one_process():
            assert process_guard.started() == 0
            for _ in range(times):
                subprocess.run([sys.executable, "-c", ""], check=True)
            assert process_guard.started() >= times
    count = process_guard.started()
    subprocess.run([sys.executable, "-c", ""], check=True)
    assert process_guard.started() == count  # outside of a cell nothing is counted


def test_a_copy_of_the_process_ends_where_the_cell_ends_and_without_a_word():
    code = (
        "import os, sys\n"
        "from clbench.running.executors.process_guard import one_process\n"
        "with one_process():\n"
        "    child = os.fork()\n"
        "    if child:\n"
        "        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "        print('original', code, flush=True)\n"
        "print('after', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "original 0\nafter\n"
    assert done.stderr == ""


def test_more_processes_at_a_time_than_allowed_are_refused_and_one_after_another_are_not(monkeypatch, start):
    monkeypatch.setattr(process_guard, "MOST_PROCESSES", 2)
    with process_guard.one_process():
        for _ in range(5):
            subprocess.run([sys.executable, "-c", ""], check=True)
        deadline = time.monotonic() + 10
        while limits.descendants(os.getpid()) and time.monotonic() < deadline:
            time.sleep(0.01)
        start(HOLD.format(size=1))
        start(HOLD.format(size=1))
        with pytest.raises(RuntimeError, match="2 processes at a time"):
            subprocess.run([sys.executable, "-c", ""], check=True)
