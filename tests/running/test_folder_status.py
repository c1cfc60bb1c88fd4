"""The status of a result folder: each number is one that was put there, and nothing in the folder changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from command_line import call
from synthetic import dipping

import clbench
from clbench.core import store
from clbench.core.record import Record
from clbench.running.claim_files import FolderClock
from clbench.running.claim_holder import Holder
from clbench.running.claims import Claims
from clbench.running.code_digest import code_of
from clbench.running.execution import execute_plan
from clbench.running.executors import Progress
from clbench.running.plan import plan
from clbench.running.plan_files import read_plans, write_plan
from clbench.running.shards import Shard, sharded

KEY = "0123456789abcdef"
OTHER_MACHINE = {"boot": "another machine", "host": "node7", "pid": 4711}


def planned(seeds=4, strategies=("naive", "er")):
    return plan("split-digits", strategies=list(strategies), seeds=seeds)


def record_of(cell, status="done", reason="", seconds=8.0, **changes):
    made = Record(
        key=cell.key,
        cell=cell.config,
        label=cell.label,
        status=status,
        reason=reason,
        trace=dipping(cell.seed) if status == "done" else None,
        cost={"train_seconds": seconds - 2.0, "evaluation_seconds": 2.0},
        code=code_of(cell.config),
        created="2026-01-01T00:00:00+00:00",
    )
    return replace(made, **changes)


def claim(out, key, progress=None, ago=0.0, **changes):
    """Write the claim of a command on another machine."""
    holder = replace(Holder.here(), **{**OTHER_MACHINE, **changes})
    (out / "claims").mkdir(exist_ok=True)
    (out / "claims" / key).write_bytes(holder.line())
    touched = (out / "claims" / key).stat().st_mtime - ago
    os.utime(out / "claims" / key, (touched, touched))
    if progress is not None:
        (out / "claims" / f"{holder.token}.progress").write_text(json.dumps({"cells": {key: progress}}))


def content(out):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*") if path.is_file()}


def test_what_is_done_runs_failed_and_waits_is_counted_by_the_plan(tmp_path):
    whole = planned()
    write_plan(whole, tmp_path, "clbench run split-digits")
    for cell in whole.cells[:3]:
        store.save(record_of(cell), tmp_path)
    store.save(record_of(whole.cells[3], "failed", "ValueError: no"), tmp_path)
    claim(tmp_path, whole.cells[4].key, {"step": 30, "fraction": 0.25, "from_fraction": 0.0, "seconds": 3.0})
    claim(tmp_path, whole.cells[5].key, ago=100.0)
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial" / f"{whole.cells[5].key}.pt").write_bytes(b"x" * 1000)
    before = content(tmp_path)
    told = clbench.status(tmp_path)
    assert content(tmp_path) == before
    [shown] = told["plans"]
    assert shown["benchmark"] == "split-digits@2"
    assert (shown["command"], shown["current"], shown["planned"]) == ("clbench run split-digits", True, 8)
    counts = {name: shown[name] for name in ("done", "skipped", "diverged", "failed", "running", "waiting")}
    assert counts == {"done": 3, "skipped": 0, "diverged": 0, "failed": 1, "running": 1, "waiting": 3}
    [runs] = told["running"]
    assert (runs["strategy"], runs["seed"], runs["host"], runs["pid"]) == ("er", 0, "node7", 4711)
    assert (runs["step"], runs["fraction"], runs["seconds"]) == (30, 0.25, 3.0)
    assert (runs["acc"], runs["gap"], runs["scores"]) == (None, None, "")
    assert runs["seconds_left"] == 6.0  # three quarters of the 8 seconds that cells of the benchmark took
    assert [each["key"] for each in told["ended"]] == [whole.cells[5].key]
    assert (told["waiting"], told["with_checkpoint"]) == (3, 1)
    assert told["seconds_of_work"] == 30.0  # and three more cells of 8 seconds
    assert told["seconds_left"] == 30.0  # one cell at a time
    [failed] = told["unsuccessful"]
    assert (failed["strategy"], failed["seed"], failed["reason"]) == ("naive", 3, "ValueError: no")
    assert told["disk"]["folders"]["partial"] == 1000
    assert told["disk"]["bytes"] == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())


def test_the_command_prints_it_and_its_exit_code_tells_unfinished_from_finished_from_failed(tmp_path):
    whole = planned(seeds=2)
    write_plan(whole, tmp_path)
    assert call("status", tmp_path).code == 3
    for cell in whole.cells[:3]:
        store.save(record_of(cell), tmp_path)
    told = {"step": 30, "fraction": 0.5, "from_fraction": 0.0, "seconds": 65.0}
    claim(tmp_path, whole.cells[3].key, {**told, "acc": 0.912, "gap": None, "text": "ACC 91.2 %"})
    answer = call("status", tmp_path)
    assert answer.code == 3
    assert "split-digits@2: planned 4: 3 done, 1 running\n" in answer.out
    assert "  er, seed 1: 50 %, ACC 91.2 %, for 1:05, about 0:04 left, on node7, process 4711\n" in answer.out
    assert "About 0:04 left with 1 cell at a time.\n" in answer.out
    (tmp_path / "claims" / whole.cells[3].key).unlink()
    store.save(record_of(whole.cells[3], "failed", "ValueError: no"), tmp_path)
    answer = call("status", tmp_path)
    assert answer.code == 1
    assert "  er, seed 1: failed: ValueError: no\n" in answer.out
    store.save(record_of(whole.cells[3]), tmp_path)
    answer = call("status", tmp_path)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("split-digits@2: planned 4: 4 done\nDisk: ")
    assert json.loads(call("status", tmp_path, "--json").out) == clbench.status(tmp_path)


def test_damaged_foreign_stale_and_older_records_are_told_apart(tmp_path):
    cells = planned(seeds=4).cells
    for cell in cells[:6]:
        store.save(record_of(cell), tmp_path)
    store.save(record_of(cells[6], code={"engine": "0" * 16, "strategy": "0" * 16}), tmp_path)
    store.save(record_of(cells[7], code={}), tmp_path)
    path = store.record_path(cells[0].key, tmp_path)
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    store.trace_path(cells[1].key, tmp_path).unlink()
    (tmp_path / "records" / f"._{cells[2].key}.json").write_text("{}")
    (tmp_path / "records" / "copy.json").write_text("{}")
    told = clbench.status(tmp_path)
    assert told["records"] == {"done": 6}
    assert [each["key"] for each in told["damaged"]] == sorted(cell.key for cell in cells[:2])
    faults = {each["key"]: each["fault"] for each in told["damaged"]}
    assert faults[cells[0].key] == "its key does not belong to its cell"
    assert faults[cells[1].key] == "its trace is missing"
    assert sorted(told["foreign"]) == [f"._{cells[2].key}.json", "copy.json"]
    assert [each["key"] for each in told["stale"]] == [cells[6].key]
    assert told["unknown_code"] == 1
    answer = call("status", tmp_path)
    assert answer.code == 1
    assert "2 damaged records, in no number: " in answer.out
    assert "1 stale cell, whose code has changed since: er, seed 2; `clbench run ... --rerun stale`" in answer.out
    assert "1 record of unknown code" in answer.out


def test_records_that_were_put_aside_are_counted_and_conflicts_are_a_problem(tmp_path):
    [cell, other] = planned(seeds=1).cells
    for folder in ("", "superseded", "conflicts/A", "conflicts/B"):
        store.save(record_of(cell), tmp_path / folder)
    store.save(record_of(other), tmp_path / "superseded")
    told = clbench.status(tmp_path)
    assert told["aside"] == {"conflicts": 2, "superseded": 2}
    assert call("status", tmp_path).code == 1


def test_starts_are_those_in_records_and_those_of_unfinished_cells(tmp_path):
    cells = planned(seeds=2).cells
    twice = ({"began": "a", "ended": "killed", "lost_seconds": 1.5}, {"began": "b", "ended": "done"})
    store.save(record_of(cells[0], attempts=twice), tmp_path)
    store.save(record_of(cells[1], attempts=({"began": "a", "ended": "done"},)), tmp_path)
    (tmp_path / "attempts").mkdir()
    lines = [{"began": "a"}, {"ended": "stopped", "lost_seconds": 0.25}, {"began": "b"}]
    written = "\n".join(map(json.dumps, lines))
    (tmp_path / "attempts" / f"{cells[2].key}.jsonl").write_text(f"{written}\n{{ half")
    assert clbench.status(tmp_path)["starts"] == {"cells": 3, "starts": 5, "lost_seconds": 1.8}
    assert "5 starts of 3 cells; 0:02 of work lost." in call("status", tmp_path).out


def test_the_newest_plan_counts_unless_commands_run_another_one(tmp_path):
    old, new = planned(seeds=3, strategies=["naive"]), planned(seeds=2, strategies=["er"])
    write_plan(old, tmp_path)
    write_plan(new, tmp_path)
    assert [len(each.cells) for each in read_plans(tmp_path)] == [2, 3]
    assert clbench.status(tmp_path)["waiting"] == 2
    answer = call("status", tmp_path)
    assert "split-digits@2: planned 2: 0 done, 2 waiting\n" in answer.out
    assert "split-digits@2: planned 3: 0 done, 3 waiting (an earlier plan, of " in answer.out
    claim(tmp_path, old.cells[0].key)
    told = clbench.status(tmp_path)
    assert [each["current"] for each in told["plans"]] == [False, True]
    assert told["waiting"] == 2


def test_a_shard_and_damaged_plans_are_told_or_left_out(tmp_path):
    part = sharded(planned(), Shard(1, 2))
    write_plan(part, tmp_path)
    for number, broken in enumerate(["{}", "[]", "{ half", '{"format": 99}']):
        (tmp_path / "plans" / f"{number}.json").write_text(broken)
    [shown] = clbench.status(tmp_path)["plans"]
    assert (shown["shard"], shown["planned"], shown["cells_in_other_shards"]) == (
        "1/2", len(part.cells), len(part.others)
    )  # fmt: skip
    assert f"split-digits@2, shard 1/2: planned {len(part.cells)}" in call("status", tmp_path).out


def test_records_without_a_plan_are_counted_alone(tmp_path):
    for cell in planned(seeds=2).cells:
        store.save(record_of(cell), tmp_path)
    answer = call("status", tmp_path)
    assert answer.code == 0
    assert answer.out.startswith("4 records: 4 done; no plan tells what else was to be run\n")


def test_the_time_left_follows_from_the_pace_of_a_cell_if_none_is_done(tmp_path):
    [cell] = planned(seeds=1, strategies=["naive"]).cells
    write_plan(planned(seeds=1, strategies=["naive"]), tmp_path)
    claim(tmp_path, cell.key, {"step": 9, "fraction": 0.75, "from_fraction": 0.5, "seconds": 10.0})
    assert clbench.status(tmp_path)["seconds_left"] == 10.0


@pytest.mark.parametrize(
    "progress", [{"fraction": "much"}, {"fraction": 1e400, "seconds": None}, [], "x", {"step": -1}]
)
def test_damaged_progress_is_no_traceback(tmp_path, progress):
    [cell] = planned(seeds=1, strategies=["naive"]).cells
    write_plan(planned(seeds=1, strategies=["naive"]), tmp_path)
    claim(tmp_path, cell.key, progress)
    answer = call("status", tmp_path)
    assert (answer.code, answer.err) == (3, "")
    assert "naive, seed 0" in answer.out


def test_a_folder_that_cannot_be_written_is_shown_too(tmp_path, monkeypatch):
    [cell] = planned(seeds=1, strategies=["naive"]).cells
    store.save(record_of(cell), tmp_path)
    claim(tmp_path, KEY)
    claim(tmp_path, KEY[::-1], ago=3600.0)

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FolderClock, "look", refuse)
    told = clbench.status(tmp_path)
    assert [each["key"] for each in told["running"]] == [KEY]
    assert [each["key"] for each in told["ended"]] == [KEY[::-1]]


def test_a_folder_without_results_is_refused(tmp_path):
    answer = call("status", tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert (
        f"{tmp_path} holds no records and no plan; give a folder that `clbench run --out DIR` has written" in answer.err
    )
    assert call("status", tmp_path / "none").code == 2


def test_a_run_writes_its_plan_and_tells_its_progress(tmp_path):
    out = tmp_path / "out"
    seen = []

    def watch(event):
        if isinstance(event, Progress) and not seen:
            told = clbench.status(out)
            if told["running"][0]["acc"] is not None:  # published every two seconds
                seen.append(told)
            else:
                time.sleep(0.5)

    made = plan("split-digits", strategies=["naive"], seeds=2)
    execute_plan(made, out=out, watch=watch, scores=True)
    [first] = seen
    assert (first["plans"][0]["planned"], first["plans"][0]["running"], first["plans"][0]["waiting"]) == (2, 1, 1)
    assert (first["running"][0]["pid"], first["running"][0]["strategy"]) == (os.getpid(), "naive")
    assert 0.0 <= first["running"][0]["acc"] <= 1.0
    assert first["running"][0]["scores"].startswith("ACC ")
    assert clbench.status(out)["plans"][0]["done"] == 2


def test_looking_imports_no_torch_and_takes_no_claims(tmp_path):
    whole = planned(seeds=1)
    write_plan(whole, tmp_path)
    store.save(record_of(whole.cells[0]), tmp_path)
    mine = Claims(tmp_path)
    mine.take(whole.cells[1].key)
    code = "import sys, clbench; clbench.status(sys.argv[1]); assert not {'torch', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert [path.name for path in (tmp_path / "claims").iterdir()] == [whole.cells[1].key]
    mine.close()
