"""How long a very long stream takes to build, and how much memory: ``python benchmarks/speed/streams.py``.

Builds 10,000 experiences of SCoLe on MNIST and walks through all of them, in a process of its own. Bounds: 2 s to build
and 200 MB above the data.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from time import perf_counter

import psutil
from rich.console import Console

from clbench import data, scenarios

BUILD_SECONDS, MEGABYTES = 2.0, 200.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", help="folder of data sets; default CLBENCH_DATA")
    parser.add_argument("--experiences", type=int, default=10_000)
    given = parser.parse_args()
    folder = given.data or os.environ.get("CLBENCH_DATA") or str(Path(__file__).parents[3] / "shared" / "data")
    dataset = data.load("mnist", folder)
    dataset.train.y.sum(), dataset.test.y.sum()
    process = psutil.Process()
    before = process.memory_info().rss
    start = perf_counter()
    stream = scenarios.make({"scenario": "scole", "experiences": given.experiences}, dataset, 0)
    fingerprint = stream.fingerprint
    built = perf_counter() - start
    rows = sum(len(experience) for experience in stream)
    walked = perf_counter() - start - built
    megabytes = (process.memory_info().rss - before) / 2**20
    console = Console()
    console.print(f"{len(stream)} experiences, {rows:,} rows, fingerprint {fingerprint}")
    for name, value, bound in (("build", built, BUILD_SECONDS), ("memory above the data, MB", megabytes, MEGABYTES)):
        console.print(
            f"{name}: {value:.2f}, bound {bound:g}: {'[green]met[/]' if value <= bound else '[red]missed[/]'}"
        )
    console.print(f"walking through all of it: {walked:.2f} s, {1e6 * walked / len(stream):.0f} µs an experience")


if __name__ == "__main__":
    main()
