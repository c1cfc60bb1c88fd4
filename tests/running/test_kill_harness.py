"""Three commands share one folder while processes are killed at random moments: nothing is lost, and nothing is left.

The moments and targets of a seed are the same in every run. What a kill interrupts depends on the machine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest

import clbench
from clbench.core import store
from clbench.core.temporary_files import is_temporary
from clbench.core.trace_equality import trace_digest

DRIVERS = 3
KINDS, SHARES = ("driver", "worker", "all"), (0.4, 0.45, 0.15)
"""What is killed, and how often."""
AT_WORK = 0.75
"""Share of the kills that come when a cell runs; the others may come while commands start."""
MARK = "CLBENCH_KILL_HARNESS"
"""A variable of the environment of all processes of one harness."""
BENCHMARK = """\
name: killed
stream: {scenario: split, dataset: digits}
model: {name: mlp}
training: {optimizer: sgd, lr: 0.05, batch_size: 32, epochs: 4}
memory: {size: 100}
evaluation: {every: 5}
strategies: ["slow.py:Slow", "er + slow.py:Slow"]
seeds: 4
"""
SLOW = """\
import os
import time

import clbench


class Slow(clbench.Part):
    \"\"\"Takes its time before each step, if the harness says so, and changes nothing.\"\"\"

    def before_step(self, learner, batch):
        time.sleep(float(os.environ.get("CLBENCH_KILL_PAUSE", "0")))
"""
PAUSE = "0.02"
"""Seconds before each of the 100 steps of a cell, so that most kills meet cells that run."""
LONGEST = 240
"""Seconds after which drivers that nobody kills any more must have ended."""


@dataclass
class Harness:
    """Three drivers on one result folder, and the kills so far."""

    folder: Path
    out: Path
    mark: str
    drivers: list[subprocess.Popen[str]] = field(default_factory=list)
    killed: int = 0
    """Processes killed."""
    running: int = 0
    """Cells that may have run in the killed processes: a driver takes all of its workers with it."""
    last: float = 0.0

    def start(self, number: int) -> None:
        """Start a driver, or start it again."""
        environment = {
            **{name: value for name, value in os.environ.items() if name != "CLBENCH_IN_PROCESS"},
            MARK: self.mark,
            "CLBENCH_KILL_PAUSE": PAUSE,
        }
        log = (self.folder / f"driver{number}.log").open("a", encoding="utf-8")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "clbench", "run", "killed.yaml", "--out", str(self.out), *OPTIONS[number]],
                cwd=self.folder, env=environment, stdout=log, stderr=log, text=True,
            )  # fmt: skip
        if number < len(self.drivers):
            self.drivers[number] = process
        else:
            self.drivers.append(process)

    def workers(self, number: int) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.drivers[number].pid).children(recursive=True)
        return []

    def kill(self, kind: str, number: int) -> str:
        """Kill one driver, one of its workers, or all processes of all drivers; say what was killed."""
        self.last = time.time()
        if kind == "all":
            found = [process for each in range(DRIVERS) for process in self.workers(each)]
            alive = [jobs for driver, jobs in zip(self.drivers, JOBS, strict=True) if driver.poll() is None]
            self.killed, self.running = self.killed + len(alive), self.running + sum(alive)
            for driver in self.drivers:
                driver.kill()
            _kill(found)
        elif kind == "worker" and (found := self.workers(number)):
            _kill(found[:1])
            self.killed, self.running = self.killed + 1, self.running + 1
        else:
            kind = "driver"
            self.drivers[number].kill()
            self.killed, self.running = self.killed + 1, self.running + JOBS[number]
        return f"{kind} {'' if kind == 'all' else number}".strip()

    def restart(self) -> None:
        """Start the drivers again that were killed; one that ended by itself must have ended well."""
        for number, driver in enumerate(self.drivers):
            with suppress(subprocess.TimeoutExpired):
                driver.wait(0.5)
            if driver.returncode == -9 or self.gave_up(number):
                self.start(number)
            else:
                assert driver.returncode in (None, 0), self.told(number)

    def gave_up(self, number: int) -> bool:
        """Return whether a driver ended with a cell whose workers were killed three times; it is tried again."""
        return self.drivers[number].returncode == 1 and "its worker process died" in self.told(number)

    def told(self, number: int) -> str:
        return (self.folder / f"driver{number}.log").read_text(encoding="utf-8")[-3000:]

    def wait_for_work(self) -> None:
        """Wait until a cell gives a sign of life after the last kill, or until a driver has ended."""
        until = time.monotonic() + LONGEST
        while not self.over() and time.monotonic() < until:
            for path in (self.out / "attempts").glob("*.jsonl"):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime > self.last:
                        return
            time.sleep(0.05)

    def over(self) -> bool:
        return any(driver.poll() == 0 for driver in self.drivers)

    def end(self) -> None:
        """Wait until all drivers have ended well, and then all their processes."""
        until = time.monotonic() + LONGEST
        for number in range(DRIVERS):
            while self.drivers[number].wait(max(1, until - time.monotonic())) != 0:
                assert self.gave_up(number), self.told(number)
                self.start(number)
        until = time.monotonic() + 20
        while (left := self.alive()) and time.monotonic() < until:
            time.sleep(0.2)
        assert left == [], "processes have outlived their driver"

    def alive(self) -> list[str]:
        """Return the command lines of all processes that a driver has started, whatever their parent is now."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
        return found

    def clear(self) -> None:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark:
                    process.kill()


OPTIONS = tuple((*each, "--snapshot-every", "1") for each in (("--jobs", "1"), ("--jobs", "2"), ("--in-process",)))
"""How each of the drivers runs its cells."""
JOBS = (1, 2, 1)
"""How many cells each of the drivers runs at once."""


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("killed")
    (made / "killed.yaml").write_text(BENCHMARK, encoding="utf-8")
    (made / "slow.py").write_text(SLOW, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> dict[str, str]:
    """Key -> digest of the trace of each cell of a run that nobody disturbs."""
    records = clbench.run(folder / "killed.yaml")
    assert [record.status for record in records] == ["done"] * 8
    return {record.key: trace_digest(record.trace) for record in records}


def kill_at_random(folder: Path, seed: int, kills: int, undisturbed: dict[str, str]) -> None:
    """Kill processes of three drivers until there were so many kills, in as many rounds of 8 cells as that takes."""
    rng, done, rounds, again = np.random.default_rng(seed), 0, 0, 0
    while done < kills:
        harness = Harness(folder, folder / f"out-{seed}-{rounds}", f"{os.getpid()}-{seed}-{rounds}")
        here = 0
        try:
            for number in range(DRIVERS):
                harness.start(number)
            while done + here < kills and not harness.over():
                if rng.random() < AT_WORK:
                    harness.wait_for_work()
                time.sleep(rng.uniform(0.1, 2.0))
                kind, number = str(rng.choice(KINDS, p=SHARES)), int(rng.integers(DRIVERS))
                if not harness.over():
                    print(f"seed {seed}, round {rounds}, kill {done + here}: {harness.kill(kind, number)}")
                    here += 1
                    harness.restart()
            harness.end()
        finally:
            harness.clear()
        again += check(harness, undisturbed) - len(undisturbed)
        done, rounds = done + here, rounds + 1
    assert again > 0, "no kill has met a cell"


def check(harness: Harness, undisturbed: dict[str, str]) -> int:
    """Check that the folder holds what an undisturbed run leaves, and that each kill cost a running cell one start.

    Returns:
        The number of starts of cells.
    """
    out = harness.out
    records = {path.stem: store.load(path) for path in (out / "records").iterdir()}
    assert {key: trace_digest(record.trace) for key, record in records.items()} == undisturbed
    starts = sum(len(record.attempts) for record in records.values())
    print(
        f"{starts} starts of {len(records)} cells, {harness.killed} killed processes ran up to {harness.running} cells"
    )
    assert len(records) <= starts <= len(records) + harness.running
    left = [path for path in out.rglob("*") if path.is_file() and is_temporary(path.name)]
    assert [path.name for path in left if _names_a_process(path)] == []
    left += list((out / "claims").glob("*.progress"))
    for path in left:  # what names no process is removed after ten minutes
        os.utime(path, (time.time() - 700,) * 2)
    harness.start(0)
    harness.end()
    files = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
    files = [name for name in files if not name.startswith(".cache/")]
    assert [name for name in files if Path(name).name.startswith(".") or name.split("/")[0] in UNFINISHED] == []
    assert sorted(path.stem for path in (out / "traces").iterdir()) == sorted(undisturbed)
    board = json.loads((out / "leaderboard.json").read_text(encoding="utf-8"))
    assert board
    return starts


def _names_a_process(path: Path) -> bool:
    return re.search(r"\.\d+\.[0-9a-f]{16}$", path.name) is not None


UNFINISHED = ("claims", "attempts", "partial", "damaged", "conflicts", "superseded")
"""Folders that hold files only while cells run, or if something is wrong."""


def test_kills_at_random_moments_change_no_trace_and_cost_each_running_cell_one_start_at_most(folder, undisturbed):
    kill_at_random(folder, seed=33, kills=8, undisturbed=undisturbed)


@pytest.mark.slow
def test_fifty_kills_change_no_trace_and_cost_each_running_cell_one_start_at_most(folder, undisturbed):
    kill_at_random(folder, seed=2026, kills=50, undisturbed=undisturbed)
