"""Define ``clbench export``, which writes the model of a run to one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clbench.cli.common import make_console

HOW = {
    "torch": "clbench.load_model({file!r}{network}) predicts as the run did; "
    "torch.load({file!r}, weights_only=True)['state_dict'] holds the weights under the names of your network",
    "onnx": "its input x takes samples as the data set stores them; its metadata ('clbench') names shape, type and "
    "classes",
    "pt2": "torch.export.load({file!r}).module() takes samples as the data set stores them; it needs no code of your "
    "network",
}
"""What to do with a file, by its format."""


def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The result folder of a run with --save-model.")],
    cell: Annotated[
        str,
        typer.Argument(
            metavar="CELL",
            help="The strategy (er; add --seed if there are several), or the first characters of a key.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="The file to write: model.pt, or model.onnx, or model.pt2."
        ),
    ],
    seed: Annotated[int | None, typer.Option(help="The seed of the cell.", show_default="the only one")] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="torch|onnx|pt2",
            help="torch holds everything that predicts; onnx and pt2 hold network, scaling and class mask as a graph.",
            show_default="as FILE ends",
        ),
    ] = None,
    experience: Annotated[
        int | None,
        typer.Option(help="The model after this experience, from 0 (--save-model ends).", show_default="the last"),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Allow code of your own files, which a graph of your own network needs.")
    ] = False,
) -> None:
    """Write the model of one cell (one strategy, one seed) to a file that needs neither benchmark nor data set."""
    from clbench.running.saved_models.exported import export_model, format_of

    written = export_model(directory, cell, output, seed=seed, format=format, experience=experience, trust=trust)
    console = make_console()
    console.print(f"{written} written", soft_wrap=True)
    chosen = format_of(written, format)
    network = _network(written) if chosen == "torch" else ""
    console.print(HOW[chosen].format(file=str(written), network=network), style="dim", soft_wrap=True)


def _network(file: Path) -> str:
    """Return the argument of ``load_model`` for a network whose code is the user's, else nothing."""
    from clbench.running.saved_models.unpack import read_kept

    held = read_kept(file)
    own = str(held["cell"]["model"]["name"])
    users = held.get("model", {}).get("kind") == "module" and (own.startswith("given:") or ".py:" in own)
    return f", model={own.rpartition(':')[2]}" if users else ""
