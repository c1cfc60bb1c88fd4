"""Options of commands that run cells: how often they are saved, and how their progress is shown."""

from __future__ import annotations

from typing import Annotated

import typer

SnapshotEvery = Annotated[
    str,
    typer.Option(
        "--snapshot-every",
        help="Time between two checkpoints of a long cell, like 60s or 5m; 0 makes one only when the run is stopped.",
    ),
]
