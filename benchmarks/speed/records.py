"""How long commands take on a folder of 10,000 records: ``python benchmarks/speed/records.py``.

The folder is made from the records of ``baselines/split-digits``: each is copied under other seeds and in three
variants of its benchmark, with scores moved by one sample here and there, so that no two traces are equal and every key
and checksum is right. ``--keep FOLDER`` makes the folder there, or uses the one that is there.

Each command runs in a process of its own. Seconds are those of the processor (user and system), which hardly depend on
other load; the seconds of the clock are printed beside them. Exits with 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from clbench.core import store
from clbench.core.record import Record, Trace
from clbench.core.types import content_hash
from clbench.running.plan import plan

SOURCE = Path(__file__).parents[2] / "baselines" / "split-digits"
EPOCHS = (None, 20, 30)
"""Epochs of the variants of the benchmark; the first is the record's own."""


@dataclass(frozen=True)
class Command:
    """Hold a command of the table and its bounds."""

    name: str
    arguments: tuple[str, ...]
    seconds: float
    megabytes: float | None = None


def commands(folder: Path, cells: int) -> list[Command]:
    """Return the commands of the table in their order."""
    strategies = len(plan("split-digits", seeds=1).cells)
    out = ("--out", str(folder.with_name("no-such-folder")))
    planned = ("run", "split-digits", "--seeds", str(cells // strategies), "--dry-run", "--no-time", *out)
    return [
        Command("clbench status DIR", ("status", str(folder)), 3),
        Command("clbench board DIR, first", ("board", str(folder)), 60, 600),
        Command("clbench board DIR, again", ("board", str(folder)), 6, 600),
        Command(f"clbench run ... --dry-run --no-time, {cells:,} cells", planned, 20, 1000),
    ]


def copies(number: int, source: Path = SOURCE) -> Iterator[Record]:
    """Yield that many different records like those of a folder."""
    originals = list(store.load_all(source))
    rng = np.random.default_rng(0)
    made = turn = 0
    while True:
        for epochs in EPOCHS:
            for original in originals:
                if made == number:
                    return
                yield copy(original, original.seed + 5 * turn, epochs, rng)
                made += 1
        turn += 1


def copy(original: Record, seed: int, epochs: int | None, rng: np.random.Generator) -> Record:
    """Return a record like another, of another seed and variant of its benchmark."""
    cell = deepcopy(original.cell)
    cell["seed"] = seed
    if epochs is not None:
        cell["training"]["epochs"] = epochs
    trace = None if original.trace is None else moved(original.trace, rng)
    fingerprint = content_hash([original.fingerprint, seed])  # each seed has a stream of its own
    return replace(original, key=content_hash(cell), cell=cell, trace=trace, fingerprint=fingerprint)


def moved(trace: Trace, rng: np.random.Generator) -> Trace:
    """Return a trace in which a tenth of the scores differ by one sample."""
    by = rng.choice([-1, 0, 1], size=trace.score.shape, p=[0.05, 0.9, 0.05]) / np.maximum(trace.rows, 1)
    return replace(trace, score=np.clip(trace.score + by, 0, 1))


def _no_flush(_: object) -> None:
    """Leave a file unflushed: a power failure may cost this folder."""


def make(folder: Path, number: int) -> None:
    """Write that many records into a folder, which appears when it is complete."""
    if folder.exists():
        return
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    flush, os.fsync = os.fsync, _no_flush
    try:
        for record in copies(number):
            store.save(record, part)
    finally:
        os.fsync = flush
    part.rename(folder)


def measured(arguments: tuple[str, ...]) -> tuple[float, float, float, str]:
    """Run a command: seconds of the processor, of the clock, peak megabytes, and what was wrong."""
    program = "import sys; from clbench.cli import main; sys.argv = ['clbench', *sys.argv[1:]]; main()"
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os.execv(sys.executable, [sys.executable, "-c", program, *arguments])
        _, status, used = os.wait4(child, 0)
        clock = time.perf_counter() - start
        output.seek(0)
        text = output.read().decode(errors="replace")
    wrong = "" if os.waitstatus_to_exitcode(status) == 0 else (text.strip() or "no message").splitlines()[-1]
    return used.ru_utime + used.ru_stime, clock, used.ru_maxrss / 1024, wrong


def main() -> int:
    """Make the folder, measure each command and print the table; 1 where a bound is missed, else 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--keep", type=Path, help="a folder to make, or one that was made here before")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch) / "records"
        make(folder, given.records)
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        found: list[tuple[Any, ...]] = [(each, *measured(each.arguments)) for each in commands(folder, given.cells)]
    table = Table(title=f"{given.records:,} records, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for column in ("command", "processor s", "clock s", "bound s", "peak MB", "bound MB", "ratio"):
        table.add_column(column, justify="left" if column == "command" else "right")
    missed = False
    for each, seconds, clock, megabytes, wrong in found:
        ratio = max(seconds / each.seconds, megabytes / each.megabytes if each.megabytes else 0)
        missed |= ratio > 1 or bool(wrong)
        mark = f"[red]{wrong}[/]" if wrong else f"{ratio:.2f}: " + ("[red]missed[/]" if ratio > 1 else "[green]met[/]")
        limit = "-" if each.megabytes is None else f"{each.megabytes:g}"
        table.add_row(each.name, f"{seconds:.1f}", f"{clock:.1f}", f"{each.seconds:g}", f"{megabytes:.0f}", limit, mark)
    Console(width=120).print(table)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
