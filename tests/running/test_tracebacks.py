"""Failed cells keep their traceback, in this process and in workers, without names of home folders."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call

import clbench
from clbench.core import store
from clbench.running import error_text
from clbench.running.error_text import short_paths, shortened, traceback_text
from clbench.running.executors import worker_pool
from clbench.running.executors.stack_file import StackFile, as_traceback

FAULTY = """
import ctypes
import os

from clbench import Part


def deeper(learner):
    return learner.nothing


class Wrong(Part):
    def gradient(self, learner, batch):
        try:
            deeper(learner)
        except AttributeError as error:
            raise ValueError("no such thing") from error


class Ends(Part):
    def gradient(self, learner, batch):
        raise KeyboardInterrupt


class Crashes(Part):
    def gradient(self, learner, batch):
        ctypes.string_at(0)
"""
SETTINGS = {"stream.dataset.train_rows": 100, "training.epochs": 1, "evaluation.every": 0}


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    (tmp_path / "faulty.py").write_text(FAULTY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return "faulty.py"


def test_a_failed_cell_keeps_the_traceback_with_its_cause_and_a_done_one_has_none(faulty, tmp_path):
    wrong, naive = clbench.run("split-digits", strategies=["faulty.py:Wrong", "naive"], seeds=1, overrides=SETTINGS,
                               out="out")  # fmt: skip
    lines = wrong.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert '  File "faulty.py", line 15, in gradient' in lines
    assert "AttributeError: 'Learner' object has no attribute 'nothing'" in lines
    assert "The above exception was the direct cause of the following exception:" in lines
    assert '  File "clbench/running/run_cell.py", line' in wrong.traceback
    assert lines[-1] == "ValueError: no such thing"
    assert str(tmp_path) not in wrong.traceback
    assert naive.traceback == ""
    read = store.load(store.record_path(wrong.key, Path("out")))
    assert read.traceback == wrong.traceback
    assert "traceback" not in json.loads(store.record_path(naive.key, Path("out")).read_text(encoding="utf-8"))
    assert store.load(store.record_path(naive.key, Path("out"))).traceback == ""


@pytest.mark.filterwarnings("ignore:.*attempt 2 begins")
def test_workers_keep_the_traceback_of_errors_and_crashes(faulty, monkeypatch):
    monkeypatch.setattr(worker_pool, "ATTEMPTS", 2)  # each start of a worker takes seconds
    names = ["faulty.py:Wrong", "faulty.py:Ends", "faulty.py:Crashes"]
    records = clbench.run("split-digits", strategies=names, seeds=1, overrides=SETTINGS, jobs=2)
    wrong, ends, crashes = records
    assert {record.status for record in records} == {"failed"}
    assert wrong.traceback.endswith("ValueError: no such thing")
    assert ends.traceback.endswith("KeyboardInterrupt")
    assert '  File "faulty.py", line 22, in gradient' in ends.traceback
    assert crashes.reason == "its worker process died (SIGSEGV) in each of 2 attempts"
    assert '  File "faulty.py", line 27 in gradient' in crashes.traceback
    assert crashes.traceback.splitlines()[-1] == "Fatal Python error: Segmentation fault"


def test_a_cell_that_exceeds_its_time_limit_keeps_where_it_was(faulty):
    [record] = clbench.run("split-digits", strategies="naive", seeds=1, overrides=SETTINGS, time_limit=0.1)
    assert record.reason == "it exceeded its time limit of 0.1 seconds"
    assert record.traceback.startswith("Traceback (most recent call last):")
    assert "_watch" not in record.traceback  # the thread that waits for the parent


HANGS = """
import os, sys, time
from clbench.running.executors.stack_file import write_stacks_to
write_stacks_to(int(sys.argv[1]))
def inner():
    print("ready", flush=True)
    time.sleep(600)
inner()
"""


def test_a_process_that_hangs_says_where_it_is_when_it_is_asked(tmp_path):
    file = StackFile()
    (tmp_path / "hangs.py").write_text(HANGS, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "hangs.py"), str(file.descriptor)], pass_fds=[file.descriptor],
        stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path(clbench.__file__).parents[1])},
    )  # fmt: skip
    try:
        assert process.stdout.readline() == b"ready\n"
        while 'hangs.py", line 7 in inner' not in (asked := file.ask(process.pid)):
            assert 'hangs.py", line 6 in inner' in asked  # it has printed, and does not sleep yet
        assert file.ask(process.pid) == file.ask(process.pid) != ""
        file.forget()
        assert file.crash() == ""
    finally:
        process.kill()
        process.communicate()
        file.close()


def test_show_prints_the_traceback_if_asked_and_says_how_otherwise(faulty):
    run = ["run", "split-digits", "--strategies", "faulty.py:Wrong", "--seeds", "1", "--out", "out", "--in-process"]
    answer = call(*run, *(word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")))
    assert answer.code == 1
    [record] = clbench.load("out").itertuples()
    assert f"`clbench show out {record.key[:6]} --traceback` shows where" in answer.err
    short = call("show", "out", record.key).out
    assert 'File "faulty.py", line 17, in gradient' in short
    assert f"`clbench show out {record.key[:6]} --traceback` shows all of it" in " ".join(short.split())
    assert "deeper" not in short
    whole = call("show", "out", record.key[:4], "--traceback").out
    assert whole.splitlines()[0] == "Traceback (most recent call last):"
    assert "    deeper(learner)" in whole
    assert whole.splitlines()[-1] == "ValueError: no such thing"


def test_show_says_why_there_is_no_traceback(tmp_path, faulty):
    [record] = clbench.run("split-digits", strategies="naive", seeds=1, overrides=SETTINGS, out="out")
    answer = call("show", "out", record.key, "--traceback")
    assert answer.code == 2
    assert "has no traceback: it is done" in answer.err
    assert "--traceback needs a record" in call("show", "er", "--traceback").err


def test_paths_are_relative_to_the_folder_where_one_looks_for_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    package = Path(clbench.__file__).parent
    python = Path(os.__file__)
    told = {
        f'File "{tmp_path}/idea.py"': 'File "idea.py"',
        f'File "{package}/training/loop.py"': 'File "clbench/training/loop.py"',
        f'File "{python}"': 'File "os.py"',
        'File "/home/someone/code/idea.py"': 'File "~/code/idea.py"',
        "no file /home/someone": "no file ~",
        "no file /home/someoneelse/x": "no file /home/someoneelse/x",
    }
    assert {text: short_paths(text) for text in told} == told


def test_a_message_of_a_record_names_no_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert error_text.story(OSError("no file /home/someone/x")).startswith("OSError: no file ~/x")


def test_a_very_long_traceback_keeps_its_beginning_and_its_end():
    text = "".join(f"{number:09}\n" for number in range(10_000))
    kept = shortened(text)
    assert len(kept) < 17_000
    assert kept.startswith("000000000\n")
    assert kept.endswith("000009999")
    assert "83999 characters are left out here" in kept  # 100 000 - 1 for the end of the last line - 4 000 - 12 000


def test_an_error_that_cannot_be_printed_has_a_traceback_too():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    with pytest.raises(Mute) as caught:
        raise Mute
    assert "in test_an_error_that_cannot_be_printed" in traceback_text(caught.value)


DUMP = """Thread 0x00007f (most recent call first):
  File "/x/clbench/running/executors/worker.py", line 9 in _watch
  File "/usr/lib/python3/threading.py", line 1 in run

Current thread 0x00008f (most recent call first):
  File "/x/mine.py", line 5 in gradient
  File "/x/clbench/running/executors/worker.py", line 7 in work
  File "<string>", line 1 in <module>
"""


def test_the_stack_of_the_thread_that_runs_a_cell_is_told_in_the_order_of_a_traceback():
    calls = [
        "Traceback (most recent call last):",
        '  File "<string>", line 1 in <module>',
        '  File "/x/clbench/running/executors/worker.py", line 7 in work',
        '  File "/x/mine.py", line 5 in gradient',
    ]
    assert as_traceback(DUMP).splitlines() == calls
    fatal = as_traceback(f"Fatal Python error: Bus error\n\n{DUMP}").splitlines()
    assert fatal == [*calls, "Fatal Python error: Bus error"]
    assert as_traceback("") == ""
    begin = DUMP[: DUMP.rindex('  File "/x/clbench')]
    deep = f"{begin}  ...\n"  # of a stack of more than 100 calls
    assert as_traceback(deep).splitlines() == [calls[0], "  ...", calls[-1]]
