"""Claims: each cell is run by one command, whatever stops, dies or wakes; nothing depends on clocks of machines."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import replace

import pytest

from clbench.core.notices import Notice
from clbench.running import claim_holder, claims
from clbench.running.claim_files import FolderClock, Seen, read
from clbench.running.claim_holder import Holder
from clbench.running.claimed_cells import is_claimed, running
from clbench.running.claims import Claims
from clbench.running.plan import plan
from clbench.running.shared_cells import Shared

KEY = "0123456789abcdef"
ELSEWHERE = {"boot": "another machine", "host": "there"}


def cells(seeds=2):
    overrides = ["training.epochs=1", "evaluation.every=0"]
    return plan("split-digits", strategies=["naive"], seeds=seeds, overrides=overrides).cells


def write_claim(out, content, *, ago=0.0):
    """Write a claim that was touched some seconds ago, by the clock of the file system."""
    (out / "claims").mkdir(exist_ok=True)
    path = out / "claims" / KEY
    path.write_bytes(content)
    touched = path.stat().st_mtime - ago
    os.utime(path, (touched, touched))
    return path


def of_another_machine(**changes):
    return replace(Holder.here(), **{**ELSEWHERE, **changes})


@contextmanager
def taking(out):
    mine = Claims(out)
    try:
        yield mine
    finally:
        mine.close()


# --------------------------------------------------------------------------------------------------- taking


def test_a_claim_is_held_by_one_command_and_free_after_it_is_released(tmp_path):
    with taking(tmp_path) as first, taking(tmp_path) as second:
        assert first.take(KEY)
        assert not second.take(KEY)
        first.release(KEY)
        assert second.take(KEY)
    assert not (tmp_path / "claims").exists()


def test_a_claim_names_its_command_in_one_line_of_json(tmp_path):
    with taking(tmp_path) as mine:
        mine.take(KEY)
        [line] = (tmp_path / "claims" / KEY).read_text().splitlines()
        held = json.loads(line)
        assert (held["pid"], held["token"], held["seconds"]) == (os.getpid(), mine.me.token, 60.0)
        [seen] = running(tmp_path)
        assert (seen.key, seen.holder, seen.free) == (KEY, mine.me, False)


@pytest.mark.parametrize(("ago", "free"), [(50.0, False), (70.0, True), (-50.0, False), (-7200.0, True)])
def test_a_claim_of_another_machine_is_taken_over_once_it_was_silent_for_a_minute(tmp_path, ago, free):
    write_claim(tmp_path, of_another_machine().line(), ago=ago)
    assert is_claimed(KEY, tmp_path) is not free
    with taking(tmp_path) as mine:
        assert mine.take(KEY) is free
    left = [path.name for path in tmp_path.glob("claims/*")]
    assert left == ([] if free else [KEY])


def test_a_claim_may_ask_for_another_time_than_a_minute(tmp_path):
    write_claim(tmp_path, of_another_machine(seconds=600.0).line(), ago=300.0)
    with taking(tmp_path) as mine:
        assert not mine.take(KEY)
        write_claim(tmp_path, of_another_machine(seconds=2.0).line(), ago=3.0)
        assert mine.take(KEY)


@pytest.mark.parametrize("wrong", [-36000.0, 36000.0])
def test_a_wrong_clock_of_this_machine_changes_nothing(tmp_path, monkeypatch, wrong):
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + wrong)
    monkeypatch.setattr(time, "time_ns", lambda: int((right() + wrong) * 1e9))
    write_claim(tmp_path, of_another_machine().line(), ago=30.0)
    with taking(tmp_path) as mine:
        assert not mine.take(KEY)
        write_claim(tmp_path, of_another_machine().line(), ago=61.0)
        assert mine.take(KEY)


DIFFERENT = [
    b"",
    b"{}",
    b"null",
    b"{ half",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    json.dumps({**vars(of_another_machine()), "seconds": 1e400}).encode(),
    json.dumps({**vars(of_another_machine()), "seconds": -1.0}).encode(),
    json.dumps({**vars(Holder.here()), "pid": "1"}).encode(),
    json.dumps({**vars(Holder.here()), "pid": 2**70}).encode(),
    json.dumps({**vars(Holder.here()), "started": None}).encode(),
]


@pytest.mark.parametrize("content", DIFFERENT, ids=range(len(DIFFERENT)))
def test_a_damaged_empty_or_foreign_claim_counts_by_its_last_touch(tmp_path, content):
    write_claim(tmp_path, content, ago=30.0)
    with taking(tmp_path) as mine:
        assert not mine.take(KEY)
        [seen] = running(tmp_path)
        assert (seen.holder, seen.free) == (None, False)
        write_claim(tmp_path, content, ago=90.0)
        assert mine.take(KEY)


# --------------------------------------------------------------------------------------------------- ends of processes


def test_a_process_that_has_ended_is_recognised_on_its_own_machine_only():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        alive = replace(Holder.here(), pid=other.pid, started=claim_holder.start_time(other.pid))
        assert not alive.has_ended
        other.kill()
        for _ in range(100):  # not yet waited for: it still has its number, as a zombie
            if alive.has_ended:
                break
            time.sleep(0.01)
        assert alive.has_ended
    assert alive.has_ended
    assert not replace(alive, **ELSEWHERE).has_ended
    assert not replace(alive, space="another container").has_ended
    assert not replace(alive, boot="").has_ended


def test_a_number_that_another_process_has_now_is_recognised_by_its_start():
    me = Holder.here()
    assert not me.has_ended
    assert replace(me, started=me.started - 100).has_ended


DIES = """
import os, pickle, sys
from pathlib import Path
from clbench.running.shared_cells import Shared
shared = Shared(pickle.loads(bytes.fromhex(sys.argv[2])), Path(sys.argv[1]), print)
shared.take()
os.kill(os.getpid(), 9)
"""


def test_the_claims_of_a_command_that_dies_are_free_at_once(tmp_path):
    [cell] = cells(1)
    done = subprocess.run([sys.executable, "-c", DIES, str(tmp_path), pickle.dumps([cell]).hex()], check=False)
    assert done.returncode == -9
    assert (tmp_path / "claims" / cell.key).exists()
    shared = Shared([cell], tmp_path, lambda record: None)
    assert shared.take() is cell
    shared.close()
    assert not (tmp_path / "claims").exists()


# --------------------------------------------------------------------------------------------------- at once


def test_of_many_that_take_over_at_once_exactly_one_wins(tmp_path):
    for round_ in range(40):
        write_claim(tmp_path, of_another_machine().line(), ago=100.0)
        start, won = threading.Barrier(6), []
        all_claims = [Claims(tmp_path) for _ in range(6)]

        def take(mine, start=start, won=won):
            start.wait()
            if mine.take(KEY):
                won.append(mine)

        threads = [threading.Thread(target=take, args=(mine,)) for mine in all_claims]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1, round_
        assert read(tmp_path / "claims" / KEY).holder == won[0].me
        for mine in all_claims:
            mine.close()
        assert not (tmp_path / "claims").exists()


def test_a_claim_that_is_taken_over_while_it_is_released_is_put_back(tmp_path, monkeypatch):
    mine = Claims(tmp_path)
    mine.take(KEY)
    path = tmp_path / "claims" / KEY
    old, theirs = read(path), of_another_machine().line()
    write_claim(tmp_path, theirs)
    real = claims.read
    monkeypatch.setattr(claims, "read", lambda asked: old if asked == path else real(asked))
    mine.release(KEY)
    monkeypatch.undo()
    assert path.read_bytes() == theirs
    assert [each.name for each in path.parent.iterdir()] == [KEY]
    mine.close()


def test_a_command_that_died_while_it_took_over_a_claim_is_overruled(tmp_path):
    path = write_claim(tmp_path, of_another_machine().line(), ago=100.0)
    with taking(tmp_path) as died, taking(tmp_path) as mine:
        marker = died._mark(KEY, read(path))
        assert not mine.take(KEY)
        os.utime(marker, (path.stat().st_mtime, path.stat().st_mtime))
        assert mine.take(KEY)
    assert not path.exists()


def test_claims_taken_and_given_back_by_many_at_once_are_never_held_twice(tmp_path):
    [cell] = cells(1)
    holders, most, errors = [], [], []

    def contend():
        try:
            for _ in range(60):
                shared = Shared([cell], tmp_path, lambda record: None)
                if shared.take() is not None:
                    holders.append(1)
                    most.append(len(holders))
                    holders.pop()
                shared.close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=contend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert most
    assert set(most) == {1}


# --------------------------------------------------------------------------------------------------- alive


def until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_claim_is_touched_while_its_process_computes(tmp_path, monkeypatch):
    monkeypatch.setenv("CLBENCH_CLAIM_SECONDS", "4")
    with taking(tmp_path) as mine, taking(tmp_path) as other:
        mine.take(KEY)
        first = read(tmp_path / "claims" / KEY).touched
        until(lambda: sum(range(20_000)) and read(tmp_path / "claims" / KEY).touched > first + 10**9)
        assert not other.take(KEY)


def test_a_command_whose_claim_was_taken_over_leaves_it_to_the_other(tmp_path, monkeypatch):
    monkeypatch.setenv("CLBENCH_CLAIM_SECONDS", "1.2")
    mine = Claims(tmp_path)
    mine.take(KEY)
    theirs = of_another_machine().line()
    path = write_claim(tmp_path, theirs)
    touched = path.stat().st_mtime_ns
    until(lambda: not mine._held)  # it finds that out with its next touch
    mine.release(KEY)
    mine.close()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (theirs, touched)


def test_a_release_leaves_the_claim_of_another_command_in_place(tmp_path):
    mine = Claims(tmp_path)
    mine.take(KEY)
    theirs = of_another_machine().line()
    path = write_claim(tmp_path, theirs)
    mine.release(KEY)
    mine.close()
    assert path.read_bytes() == theirs


def test_other_commands_hear_of_the_progress_of_a_cell(tmp_path, monkeypatch):
    monkeypatch.setenv("CLBENCH_CLAIM_SECONDS", "1.2")
    with taking(tmp_path) as mine:
        mine.take(KEY)
        mine.report(KEY, step=30, fraction=0.25)
        until(lambda: running(tmp_path)[0].progress == {"step": 30, "fraction": 0.25})
        [path] = (tmp_path / "claims").glob("*.progress")
        path.write_text("{ half")
        assert running(tmp_path)[0].progress == {}


def test_the_progress_that_a_killed_command_of_this_machine_told_is_removed_at_once(tmp_path):
    (tmp_path / "claims").mkdir()
    with subprocess.Popen([sys.executable, "-c", ""]) as other:
        other.wait()
    ended = {**vars(replace(Holder.here(), pid=other.pid, started=1.0)), "cells": {KEY: {"step": 3}}}
    path = tmp_path / "claims" / f"{ended['token']}.progress"
    path.write_text(json.dumps(ended))
    with taking(tmp_path) as mine:
        mine.take(KEY)
        assert not path.exists()


def test_files_that_killed_commands_have_left_are_removed_after_some_minutes(tmp_path):
    folder = tmp_path / "claims"
    folder.mkdir()
    for name in (f".{KEY}.0123", "fedc.progress", ".now.77"):
        (folder / name).touch()
        os.utime(folder / name, (1, 1))
    (folder / ".now.young").touch()
    with taking(tmp_path) as mine:
        mine.take(KEY)
        assert sorted(path.name for path in folder.iterdir()) == [".now.young", KEY]


def test_the_clock_of_a_folder_is_that_of_its_files(tmp_path):
    clock = FolderClock(tmp_path)
    (tmp_path / "file").touch()
    assert abs(clock.look() - (tmp_path / "file").stat().st_mtime) < 5
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert not clock.is_free(Seen(b"", int(clock.now() * 1e9), None))


def test_an_error_of_the_file_system_that_passes_costs_no_claims(tmp_path, monkeypatch):
    [cell] = cells(1)
    shared, real, errors = Shared([cell], tmp_path, print), Claims.take, [5, 116, 5]

    def take(self, key):
        if errors:
            raise OSError(errors.pop(), "for a moment")
        return real(self, key)

    monkeypatch.setattr(Claims, "take", take)
    monkeypatch.setattr("clbench.running.shared_cells.REST_SECONDS", 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        until(lambda: shared.take() is cell)
    assert is_claimed(cell.key, tmp_path)
    shared.close()


def test_a_claim_that_only_its_owner_may_replace_is_left_to_others(tmp_path, monkeypatch):
    path = write_claim(tmp_path, of_another_machine().line(), ago=100.0)

    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(type(path), "replace", refuse)
    with taking(tmp_path) as mine:
        assert not mine.take(KEY)
    assert read(path).holder.host == "there"


def test_where_claims_cannot_be_written_a_sentence_says_so_and_cells_run(tmp_path):
    (tmp_path / "claims").touch()
    both = cells()
    shared = Shared(both, tmp_path, print)
    with pytest.warns(Notice, match=r"cells cannot be claimed in .*; run one command at a time in this directory"):
        assert shared.take() is both[0]
    assert [shared.take(), shared.take()] == [both[1], None]
    shared.close()
