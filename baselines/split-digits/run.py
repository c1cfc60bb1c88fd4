"""Run the published default benchmarks: ``python baselines/split-digits/run.py``.

Runs ``split-digits`` and ``split-digits-task``, and writes records, ``leaderboard.md`` beside this file, and the
pictures of the README, all from the same records. ``--from-records`` runs nothing. The pictures contain the benchmarks
and the hash of the keys of all their cells, so that a test detects those of another version.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure

import clbench
from clbench import plots
from clbench.api import records as load
from clbench.core.record import Record
from clbench.core.types import content_hash
from clbench.leaderboard import board, render
from clbench.running.plan import plan

HERE = Path(__file__).parent
PICTURES = HERE.parent.parent / "docs" / "pictures"
BENCHMARKS = ("split-digits", "split-digits-task")
DRAWN = ("cumulative", "joint", "er", "er_ace", "agem [optimizer=sgd, lr=0.3]", "naive")
"""Strategies in the picture of the gap: one of each kind, so that their bands can be told apart."""
DPI = 160


def identity() -> dict[str, str]:
    """Return the origin that a picture states: the benchmarks, and the hash of the keys of their cells."""
    plans = [plan(name) for name in BENCHMARKS]
    return {
        "clbench benchmarks": ", ".join(f"{p.benchmark.name}@{p.benchmark.version}" for p in plans),
        "clbench cells": content_hash([cell.key for p in plans for cell in p.cells]),
    }


def of_this_version(records: list[Record]) -> list[Record]:
    """The records of the cells that the two files have now, in their order.

    Raises:
        SystemExit: One is missing or did not end well.
    """
    found = {record.key: record for record in records if record.status == "done"}
    keys = [cell.key for name in BENCHMARKS for cell in plan(name).cells]
    missing = [key for key in keys if key not in found]
    if missing:
        raise SystemExit(f"{len(missing)} of {len(keys)} cells have no result here: run without --from-records")
    return [found[key] for key in keys]


def table(records: list[Record]) -> Figure:
    """The boards as the terminal shows them, as a picture."""
    text = render(board(records), "table").rstrip()
    lines = [line.rstrip() for line in text.splitlines()]
    width, height = 0.0745 * max(map(len, lines)) + 0.4, 0.148 * len(lines) + 0.4
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.text(
        0.2 / width, 1 - 0.2 / height, "\n".join(lines),
        family="DejaVu Sans Mono", fontsize=8.9, linespacing=1.2, color=plots.INK, va="top",
    )  # fmt: skip
    return figure


def save(figure: Figure, name: str) -> None:
    """Write a picture that says what it was made from; the same records give the same bytes."""
    figure.savefig(PICTURES / name, format="png", dpi=DPI, metadata=identity())


def main(
    jobs: Annotated[str, typer.Option(help="Cells at a time.")] = "auto",
    *,
    from_records: Annotated[
        bool, typer.Option("--from-records", help="Run nothing: table and pictures from the records that are there.")
    ] = False,
) -> None:
    """Run what is not finished, and write the table and the pictures."""
    for name in () if from_records else BENCHMARKS:
        clbench.run(name, jobs=jobs, out=HERE)
    records = of_this_version(load(HERE))
    (HERE / "leaderboard.md").write_text(render(board(records), "md"), encoding="utf-8")
    print(render(board(records), "table"))
    save(table(records), "leaderboard.png")
    first = records[0].benchmark
    save(plots.stability_gap(records, benchmark=first, strategies=DRAWN), "stability_gap.png")


if __name__ == "__main__":
    typer.run(main)
