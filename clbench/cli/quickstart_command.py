"""Define ``clbench quickstart``, which writes a benchmark file and a method to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clbench.cli.common import make_console

CONTENTS = {
    "benchmark.yaml": "a benchmark of four strategies, with a comment for every section",
    "method.py": "a method that works, to be changed: a setting, two hooks, an identity",
}
"""File -> what it is."""
NEXT = (
    ("clbench check method.py:MeanWeights", "test that the method can be trusted: repeatable, resumable, ..."),
    ("clbench run benchmark.yaml --jobs 2", "run everything, to a leaderboard and a picture"),
    ("clbench board results/my-benchmark -o board.html", "export the leaderboard: html, tex, csv, json or md"),
)
"""The commands to run next, and what each is for."""


def quickstart(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A new or an empty folder.", show_default="this folder")
    ] = Path(),
) -> None:
    """Write a benchmark file with comments and a method to change, and show the three commands to run next."""
    from rich.text import Text

    from clbench.cli import scaffold

    written = scaffold.quickstart(folder)
    console = make_console()
    console.print("Written:")
    for path in written:
        console.print(f"  {path}: {CONTENTS[path.name]}", soft_wrap=True)
    here = folder.resolve() == Path.cwd()
    console.print("\nNext:" if here else f"\nNext, in that folder (cd {folder}):")
    for command, words in NEXT:
        console.print(Text(f"  # {words}", style="dim"), soft_wrap=True)
        console.print(Text(f"  {command}", style="cyan"), soft_wrap=True)
