"""clbench against avalanche-lib doing the same job, as ratios: ``make speed-peers``.

One pass of the peer, which learns the first iterations of each experience only; time per iteration is compared. Every
experience contributes as much, so a task is looked at about as often per iteration as in the whole job.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from typing import Any

import avalanche_peer
import bare
from compare import describe_machine, load_ours, verdict
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

ITERATIONS = 466
"""Optimiser steps of the whole reference job, which our side runs to the end."""

TARGETS = {True: 18.0, False: 6.0}
"""How many times faster we want to be, with evaluation after every iteration and without."""


def measure(ours: Any, *, folder: str | None, set_up: str, evaluate: bool, limit: int) -> dict[str, Any]:
    """Seconds per iteration: one pass of the peer, the median of three of ours and of the bare loop in turn.

    The bare loop is the floor: no loop that does this arithmetic with torch's own kernels is much faster than it.
    """
    peer = avalanche_peer.run_reference(
        folder, set_up=set_up, evaluate=evaluate, seed=0, max_iterations_per_experience=limit
    )
    mnist = bare.load_mnist(folder)
    pairs = [
        (ours.reference(evaluate, seed), bare.run_reference(*mnist, evaluate=evaluate, seed=seed)["seconds"])
        for seed in range(3)
    ]
    mine, plain = (statistics.median(side) / ITERATIONS for side in zip(*pairs, strict=True))
    return {
        "set_up": set_up,
        "evaluate": evaluate,
        "peer_seconds_per_iteration": peer["seconds_per_iteration"],
        "our_seconds_per_iteration": mine,
        "bare_seconds_per_iteration": plain,
        "bare_speedup": peer["seconds_per_iteration"] / plain,
        "peer_iterations": peer["iterations"],
        "speedup": peer["seconds_per_iteration"] / mine,
        "target": TARGETS[evaluate],
    }


def show(console: Console, results: list[dict[str, Any]]) -> None:
    """Print the ratios beside their targets."""
    table = Table(
        title="clbench against avalanche-lib, ms per iteration (times faster: higher is better)",
        box=SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )
    for column in ("set-up", "evaluation", "avalanche", "bare", "ours", "bare is", "ours is", "target"):
        table.add_column(column, justify="left" if column in ("set-up", "evaluation") else "right", no_wrap=True)
    for result in results:
        table.add_row(
            result["set_up"],
            "every iteration" if result["evaluate"] else "none",
            f"{1000 * result['peer_seconds_per_iteration']:.1f}",
            f"{1000 * result['bare_seconds_per_iteration']:.1f}",
            f"{1000 * result['our_seconds_per_iteration']:.1f}",
            f"{result['bare_speedup']:.1f}x",
            f"{result['speedup']:.1f}x",
            f"≥ {result['target']:.0f}x {verdict(result['speedup'] >= result['target'])}",
        )
    console.print(table)
    for name, meaning in avalanche_peer.SET_UPS.items():
        console.print(f"{name}: {meaning}")


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--limit", type=int, default=20, help="iterations per experience of the peer (default 20)")
    parser.add_argument("--set-up", choices=[*avalanche_peer.SET_UPS, "both"], default="both")
    parser.add_argument("--data", help="folder with mnist/MNIST/raw or MNIST/raw; default CLBENCH_DATA")
    parser.add_argument("--json", metavar="FILE", help="also write every timing there")
    given = parser.parse_args()
    if given.data:
        os.environ["CLBENCH_DATA"] = given.data
    console, machine, ours = Console(), describe_machine(), load_ours()
    bare.find_mnist(given.data)
    ours.reference(False, 0)  # warm up
    results = []
    for set_up in avalanche_peer.SET_UPS if given.set_up == "both" else [given.set_up]:
        for evaluate in (True, False):
            console.print(f"timing {set_up}, {'evaluation every iteration' if evaluate else 'no evaluation'} ...")
            results.append(measure(ours, folder=given.data, set_up=set_up, evaluate=evaluate, limit=given.limit))
    show(console, results)
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine, "results": results}, file, indent=2)


if __name__ == "__main__":
    main()
