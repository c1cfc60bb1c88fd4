"""The options that say what runs the cells, and on which share of a GPU."""

from __future__ import annotations

from typing import Annotated

import typer

ExecutorName = Annotated[
    str | None,
    typer.Option(
        help="What runs the cells: local, ray, ray:HOST:PORT, or another of clbench list executors.",
        show_default="local",
    ),
]
GpusPerCell = Annotated[
    float | None,
    typer.Option(
        help="With --executor ray --device cuda: share of a GPU for each cell, like 0.2 for five cells on each GPU.",
        show_default="1",
    ),
]
