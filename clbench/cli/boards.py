"""``clbench board`` and ``clbench plot``: records on disk as tables and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clbench.cli.common import make_console, picture, print_board, write_file

SUFFIXES = {".md": "md", ".csv": "csv", ".json": "json", ".tex": "latex", ".html": "html"}
"""What the name of a file says about its format."""

Directories = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders that clbench run has written.")]


def board(
    directories: Directories,
    *,
    format: Annotated[
        str | None,
        typer.Option(help="table, md, csv, json, latex or html.", show_default="by the file's name, else table"),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Which to show, like acc,aaa (clbench list metrics).", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write a file; else it is printed.")
    ] = None,
) -> None:
    """Rank the strategies of some results."""
    from clbench import api
    from clbench.leaderboard import render

    names = None if metrics is None else [name.strip() for name in metrics.split(",") if name.strip()]
    made = api.board(*directories, metrics=names)
    chosen = format or (SUFFIXES.get(output.suffix.lower(), "table") if output else "table")
    if output is None and chosen == "table":
        print_board(make_console(), made, chosen=names is not None)
        return
    text = render(made, chosen)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_file(output, text.encode())
        typer.echo(f"{output} written")


def plot(
    directories: Directories,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A .png, .svg or .pdf file.")],
    benchmark: Annotated[
        str | None, typer.Option(help="Name and version, where there are several.", show_default=False)
    ] = None,
    strategies: Annotated[str | None, typer.Option(help="Which to draw, like 'er, naive'.", show_default="all")] = None,
) -> None:
    """Draw the stability gap: accuracy over iterations, and the switches magnified."""
    from clbench import api, plots

    records = api.records(*directories)
    labels = api.split_strategies(strategies)
    figure = plots.stability_gap(
        records, benchmark=benchmark, strategies=None if labels is None else [str(label) for label in labels]
    )
    picture(figure, output)
    typer.echo(f"{output} written")
