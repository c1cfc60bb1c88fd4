"""What killed commands have left in a result folder is removed by the next one, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from synthetic import dipping, record

import clbench
from clbench.core import store
from clbench.core.temporary_files import LEFT_SECONDS
from clbench.running.claim_files import FOLDER
from clbench.running.claims import Claims
from clbench.running.litter import remove_litter

DONE = record("er", 0, dipping(0, tasks=2, length=3))
CLAIMS = """
import os, signal, sys
from pathlib import Path
from clbench.running.claims import Claims
assert Claims(Path(sys.argv[1])).take(sys.argv[2])
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def out(tmp_path):
    store.save(DONE, tmp_path)
    return tmp_path


def names(out):
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def placed(out, name, *, after):
    """Write a file, so many seconds after the record."""
    path = out / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"{}")
    when = store.record_path(DONE.key, out).stat().st_mtime + after
    os.utime(path, (when, when))
    return name


def claimed_by_a_killed_command(out, key):
    done = subprocess.run([sys.executable, "-c", CLAIMS, str(out), key], check=False)
    assert done.returncode == -9
    assert (out / FOLDER / key).exists()


def test_the_claim_of_a_command_that_was_killed_after_it_wrote_the_record_is_removed(out):
    claimed_by_a_killed_command(out, DONE.key)
    remove_litter(out)
    assert names(out) == [f"records/{DONE.key}.json", f"traces/{DONE.key}.npz"]
    assert not (out / FOLDER).exists()


def test_the_claim_of_an_unfinished_cell_is_left_for_whoever_runs_it(out):
    claimed_by_a_killed_command(out, "0" * 16)
    remove_litter(out)
    assert (out / FOLDER / ("0" * 16)).exists()


def test_the_claim_of_a_command_that_runs_a_finished_cell_again_stays(out):
    claims = Claims(out)
    assert claims.take(DONE.key)
    remove_litter(out)
    assert (out / FOLDER / DONE.key).exists()
    claims.close()
    assert not (out / FOLDER).exists()


def test_progress_that_nobody_has_told_for_ten_minutes_is_removed(out):
    fresh, old = (placed(out, f"{FOLDER}/{letter * 16}.progress", after=0) for letter in "ab")
    then = time.time() - LEFT_SECONDS - 60
    os.utime(out / old, (then, then))
    remove_litter(out)
    assert fresh in names(out)
    assert old not in names(out)


def test_a_checkpoint_that_is_older_than_the_record_of_its_cell_is_removed_and_a_newer_one_stays(out):
    stale = [placed(out, f"partial/{DONE.key}.pt", after=-1), placed(out, f"attempts/{DONE.key}.jsonl", after=-1)]
    unfinished = [placed(out, f"partial/{'0' * 16}.pt", after=-9), placed(out, f"attempts/{'0' * 16}.jsonl", after=-9)]
    remove_litter(out)
    assert [name for name in names(out) if name in stale] == []
    assert [name for name in names(out) if name in unfinished] == sorted(unfinished)
    again = [placed(out, name, after=1) for name in stale]
    remove_litter(out)
    assert [name for name in names(out) if name in again] == sorted(again)


def test_a_failed_cell_keeps_its_checkpoint_and_its_attempts_because_it_is_run_again(out):
    failed = replace(DONE, key="f" * 16, status="failed", reason="RuntimeError: no", trace=None)
    store.save(failed, out)
    kept = [placed(out, f"partial/{failed.key}.pt", after=-1), placed(out, f"attempts/{failed.key}.jsonl", after=-1)]
    remove_litter(out)
    assert [name for name in names(out) if name in kept] == sorted(kept)


def test_a_run_that_has_nothing_to_do_removes_what_others_have_left(tmp_path):
    settings = {"strategies": "naive", "seeds": 1, "overrides": {"training.epochs": 1, "evaluation.every": 0}}
    [done] = clbench.run("split-digits", out=tmp_path, **settings)
    before = names(tmp_path)
    claimed_by_a_killed_command(tmp_path, done.key)
    clbench.run("split-digits", out=tmp_path, **settings)
    assert names(tmp_path) == before
