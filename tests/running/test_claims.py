"""Two commands on one folder share its cells: none runs twice, and neither is refused."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading

import numpy as np

import clbench
from clbench.core import store
from clbench.running.cell_locks import Shared
from clbench.running.executors import Elsewhere, Started
from clbench.running.plan import plan

SHORT = {"training.epochs": 1, "evaluation.every": 0}


OTHER = f"""
import sys
import clbench
from clbench.running.executors import Started

def watch(event):
    if isinstance(event, Started):
        print(event.cell.key, flush=True)

records = clbench.run(
    "split-digits", strategies="naive, er", seeds=4, overrides={SHORT!r}, out=sys.argv[1], watch=watch
)
print("all", len(records))
"""


DIES = """
import os, pickle, sys
from pathlib import Path
from clbench.running.cell_locks import Shared
shared = Shared(pickle.loads(bytes.fromhex(sys.argv[2])), Path(sys.argv[1]), print)
shared.take()
os.kill(os.getpid(), 9)
"""


def cells(seeds=2):
    overrides = [f"{name}={value}" for name, value in SHORT.items()]
    return plan("split-digits", strategies=["naive"], seeds=seeds, overrides=overrides).cells


def test_commands_that_run_at_once_share_the_cells_and_both_have_all_records(tmp_path):
    heard, results = [], {}

    def command(name):
        results[name] = clbench.run(
            "split-digits", strategies="naive, er", seeds=4, overrides=SHORT, out=tmp_path,
            watch=lambda event: heard.append((name, event)),
        )  # fmt: skip

    # one in a process of its own, one here
    with subprocess.Popen([sys.executable, "-c", OTHER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        first = other.stdout.readline().strip()
        command("here")
        theirs = [first, *other.stdout.read().split()]
    assert theirs[-2:] == ["all", "8"]
    ours = [event.cell.key for _, event in heard if isinstance(event, Started)]
    elsewhere = [event.record.key for _, event in heard if isinstance(event, Elsewhere)]
    keys = {record.key for record in results["here"]}
    assert len(keys) == 8
    assert sorted([*ours, *theirs[:-2]]) == sorted(keys)  # none twice, none left out
    assert set(elsewhere) <= set(theirs)
    assert [record.status for record in results["here"]] == ["done"] * 8
    assert sorted(p.name for p in tmp_path.iterdir()) == ["records", "traces"]  # nothing of the claims is left


def test_a_claimed_cell_is_for_others_to_wait_for_and_its_record_is_taken_over(tmp_path):
    both, heard = cells(), []
    first, second = Shared(both, tmp_path, heard.append), Shared(both, tmp_path, heard.append)
    a, b = first.take(), second.take()
    assert [a.seed, b.seed] == [0, 1]
    assert (first.take(), first.waiting) == (None, True)
    [record] = clbench.run("split-digits", strategies="naive", seeds=[1], overrides=SHORT)
    store.save(record, tmp_path)
    second.release(b.key)
    assert (first.take(), first.waiting) == (None, False)
    assert [each.key for each in heard] == [b.key]
    np.testing.assert_array_equal(heard[0].trace.score, record.trace.score)
    first.close()
    second.close()
    assert not (tmp_path / "claims").exists()


def test_the_claims_of_a_command_that_dies_are_free_at_once(tmp_path):
    [cell] = cells(1)
    done = subprocess.run([sys.executable, "-c", DIES, str(tmp_path), pickle.dumps([cell]).hex()], check=False)
    assert done.returncode == -9
    assert (tmp_path / "claims" / f"{cell.key}.lock").exists()
    shared = Shared([cell], tmp_path, lambda record: None)
    assert shared.take() is cell
    shared.close()


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
