"""A part under test starts no process, while a record may still ask the machine what it is."""

import subprocess
import sys

import pytest

from clbench.core import environment
from clbench.testing.no_processes import Starts, no_processes


def test_a_process_is_refused_before_it_starts_and_the_sentence_says_where(tmp_path):
    written = tmp_path / "written"
    with (
        pytest.raises(Starts, match=r"it starts a process \(subprocess\.Popen, test_no_processes\.py, line \d+\)"),
        no_processes(),
    ):
        subprocess.run([sys.executable, "-c", f"open({str(written)!r}, 'w')"], check=True)
    assert not written.exists()


def test_a_part_that_catches_the_refusal_is_told_of_it_all_the_same():
    def caught():
        try:
            subprocess.run([sys.executable, "-c", ""], check=True)
        except Exception:
            return

    with pytest.raises(Starts), no_processes():
        caught()


@pytest.mark.skipif(environment._commit() == "", reason="no checkout that git knows")
def test_what_a_record_says_of_its_machine_may_be_asked_of_programs(monkeypatch):
    expected = environment._commit()
    asked = []
    run = subprocess.run
    monkeypatch.setattr(environment.subprocess, "run", lambda *args, **kw: asked.append(args[0][0]) or run(*args, **kw))
    with no_processes():
        found = environment._commit()
    assert (found, asked) == (expected, ["git"])


def test_processes_may_be_started_before_and_after():
    with no_processes():
        pass
    done = subprocess.run([sys.executable, "-c", "print(7)"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "7"
