"""Define ``clbench site``, which writes a website of results."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated

import typer

from clbench.cli.boards import MANY_OBJECTS


def site(
    directories: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Result folders of clbench run, or folders above such folders."),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="A new or empty folder, or that of an earlier site.",
            show_default=False,
        ),
    ],
    title: Annotated[str, typer.Option(help="The heading of the front page.")] = "Continual-learning leaderboard",
) -> None:
    """Write a website of results into a folder: tables to sort and filter, a page for each benchmark and each row.

    Open its index.html from disk, or publish the folder as it is: nothing is fetched from elsewhere.
    """
    from clbench.cli.common import count
    from clbench.site import write_site

    gc.set_threshold(MANY_OBJECTS)
    made = write_site(*directories, out=output, title=title)
    print(
        f"{made.folder / 'index.html'} written: {count(made.benchmarks, 'benchmark')}, {count(made.rows, 'row')}, "
        f"{count(made.files, 'file')}, {made.size / 1e6:.1f} MB"
    )
