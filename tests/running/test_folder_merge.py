"""Merged result folders: each cell once, what contradicts each other apart, whatever interrupts the merge."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import FAST, call
from synthetic import flat, folder, record

import clbench
from clbench.core import record_file, store
from clbench.core.errors import Refused
from clbench.core.notices import Notice
from clbench.running.folder_merge import distinct_names

BASELINES = Path(__file__).parents[2] / "baselines"


def files(path):
    """The files below a folder: name -> content."""
    return {each.relative_to(path).as_posix(): each.read_bytes() for each in path.rglob("*") if each.is_file()}


def er(seed, acc=0.5, **changes):
    return replace(record("er", seed, flat(acc)), **changes)


def kept(path, key, kind, name, content):
    target = path / kind / name.format(key)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


# --------------------------------------------------------------------------------------------------- distinct cells


def test_distinct_cells_are_copied_byte_for_byte_with_all_that_is_kept_beside_them(tmp_path):
    a, b = folder(tmp_path / "A", er(0), er(1)), folder(tmp_path / "B", er(2), record("naive", 0, status="failed"))
    kept(a, er(0).key, "models", "{}.pt", b"model")
    kept(a, er(0).key, "models", "{}/0.pt", b"after experience 0")
    kept(b, er(2).key, "predictions", "{}.parquet", b"predictions")
    kept(a, er(1).key, "claims", "{}", b"a claim")
    kept(a, "0123", "plans", "{}.json", b"a plan")
    kept(b, "4567", "plans", "{}.json", b"another plan")
    kept(a, "0" * 16, "partial", "{}.pt", b"a checkpoint")
    before = files(a), files(b)
    told = clbench.merge(a, b, out=tmp_path / "C")
    left_out = {f"claims/{er(1).key}", f"partial/{'0' * 16}.pt", "plans/0123.json", "plans/4567.json"}
    assert files(tmp_path / "C") == {k: v for k, v in {**files(a), **files(b)}.items() if k not in left_out}
    assert (files(a), files(b)) == before
    assert (told["cells"], told["taken"], told["equal"]) == (4, {str(a): 2, str(b): 2}, 0)
    assert [r.status for r in store.load_all(tmp_path / "C")].count("done") == 3


def test_records_of_older_formats_are_copied_as_they_are(tmp_path):
    one, other = BASELINES / "rotated-mnist", BASELINES / "cir-mnist-short"
    formats = [json.loads(next((path / "records").glob("*.json")).read_text())["format"] for path in (one, other)]
    assert formats == [1, 2]
    told = clbench.merge(one, other, out=tmp_path / "C")
    held = {**files(one), **files(other)}
    assert files(tmp_path / "C") == {k: v for k, v in held.items() if k.split("/")[0] in ("records", "traces")}
    assert told["cells"] == len(list((tmp_path / "C" / "records").iterdir()))


def test_a_trace_that_still_has_its_spare_name_is_copied_under_its_own(tmp_path, monkeypatch):
    a, b = folder(tmp_path / "A", er(0)), folder(tmp_path / "B", er(1))
    path = store.trace_path(er(0).key, a)
    content, rename = path.read_bytes(), Path.replace
    spare = path.with_name(f".{er(0).key}.{record_file.checksum(content)}.npz")
    path.rename(spare)
    path.write_bytes(store.trace_path(er(1).key, b).read_bytes())  # of an older record
    monkeypatch.setattr(Path, "replace", lambda self, to: self if self == spare else rename(self, to))  # read-only
    assert clbench.merge(a, b, out=tmp_path / "C")["cells"] == 2
    assert files(tmp_path / "C")[f"traces/{er(0).key}.npz"] == content
    assert len(list(store.load_all(tmp_path / "C"))) == 2


def test_checkpoints_and_starts_of_cells_that_nobody_has_finished_are_copied_if_asked_for(tmp_path):
    import os

    a, b = folder(tmp_path / "A", er(0)), folder(tmp_path / "B", er(1))
    running = er(5).key
    for path, content, when in ((a, b"later", 2_000_000_000), (b, b"earlier", 1_000_000_000)):
        kept(path, running, "partial", "{}.pt", content)
        os.utime(path / "partial" / f"{running}.pt", (when, when))
        kept(path, running, "attempts", "{}.jsonl", content + b" starts")
    kept(a, er(1).key, "partial", "{}.pt", b"B has finished this cell")
    told = clbench.merge(a, b, out=tmp_path / "C", snapshots=True)
    made = files(tmp_path / "C")
    assert {name: made[name] for name in made if "partial" in name or "attempts" in name} == {
        f"partial/{running}.pt": b"later", f"attempts/{running}.jsonl": b"later starts"
    }  # fmt: skip
    assert told["snapshots"] == 1


# --------------------------------------------------------------------------------------------------- equal cells


def test_an_equal_cell_is_copied_once_with_the_files_that_either_folder_has(tmp_path):
    first, second = er(0), er(0, attempts=({"began": "x"}, {"began": "y"}), code={"engine": "e", "strategy": "s"})
    a, b = folder(tmp_path / "A", first), folder(tmp_path / "B", second)
    kept(a, first.key, "models", "{}.pt", b"model")
    kept(b, first.key, "predictions", "{}.parquet", b"predictions")
    told = clbench.merge(a, b, out=tmp_path / "C")
    assert files(tmp_path / "C") == {**files(a), **files(b)}
    assert (told["cells"], told["equal"], told["taken"]) == (1, 1, {str(a): 0, str(b): 1})


@pytest.mark.parametrize(
    ("ours", "theirs", "winner"),
    [
        ({"code": {"engine": "e"}, "created": "2024"}, {"created": "2025", "attempts": ({}, {})}, "A"),
        ({"attempts": ({},), "created": "2025"}, {"attempts": ({}, {}), "created": "2024"}, "B"),
        ({"created": "2024"}, {"created": "2025"}, "B"),
        ({"created": "2025"}, {"created": "2025"}, "A"),
    ],
)
def test_of_equal_records_known_code_wins_then_more_attempts_then_the_later_one_then_the_first(
    tmp_path, ours, theirs, winner
):
    a, b = folder(tmp_path / "A", er(0, **ours)), folder(tmp_path / "B", er(0, **theirs))
    clbench.merge(a, b, out=tmp_path / "C")
    assert files(tmp_path / "C") == files(tmp_path / winner)


def test_a_trace_of_an_older_version_that_recorded_fewer_columns_is_equal(tmp_path):
    newer = er(0, created="2030")
    newer = replace(newer, trace=replace(newer.trace, masked=newer.trace.score))
    told = clbench.merge(folder(tmp_path / "A", er(0)), folder(tmp_path / "B", newer), out=tmp_path / "C")
    assert (told["equal"], told["conflicts"]) == (1, [])
    assert files(tmp_path / "C") == files(tmp_path / "B")


@pytest.mark.parametrize("status", ["done", "diverged", "skipped"])
def test_a_failed_cell_loses_against_one_that_another_folder_has_finished(tmp_path, status):
    done = replace(er(0), status=status, created="2000")
    failed = replace(er(0), status="failed", reason="it took too long", trace=None, created="2030")
    a, b = folder(tmp_path / "A", failed), folder(tmp_path / "B", done)
    kept(a, done.key, "predictions", "{}.parquet", b"of a run that failed")
    told = clbench.merge(a, b, out=tmp_path / "C")
    assert files(tmp_path / "C") == files(b)
    assert (told["equal"], told["conflicts"]) == (0, [])


# --------------------------------------------------------------------------------------------------- conflicts


def test_different_results_of_one_cell_are_both_kept_in_folders_that_a_board_reads_and_in_no_number(tmp_path):
    a, b = folder(tmp_path / "A", er(0, 0.5), er(1)), folder(tmp_path / "B", er(0, 0.6), er(2))
    kept(b, er(0).key, "models", "{}.pt", b"model of B")
    answer = call("merge", a, b, "-o", tmp_path / "C")
    assert (answer.code, answer.err) == (1, "")
    assert sorted(r.seed for r in store.load_all(tmp_path / "C")) == [1, 2]
    kept_a, kept_b = (tmp_path / "C" / "conflicts" / name for name in "AB")
    assert [r.key for r in store.load_all(kept_a)] == [r.key for r in store.load_all(kept_b)] == [er(0).key]
    assert files(kept_a).items() <= files(a).items()
    assert files(kept_b).items() <= files(b).items()
    assert files(kept_b)[f"models/{er(0).key}.pt"] == b"model of B"
    assert (
        "  split-digits@1, er, seed 0: the first difference is at the start: accuracy on task 0 is 40 % and 50 % "
        f"[{er(0).key[:6]}: conflicts/A, conflicts/B]"
    ) in answer.out.splitlines()
    assert call("board", kept_a).code == 0


def test_of_three_folders_two_that_agree_are_kept_once_beside_the_third(tmp_path):
    a, b, c = (folder(tmp_path / name, er(0, acc)) for name, acc in (("A", 0.5), ("B", 0.6), ("C", 0.5)))
    told = clbench.merge(a, b, c, out=tmp_path / "all")
    [conflict] = told["conflicts"]
    assert conflict["folders"] == ["conflicts/A", "conflicts/B"]
    assert told["cells"] == 0


def test_another_status_of_a_finished_cell_is_a_conflict(tmp_path):
    diverged = replace(er(0), status="diverged", reason="not finite after step 3", trace=None)
    told = clbench.merge(folder(tmp_path / "A", er(0)), folder(tmp_path / "B", diverged), out=tmp_path / "C")
    assert [each["text"] for each in told["conflicts"]] == ["done and diverged (not finite after step 3)"]


def test_folders_of_one_name_are_told_apart_by_those_above_them(tmp_path):
    a, b = folder(tmp_path / "x" / "res", er(0, 0.5)), folder(tmp_path / "y" / "res", er(0, 0.6))
    [conflict] = clbench.merge(a, b, out=tmp_path / "C")["conflicts"]
    assert conflict["folders"] == ["conflicts/x-res", "conflicts/y-res"]
    assert distinct_names([Path("/res"), Path("/y/res")]) == ["res", "y-res"]


def test_a_share_that_holds_no_cell_is_merged_with_the_others(tmp_path):
    shares = [tmp_path / f"s{number}" for number in (1, 2, 3)]
    for number, out in enumerate(shares, 1):
        answer = call(
            "run", "split-digits", "--strategies", "naive", "--seeds", "1", "--shard", f"{number}/3", "--out", out,
            *FAST, "--set", "evaluation.every=0",
        )  # fmt: skip
        assert (answer.code, answer.err) == (0, "")
    assert sorted(len(list((out / "records").glob("*"))) for out in shares) == [0, 0, 1]
    told = clbench.merge(*shares, out=tmp_path / "all")
    assert told["cells"] == 1
    with pytest.raises(Refused, match="s4 holds no records"):
        clbench.merge(*shares, tmp_path / "s4", out=tmp_path / "other")


def test_damaged_and_foreign_files_are_named_and_left_out(tmp_path):
    a, b = folder(tmp_path / "A", er(0), er(1)), folder(tmp_path / "B", er(2))
    store.record_path(er(1).key, a).write_text("{ half", encoding="utf-8")
    (b / "records" / "._x.json").write_text("foreign", encoding="utf-8")
    with pytest.warns(Notice) as told:
        found = clbench.merge(a, b, out=tmp_path / "C")
    assert found["cells"] == 2
    assert any(er(1).key in str(each.message) for each in told)
    assert any("._x.json" in str(each.message) for each in told)
    assert not [name for name in files(tmp_path / "C") if er(1).key in name or "._x" in name]


def test_folders_within_the_merged_ones_are_named_and_not_merged(tmp_path):
    a, b = folder(tmp_path / "A", er(0)), folder(tmp_path / "B", er(1))
    folder(a / "superseded", er(7))
    assert clbench.merge(a, b, out=tmp_path / "C")["aside"] == [str(a / "superseded")]
    assert sorted(r.seed for r in store.load_all(tmp_path / "C")) == [0, 1]


# --------------------------------------------------------------------------------------------------- refusals


def test_a_folder_is_not_merged_into_one_that_holds_something_or_into_itself(tmp_path):
    a, b = folder(tmp_path / "A", er(0)), folder(tmp_path / "B", er(1))
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine", encoding="utf-8")
    before = files(tmp_path)
    for sources, out, words in (
        ([a, b], full, "full is not empty; choose a new folder for -o"),
        ([a, b], full / "notes.txt", "notes.txt is a file"),
        ([a, b], a / "C", "which is to be merged; choose a folder outside of it"),
        ([a, b], a, "which is to be merged"),
        ([a, b], tmp_path, "lies in .*; choose a new folder"),
        ([a, a / "." / ".." / "A"], tmp_path / "C", "are one folder; name each result folder once"),
        ([a], tmp_path / "C", "two result folders or more"),
        ([a, full], tmp_path / "C", "full holds no records"),
    ):
        with pytest.raises(Refused, match=words):
            clbench.merge(*sources, out=out)
    assert files(tmp_path) == before
    assert not (tmp_path / "C").exists()


# --------------------------------------------------------------------------------------------------- interruption

MERGE = """
import os, signal, sys
import clbench
synced, die_at = os.fsync, int(sys.argv[1])
count = 0
def sync(number):
    global count
    count += 1
    if count == die_at:
        os.kill(os.getpid(), signal.SIGKILL)
    synced(number)
os.fsync = sync
clbench.merge(*sys.argv[3:], out=sys.argv[2])
"""


def merged(die_at, out, *sources):
    return subprocess.run(
        [sys.executable, "-c", MERGE, str(die_at), *map(str, (out, *sources))], capture_output=True, check=False
    )


@pytest.mark.parametrize("die_at", [1, 2, 4, 7, 9])
def test_a_merge_that_is_killed_is_continued_and_gives_what_an_undisturbed_one_does(tmp_path, die_at):
    a, b = folder(tmp_path / "A", er(0), er(1), er(2, 0.7)), folder(tmp_path / "B", er(1), er(2, 0.6))
    kept(a, er(0).key, "models", "{}/0.pt", b"after experience 0")
    clbench.merge(a, b, out=tmp_path / "undisturbed")
    assert merged(die_at, tmp_path / "C", a, b).returncode == -9
    if die_at > 1:
        for sources in ([a, folder(tmp_path / "other", er(9))], [a, b, tmp_path / "undisturbed"]):
            with pytest.raises(Refused, match="C is not empty"):
                clbench.merge(*sources, out=tmp_path / "C")
    for path in (tmp_path / "C").rglob("*.json"):
        assert path.name.startswith(".") or store.load(path).status == "done"
    clbench.merge(b, a, out=tmp_path / "C") if die_at % 2 else clbench.merge(a, b, out=tmp_path / "C")
    assert files(tmp_path / "C") == files(tmp_path / "undisturbed")


def test_a_cell_that_another_folder_has_got_since_with_another_result_becomes_a_conflict(tmp_path):
    a, b = folder(tmp_path / "A", er(0)), folder(tmp_path / "B", er(1))
    assert merged(4, tmp_path / "C", a, b).returncode == -9
    assert [r.seed for r in store.load_all(tmp_path / "C")] == [1]  # the first key
    folder(a, er(1, 0.8))
    assert len(clbench.merge(a, b, out=tmp_path / "C")["conflicts"]) == 1
    assert [r.seed for r in store.load_all(tmp_path / "C")] == [0]


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
from clbench.cli import main
main(sys.argv[1:])
"""


def test_a_disk_that_is_full_ends_the_merge_with_a_sentence_and_nothing_half_written(tmp_path):
    a, b = folder(tmp_path / "A", er(0)), folder(tmp_path / "B", er(1))
    kept(a, er(0).key, "models", "{}.pt", bytes(100_000))
    command = ["merge", str(a), str(b), "-o", str(tmp_path / "C")]
    done = subprocess.run([sys.executable, "-c", FULL, *command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "File too large; the merge has stopped without a half-written file, and the same command continues" in (
        done.stderr
    )
    written = files(tmp_path / "C")
    assert written.pop(".merge.json")
    assert written.items() <= {**files(a), **files(b)}.items()
    assert call(*command).code == 0
    assert files(tmp_path / "C") == {**files(a), **files(b)}


def test_a_merge_whose_source_lost_a_file_meanwhile_says_which(tmp_path):
    a, b = folder(tmp_path / "A", er(0)), folder(tmp_path / "B", er(1))
    model = a / "models" / f"{er(0).key}.pt"
    model.parent.mkdir()
    model.symlink_to(tmp_path / "gone")  # exists() is False: left out
    assert clbench.merge(a, b, out=tmp_path / "C")["cells"] == 2
    shutil.rmtree(tmp_path / "C")
    model.unlink()
    model.mkdir()
    (model / "inner").symlink_to(tmp_path / "gone")
    with pytest.raises(Refused, match=r"inner cannot be written or read: No such file"):
        clbench.merge(a, b, out=tmp_path / "C")
