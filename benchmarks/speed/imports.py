"""How long ``import clbench`` and ``clbench --help`` take, beside a bare interpreter start.

Exits with 1 where a bound is missed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

COMMANDS: dict[str, tuple[list[str], float | None]] = {
    "python -c pass": (["-c", "pass"], None),
    "import clbench": (["-c", "import clbench"], 0.3),
    "clbench --help": (
        ["-c", "import sys; from clbench.cli import main; sys.argv = ['clbench', '--help']; main()"],
        0.6,
    ),
}
"""Arguments of the interpreter and the most seconds it may take; ``--help`` is what the console script runs."""


def seconds_of(arguments: list[str]) -> float:
    """Wall-clock seconds of one interpreter.

    Raises:
        SystemExit: The command fails.
    """
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return seconds


def main(rounds: int = 10) -> int:
    """Measure in turn, print medians and ratios; 1 where a bound is missed, else 0."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(rounds + 1):
        for name, (arguments, _) in COMMANDS.items():
            seconds = seconds_of(arguments)
            if turn:  # the first round fills the caches of the file system
                times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    table = Table(title=f"start-up, medians of {rounds}")
    for column in ("command", "seconds", "× bare start", "bound"):
        table.add_column(column, justify="left" if column == "command" else "right")
    missed = False
    for name, (_, bound) in COMMANDS.items():
        over = bound is not None and medians[name] > bound
        missed |= over
        limit = "" if bound is None else f"≤ {bound} s: " + ("[red]missed[/]" if over else "[green]met[/]")
        table.add_row(name, f"{medians[name]:.3f}", f"{medians[name] / medians['python -c pass']:.1f}", limit)
    Console().print(table)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
