"""The options on a benchmark and its data that several commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SEEDS = "Seeds: 5 for 0 to 4; 0,1,2 for these; '3,' for 3 alone."

Shipped = Annotated[str, typer.Argument(help="A shipped name (clbench list benchmarks) or a YAML file.")]
Seeds = Annotated[str | None, typer.Option(help=SEEDS, show_default="the benchmark's")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting of the benchmark: --set training.lr=0.03; repeatable."
    ),
]
TunedFile = Annotated[
    Path | None,
    typer.Option(
        "--tuned",
        metavar="FILE",
        help="Settings that clbench tune chose, for the strategies that the file names.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, auto, or GPUs on which cells are placed: cuda:0,cuda:1.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder of the data sets.", show_default="CLBENCH_DATA")]
