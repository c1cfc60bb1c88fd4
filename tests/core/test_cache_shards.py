"""A cache that may be deleted, damaged or shared at any time, and never changes a result."""

from __future__ import annotations

import json
import math
import os

import pytest

from clbench.core.cache_shards import MOST_FILES, CacheShards


def files(directory):
    return sorted(path.name for path in (directory / ".cache").glob("*.json"))


def saved(directory, version="1", **entries):
    made = CacheShards(directory, "metrics", version)
    for key, entry in entries.items():
        made.put(key, entry)
    made.save()


def test_entries_come_back_with_all_bits(tmp_path):
    numbers = [0.1 + 0.2, math.inf, -0.0, 5e-324, "undefined: no task was visited"]
    saved(tmp_path, a=numbers)
    found = CacheShards(tmp_path, "metrics", "1").get("a")
    assert list(map(repr, found)) == list(map(repr, numbers))
    assert CacheShards(tmp_path, "metrics", "1").get("b") is None


def test_files_of_several_processes_are_read_together(tmp_path):
    one, other = (CacheShards(tmp_path, "metrics", "1") for _ in range(2))
    assert (one.get("a"), other.get("b")) == (None, None)  # both have read the empty folder
    one.put("a", 1)
    other.put("b", 2)
    one.save()
    other.save()
    third = CacheShards(tmp_path, "metrics", "1")
    assert (third.get("a"), third.get("b")) == (1, 2)
    assert len(files(tmp_path)) == 2


def test_many_files_become_one_with_all_entries(tmp_path):
    for number in range(3 * MOST_FILES):
        made = CacheShards(tmp_path, "metrics", "1")
        assert made.get(f"{number - 1}") == (number - 1 if number else None)
        made.put(str(number), number)
        made.save()
        assert len(files(tmp_path)) <= MOST_FILES
    last = CacheShards(tmp_path, "metrics", "1")
    assert [last.get(str(number)) for number in range(3 * MOST_FILES)] == list(range(3 * MOST_FILES))


def test_entries_of_another_version_are_never_read_and_go_when_new_ones_are_saved(tmp_path):
    saved(tmp_path, "1", a=1)
    assert CacheShards(tmp_path, "metrics", "2").get("a") is None
    saved(tmp_path, "2", a=2)
    assert [name.split("-")[1] for name in files(tmp_path)] == ["2"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-7],
        lambda content: content.replace(b'"a":1', b'"a":7'),
        lambda content: b"\x00" * len(content),
        lambda content: content.partition(b"\n")[2],
        lambda content: b'{"a": 7}',
    ],
)
def test_a_damaged_file_counts_as_absent(tmp_path, damage):
    saved(tmp_path, a=1)
    path = tmp_path / ".cache" / files(tmp_path)[0]
    path.write_bytes(damage(path.read_bytes()))
    saved(tmp_path, b=2)
    made = CacheShards(tmp_path, "metrics", "1")
    assert (made.get("a"), made.get("b")) == (None, 2)


def test_a_folder_that_cannot_be_written_or_is_a_file_costs_no_word(tmp_path):
    (tmp_path / ".cache").write_text("mine")
    saved(tmp_path, a=1)
    assert (tmp_path / ".cache").read_text() == "mine"
    gone = tmp_path / "gone"
    saved(gone, a=1)
    assert not gone.exists()


def test_a_folder_that_is_deleted_while_it_is_used_is_made_again(tmp_path):
    made = CacheShards(tmp_path, "metrics", "1")
    saved(tmp_path, a=1)
    assert made.get("a") == 1
    for path in (tmp_path / ".cache").iterdir():
        path.unlink()
    os.rmdir(tmp_path / ".cache")
    made.put("b", 2)
    made.save()
    assert CacheShards(tmp_path, "metrics", "1").get("b") == 2


def test_version_control_leaves_the_folder_out(tmp_path):
    saved(tmp_path, a=1)
    assert (tmp_path / ".cache" / ".gitignore").read_text() == "*\n"
    content = (tmp_path / ".cache" / files(tmp_path)[0]).read_bytes()
    assert json.loads(content.partition(b"\n")[2]) == {"a": 1}
