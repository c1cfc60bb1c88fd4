"""Temporary files: their names, and what is removed after the process that made them was killed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clbench.core import temporary_files
from clbench.core.atomic_files import write
from clbench.core.temporary_files import LEFT_SECONDS, is_temporary, remove_left, temporary_beside

DIES = """
import os, signal, sys
from pathlib import Path
from clbench.core import atomic_files
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
atomic_files.write(Path(sys.argv[1]), b"content")
"""


def killed_while_writing(path):
    done = subprocess.run([sys.executable, "-c", DIES, str(path)], check=False)
    assert done.returncode == -9
    [left] = path.parent.iterdir()
    return left


def old(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_no_two_names_are_equal_and_they_are_hidden_beside_the_file():
    path = Path("records") / "0123456789abcdef.json"
    one, other = temporary_beside(path), temporary_beside(path)
    assert one != other
    assert one.parent == path.parent
    assert is_temporary(one.name)
    assert one.name.startswith(f".0123456789abcdef.json.{os.getpid()}.")


def test_names_of_others_are_not_temporary():
    for name in (
        ".DS_Store",
        "._0123456789abcdef.json",
        ".cache",
        ".x.12.abc",
        "a.json.12.0123456789abcdef",
        ".merge.json",
    ):
        assert not is_temporary(name)


def test_the_file_of_a_process_that_was_killed_is_removed_at_once_and_one_of_this_process_stays(tmp_path):
    left = killed_while_writing(tmp_path / "record.json")
    assert is_temporary(left.name)
    mine = temporary_beside(tmp_path / "mine.json")
    mine.write_bytes(b"being written")
    (tmp_path / ".DS_Store").write_bytes(b"of somebody else")
    remove_left(tmp_path, tmp_path / "missing")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".DS_Store", mine.name])


def test_the_file_of_another_machine_is_removed_after_ten_minutes_without_a_change(tmp_path, monkeypatch):
    monkeypatch.setattr(temporary_files, "_here", lambda: "0123abcd")
    left = killed_while_writing(tmp_path / "record.json")  # its place is not the one that this process has now
    remove_left(tmp_path)
    assert left.exists()
    old(left, LEFT_SECONDS - 60)
    remove_left(tmp_path)
    assert left.exists()
    old(left, LEFT_SECONDS + 60)
    remove_left(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [f".{'0' * 16}.{'a' * 16}.npz", f".now.{'b' * 16}", f".writable.{'c' * 16}"])
def test_a_temporary_file_that_names_no_process_is_removed_after_ten_minutes(tmp_path, name):
    (tmp_path / name).touch()
    remove_left(tmp_path)
    assert (tmp_path / name).exists()
    old(tmp_path / name, LEFT_SECONDS + 60)
    remove_left(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_where_machines_cannot_be_told_apart_only_age_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(temporary_files, "_here", lambda: temporary_files.UNKNOWN)
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    path = tmp_path / f".a.json.{int(ended.stdout)}.{temporary_files.UNKNOWN}0123abcd"
    path.touch()
    remove_left(tmp_path)
    assert path.exists()


def test_a_folder_that_was_copied_in_part_is_removed_too(tmp_path):
    left = killed_while_writing(tmp_path / "x")
    folder = tmp_path / left.name.replace(".x.", ".models.")
    left.unlink()
    (folder / "inner").mkdir(parents=True)
    remove_left(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_written_through_a_temporary_name(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.extend(path.name for path in tmp_path.iterdir()))
    write(tmp_path / "a.json", b"content")
    assert [is_temporary(name) for name in seen] == [True]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
