"""clbench against the bare PyTorch loop, as ratios: ``make speed``.

Both sides do the same job at the same number of threads in one process, in turn (bare, ours, bare, ours ...) after one
round to warm up, so that a busy moment of the machine falls on both. Our side is ``ours.py`` next to this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import bare
import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

REPEATS = 5
"""Runs of the digits job that one round adds up: a single one is over in a tenth of a second."""


@dataclass(frozen=True)
class Pair:
    """One job on both sides, from a seed to seconds, and the ratio ours may have at most."""

    name: str
    bare: Callable[[int], float]
    ours: Callable[[int], float]
    target: float
    repeats: int = 1


@dataclass
class Timing:
    """Seconds of each round on both sides, and their ratio ours / bare."""

    name: str
    target: float
    bare: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [ours / plain for plain, ours in zip(self.bare, self.ours, strict=True)]


def load_ours() -> Any:
    """The module ``ours``.

    Raises:
        SystemExit: There is none.
    """
    try:
        return import_module("ours")
    except ModuleNotFoundError as error:
        if error.name != "ours":
            raise
        raise SystemExit(
            "our side is missing: benchmarks/speed/ours.py must define reference(evaluate, seed), "
            "digits(strategy, evaluate, seed) and workers(n); python benchmarks/speed/bare.py times the bare loop alone"
        ) from None


def describe_machine() -> dict[str, Any]:
    """What the ratios were measured on; ``load`` is the number of jobs that wanted the machine in the minute before."""
    return {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def make_pairs(ours: Any, folder: str | None) -> list[Pair]:
    """All pairs, with data loaded beforehand."""
    mnist, digits = bare.load_mnist(folder), bare.load_digits()

    def plain_reference(evaluate: bool, seed: int) -> float:
        return bare.run_reference(*mnist, evaluate=evaluate, seed=seed)["seconds"]

    def plain_digits(strategy: str, evaluate: bool, seed: int) -> float:
        return bare.run_digits(*digits, strategy=strategy, evaluate=evaluate, seed=seed)["seconds"]

    pairs = []
    for evaluate, target in ((True, 1.10), (False, 1.15)):
        name = "reference, " + ("evaluated" if evaluate else "not evaluated")
        pairs.append(Pair(name, partial(plain_reference, evaluate), partial(ours.reference, evaluate), target))
    for strategy in ("naive", "er"):
        for evaluate in (True, False):
            name = f"digits {strategy}, " + ("evaluated" if evaluate else "not evaluated")
            plain, mine = (partial(side, strategy, evaluate) for side in (plain_digits, ours.digits))
            pairs.append(Pair(name, plain, mine, 1.5, REPEATS))
    return pairs


def measure(pair: Pair, rounds: int) -> Timing:
    """Time both sides in turn, after one round that is thrown away."""
    timing = Timing(pair.name, pair.target)
    for turn in range(rounds + 1):
        seeds = range(turn * pair.repeats, (turn + 1) * pair.repeats)
        plain = sum(pair.bare(seed) for seed in seeds)
        ours = sum(pair.ours(seed) for seed in seeds)
        if turn:
            timing.bare.append(plain)
            timing.ours.append(ours)
    return timing


def measure_workers(ours: Any, rounds: int) -> dict[str, Any]:
    """Cells per minute of one and of two workers in turn; the best of each counts."""
    cells: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for n in cells:
            cells[n].append(ours.workers(n))
    return {"one": cells[1], "two": cells[2], "speedup": max(cells[2]) / max(cells[1]), "target": 1.7}


def verdict(met: bool) -> str:
    """``met`` or ``missed``, coloured."""
    return "[green]met[/]" if met else "[red]missed[/]"


def show(console: Console, timings: list[Timing], workers: dict[str, Any] | None) -> None:
    """Print the ratios beside their targets."""
    table = Table(
        title="clbench against the bare PyTorch loop (lower is better)",
        box=SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )
    for column in ("job", "bare s", "ours s", "ratio", "spread", "target"):
        table.add_column(column, justify="left" if column == "job" else "right", no_wrap=True)
    for timing in timings:
        ratio = statistics.median(timing.ratios)
        seconds = [f"{statistics.median(side):.3f}" for side in (timing.bare, timing.ours)]
        spread = f"{min(timing.ratios):.2f}–{max(timing.ratios):.2f}"
        target = f"≤ {timing.target:.2f} {verdict(ratio <= timing.target)}"
        table.add_row(timing.name, *seconds, f"{ratio:.2f}", spread, target)
    if timings:
        console.print(table)
    if workers:
        one, two, speedup, target = max(workers["one"]), max(workers["two"]), workers["speedup"], workers["target"]
        console.print(
            f"2 workers of 1 thread: {two:.1f} cells a minute, 1 worker: {one:.1f}; "
            f"{speedup:.2f}x, target ≥ {target}x: {verdict(speedup >= target)}"
        )


def main() -> None:
    """Measure what was asked for, print it, and write it where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds per pair (default 5)")
    parser.add_argument(
        "--only", default="", help="measure only jobs whose name contains this: reference, digits, workers"
    )
    parser.add_argument("--data", help="folder with mnist/MNIST/raw or MNIST/raw; default CLBENCH_DATA")
    parser.add_argument("--json", metavar="FILE", help="also write every timing there")
    given = parser.parse_args()
    if given.data:
        os.environ["CLBENCH_DATA"] = given.data
    console, machine, ours = Console(), describe_machine(), load_ours()
    if machine["load"] > 0.5:
        console.print(f"[yellow]the machine is busy (load {machine['load']:.1f}): expect a wide spread[/]")
    timings = []
    for pair in make_pairs(ours, given.data):
        if given.only in pair.name:
            console.print(f"timing {pair.name} ...")
            timings.append(measure(pair, given.rounds))
    workers = None
    if given.only in "workers":
        console.print("timing workers ...")
        workers = measure_workers(ours, given.rounds)
    show(console, timings, workers)
    if given.json:
        pairs = [{**asdict(timing), "ratio": statistics.median(timing.ratios)} for timing in timings]
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine, "pairs": pairs, "workers": workers}, file, indent=2)


if __name__ == "__main__":
    main()
