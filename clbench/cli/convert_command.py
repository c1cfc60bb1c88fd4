"""``clbench convert``: write the list of samples of a published stream."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from clbench.cli.common import count, make_console

Known = Literal["core50"]
Protocol = Literal["ni", "nc", "nic", "nicv2_79", "nicv2_196", "nicv2_391"]


def convert(
    data: Annotated[Known, typer.Argument(metavar="NAME", help="Whose lists these are: core50.")],
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder with the authors' lists and pictures, unpacked.")
    ],
    *,
    protocol: Annotated[
        Protocol, typer.Option("--protocol", help="New instances (ni), new classes (nc), or both (nic, nicv2_...).")
    ] = "ni",
    run: Annotated[int, typer.Option("--run", min=0, max=9, help="The authors' order.")] = 0,
    categories: Annotated[
        bool, typer.Option("--categories", help="Take the 10 categories as classes, not the 50 objects.")
    ] = False,
    pictures: Annotated[
        str, typer.Option("--pictures", metavar="FOLDER", help="The folder of pictures in DIR.")
    ] = "core50_128x128",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The list to write; by default in DIR.")
    ] = None,
) -> None:
    """Write the list of samples of a published stream, for the scenario listed.

    A benchmark file then says stream: {scenario: listed, dataset: "list:FILE"}. Nothing is downloaded.

    Exit code: 0 written, 2 the lists are missing or damaged, or the file cannot be written.
    """
    from clbench.data.core50_lists import convert as convert_core50

    made = convert_core50(
        directory, protocol=protocol, run=run, categories=categories, pictures=pictures, output=output
    )
    assert data == "core50"
    console = make_console()
    console.print(
        f"{made.file}: {count(made.experiences, 'experience')}, {made.train} training samples, one test set of "
        f"{made.test}, {count(made.classes, 'class', 'classes')}",
        soft_wrap=True,
    )
    console.print(f'stream: {{scenario: listed, dataset: "list:{made.file}"}}', soft_wrap=True, markup=False)
