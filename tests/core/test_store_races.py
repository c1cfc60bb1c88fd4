"""Several processes write one record at once: one record with its own trace stands, whoever was faster."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import dipping, record

from clbench.core import atomic_files, store
from clbench.core.notices import Notice
from clbench.core.trace_equality import trace_digest

WRITER = """
import sys, warnings
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from synthetic import dipping, record
from clbench.core import store
out, me, rounds, first = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
made = [record("er", seed, dipping(me, tasks=2, length=4)) for seed in range(rounds)]
failed = [record("er", seed, status="failed", reason="it failed") for seed in range(rounds)]
print("ready", flush=True)
sys.stdin.readline()
wins = 0
for lost, one in zip(failed, made):
    if first == "failed":
        store.publish(lost, out)
    wins += store.publish(one, out) is None
print(wins)
"""


def written_at_once(out, processes, rounds, first="nothing"):
    """The number of records that each of some processes wrote, while all write the same ones with traces of theirs."""
    command = [sys.executable, "-c", WRITER, str(Path(__file__).parents[1]), str(out)]
    started = [
        subprocess.Popen(
            [*command, str(me), str(rounds), first], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for me in range(processes)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    return [int(process.communicate(timeout=300)[0]) for process in started]


@pytest.mark.parametrize("first", ["nothing", "failed"])
@pytest.mark.parametrize(("processes", "rounds"), [(2, 60), pytest.param(4, 500, marks=pytest.mark.slow)])
def test_of_processes_that_write_one_record_exactly_one_succeeds_with_its_own_trace(tmp_path, processes, rounds, first):
    wins = written_at_once(tmp_path, processes, rounds, first)
    if first == "nothing":
        assert sum(wins) == rounds
    found = list(store.load_all(tmp_path))  # no notice: nothing is damaged
    digests = [trace_digest(dipping(me, tasks=2, length=4)) for me in range(processes)]
    assert len(found) == rounds
    assert {each.status for each in found} == {"done"}
    assert {each.trace_digest for each in found} <= set(digests)
    assert [path.name for path in tmp_path.rglob(".*")] == []


def test_a_record_that_stands_is_returned_and_not_replaced(tmp_path):
    one, other = (record("er", 0, dipping(seed, tasks=2, length=4)) for seed in (0, 1))
    assert store.publish(one, tmp_path) is None
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    standing = store.publish(other, tmp_path)
    np.testing.assert_array_equal(standing.trace.score, one.trace.score)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_failed_record_does_not_stand(tmp_path):
    done, failed = record("er", 0, dipping(0)), record("er", 0, status="failed", reason="no memory")
    later = replace(failed, reason="no disk")
    assert [store.publish(each, tmp_path) for each in (failed, later, done)] == [None, None, None]
    assert store.publish(failed, tmp_path).status == "done"


def test_a_damaged_record_does_not_stand_and_lies_with_its_trace_in_the_folder_of_damaged_ones(tmp_path):
    made = record("er", 0, dipping(0))
    path = store.save(made, tmp_path)
    path.write_text("{}")
    assert store.publish(made, tmp_path) is None
    assert store.load(path).status == "done"
    assert (tmp_path / "damaged" / "records" / path.name).read_text() == "{}"
    assert (tmp_path / "damaged" / "traces" / f"{made.key}.npz").exists()


def test_without_links_a_record_is_written_and_the_first_one_still_stands(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(atomic_files.os, "link", refuse)
    one, other = (record("er", 0, dipping(seed, tasks=2, length=4)) for seed in (0, 1))
    assert store.publish(one, tmp_path) is None
    assert store.publish(other, tmp_path).trace_digest == trace_digest(one.trace)


def test_a_writer_that_dies_between_a_record_and_the_name_of_its_trace_loses_nothing(tmp_path):
    made, read_only = record("er", 0, dipping(0)), record("er", 1, dipping(1))
    for each in (made, read_only):
        path = store.save(each, tmp_path)
        content = json.loads(path.read_text())
        trace = store.trace_path(each.key, tmp_path)
        trace.rename(trace.with_name(f".{each.key}.{content['sums']['trace']}.npz"))
    assert [each.trace_digest for each in store.load_all(tmp_path)] == sorted_digests(made, read_only)
    assert sorted(path.name for path in (tmp_path / "traces").iterdir()) == sorted(
        f"{each.key}.npz" for each in (made, read_only)
    )


def sorted_digests(*records):
    return [trace_digest(each.trace) for each in sorted(records, key=lambda each: each.key)]


def test_the_trace_of_a_writer_that_died_before_its_record_is_never_taken_for_that_of_another(tmp_path):
    died, later = (record("er", 0, dipping(seed, tasks=2, length=4)) for seed in (0, 1))
    path = store.save(died, tmp_path)
    path.unlink()
    assert store.publish(later, tmp_path) is None
    assert store.load(path).trace_digest == trace_digest(later.trace)


def test_fields_outside_the_key_are_changed_and_the_trace_keeps_its_bytes(tmp_path):
    made = record("er", 0, dipping(0))
    path = store.save(made, tmp_path)
    before = store.trace_path(made.key, tmp_path).read_bytes()
    store.amend(made.key, tmp_path, label="replay", code={"engine": "0" * 16})
    found = store.load(path)
    assert (found.label, found.code) == ("replay", {"engine": "0" * 16})
    assert store.trace_path(made.key, tmp_path).read_bytes() == before


def test_a_digest_that_is_not_that_of_the_trace_is_damage(tmp_path):
    made = record("er", 0, dipping(0, tasks=2, length=4))
    path = store.save(made, tmp_path)
    forged = store.record_file.encoded(
        replace(made, trace=dipping(1, tasks=2, length=4)), store.trace_path(made.key, tmp_path).read_bytes()
    )
    path.write_bytes(forged)
    with pytest.raises(store.Damaged, match="its digest differs"):
        store.load(path)


def test_many_damaged_and_foreign_files_are_named_in_one_line_each(tmp_path):
    made = [record("er", seed, dipping(seed, tasks=2, length=4)) for seed in range(8)]
    paths = sorted(store.save(each, tmp_path) for each in made)
    paths[0].write_bytes(b"")
    for path in paths[1:7]:
        path.write_text("{}")
    folder = tmp_path / "records"
    for name in ("._a.json", ".DS_Store", "notes.json", f"{made[0].key} 2.json", "Thumbs.db"):
        (folder / name).write_text("{}")
    (folder / "damaged").mkdir()  # into which earlier versions moved damaged records
    (folder / f".{made[0].key}.json.4711.0a0b").write_text("{ half")  # of a writer that was killed
    before = sorted(path.name for path in folder.iterdir())
    with pytest.warns(Notice) as told:
        [found] = store.load_all(tmp_path)
    assert found.key == paths[7].stem
    foreign, damaged = (str(each.message) for each in told)
    assert foreign.startswith(f"left out of {folder}: 5 files that are no records: .DS_Store, ._a.json, ")
    assert foreign.endswith(", ...")
    assert damaged.startswith(
        f"left out of {tmp_path}: 7 damaged records: {paths[0].name} (it is cut off or edited: Expecting value"
    )
    assert damaged.endswith(", ...; run their benchmarks again")
    assert sorted(path.name for path in folder.iterdir()) == before


def test_spare_traces_of_killed_writers_are_removed_when_a_record_stands(tmp_path):
    died, later, other = (record("er", seed, dipping(0, tasks=2, length=4)) for seed in (0, 0, 1))
    traces = tmp_path / "traces"
    store.save(other, tmp_path)
    left = [traces / f".{each.key}.{'0' * 16}.npz" for each in (died, other)]
    for path in left:
        path.write_bytes(b"of a writer that was killed")
    assert store.publish(later, tmp_path) is None
    assert [path.exists() for path in left] == [False, True]


def test_a_folder_that_can_only_be_read_is_read_whole(tmp_path, monkeypatch):
    made = record("er", 0, dipping(0))
    path = store.save(made, tmp_path)
    trace = store.trace_path(made.key, tmp_path)
    spare = trace.with_name(f".{made.key}.{json.loads(path.read_text())['sums']['trace']}.npz")
    trace.rename(spare)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    for name in ("replace", "rename", "unlink", "mkdir", "touch"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(atomic_files.os, "fsync", refuse)
    [found] = store.load_all(tmp_path)
    assert found.trace_digest == trace_digest(made.trace) == trace_digest(found.trace)
    assert spare.exists()


def test_a_link_that_leads_nowhere_is_moved_away_and_the_record_is_written(tmp_path):
    made = record("er", 0, dipping(0))
    path = store.record_path(made.key, tmp_path)
    path.parent.mkdir()
    path.symlink_to(tmp_path / "nowhere")
    assert store.publish(made, tmp_path) is None
    assert store.load(path).status == "done"
    assert (tmp_path / "damaged" / "records" / path.name).is_symlink()
