"""Options of commands that run cells: how often they are saved, and how their progress is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from enum import StrEnum
from typing import Annotated, TextIO

import typer

SnapshotEvery = Annotated[
    str,
    typer.Option(
        "--snapshot-every",
        help="Time between two checkpoints of a long cell, like 60s or 5m; 0 makes one only when the run is stopped.",
    ),
]


class ProgressForm(StrEnum):
    """Name the forms of progress."""

    bars = "bars"
    lines = "lines"
    json = "json"
    none = "none"


Shown = Annotated[
    ProgressForm | None,
    typer.Option(
        "--progress",
        help="How progress is shown; json writes one object a line to standard output, and all else to standard error.",
        show_default="bars in a terminal, else lines",
    ),
]


@contextmanager
def output_of(form: ProgressForm | None) -> Iterator[TextIO]:
    """Yield the stream of lines of JSON; if they are asked for, everything else goes to standard error."""
    stream = sys.stdout
    if form is not ProgressForm.json:
        yield stream
        return
    with redirect_stdout(sys.stderr):
        yield stream
