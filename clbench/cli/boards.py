"""Define ``clbench board`` and ``clbench plot``, which show records on disk as tables and pictures."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated, Any

import typer

from clbench.cli.common import make_console, picture, print_board, write_file
from clbench.cli.output_files import PICTURES, format_of
from clbench.cli.picture_options import FontSize, Height, Title, Width
from clbench.plots import KINDS

SUFFIXES = {".md": "md", ".csv": "csv", ".json": "json", ".tex": "latex", ".html": "html", ".txt": "table",
            ".parquet": "parquet"}  # fmt: skip
"""The format of a file by its suffix."""

MANY_OBJECTS = 20_000
"""Number of new objects after which garbage is collected. With the usual 700, a fifth of the time of a board of 10,000
records goes into looking at records that stay."""

Directories = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Result folders of clbench run.")]


def board(
    directories: Directories,
    *,
    format: Annotated[
        str | None,
        typer.Option(
            help="table, md, csv, json, latex, html, parquet, or hub (a folder).",
            show_default="from the file's suffix, else table",
        ),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Metrics to show, like acc,aaa (see clbench list metrics).", show_default=False)
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="All columns to show, instead of --metrics: rank, group, strategy, engine, settings, seeds, metrics, "
            "and costs like cost_train_seconds.",
            show_default=False,
        ),
    ] = None,
    rows: Annotated[
        str | None, typer.Option(help="Strategies to show, like 'er, naive'; ranks are among them.", show_default="all")
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="Show a strategy or benchmark under another name; repeatable."),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(help="rank, name, a metric (best first), or strategies that come first.", show_default="rank"),
    ] = None,
    decimals: Annotated[
        int | None, typer.Option(help="Decimals of printed values.", show_default="1 or 2, by format")
    ] = None,
    across: Annotated[
        bool, typer.Option("--across", help="One table: a row per strategy, a group of columns per benchmark.")
    ] = False,
    latest: Annotated[
        bool, typer.Option("--latest", help="Of your own code, show only the newest version of each strategy.")
    ] = False,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="The only seeds that count, like 0-9 or 0,1,2 (5 means 0 to 4).",
            show_default="those that most strategies have rank",
        ),
    ] = None,
    rank_by: Annotated[str, typer.Option(help="The metric that ranks.")] = "acc",
    within: Annotated[
        str | None,
        typer.Option(
            metavar="COST=LIMIT,...",
            help="Rank only strategies within these costs, like memory_bytes=1e6,steps=500.",
            show_default=False,
        ),
    ] = None,
    versus: Annotated[
        str | None,
        typer.Option(metavar="STRATEGY", help="Compare all others with it, seed by seed.", show_default=False),
    ] = None,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Compare all pairs of strategies: differences, p values, power.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file instead of printing.")
    ] = None,
) -> None:
    """Rank strategies by their results. The sign ≈ marks values that are not separated from the best."""
    from clbench import api
    from clbench.core.errors import Refused, did_you_mean
    from clbench.leaderboard import BINARY, FORMATS, content, render

    if format == "hub":
        chosen_ones = {
            "--metrics": metrics, "--columns": columns, "--rows": rows, "--rename": rename, "--order": order,
            "--decimals": decimals, "--across": across or None, "--seeds": seeds, "--within": within,
            "--rank-by": None if rank_by == "acc" else rank_by, "--versus": versus, "--pairs": pairs or None,
        }  # fmt: skip
        _export(directories, [name for name, value in chosen_ones.items() if value is not None], output, latest=latest)
        return
    gc.set_threshold(MANY_OBJECTS)
    if format is not None and format not in (*FORMATS, *BINARY):
        raise Refused(f"there is no board format {format!r}; {did_you_mean(format, [*FORMATS, *BINARY, 'hub'])}")
    if output is None and format in BINARY:
        raise Refused(f"--format {format} is a file for programs: add -o FILE.{format}")
    chosen = _format(format, output)
    made = api.board(
        *directories,
        metrics=_names(metrics, "--metrics"),
        columns=_names(columns, "--columns"),
        rows=rows,
        rename=rename or (),
        order="rank" if order is None else order,
        decimals=decimals,
        across=across,
        latest=latest,
        seeds=seeds,
        rank_by=rank_by,
        within=within,
        versus=versus,
        pairs=pairs,
    )
    if output is None and chosen == "table":
        print_board(make_console(), made, chosen=metrics is not None or columns is not None)
        return
    if output is None:
        print(render(made, chosen), end="")
    else:
        write_file(output, content(made, chosen))
        print(f"{output} written")


def _names(written: str | None, option: str) -> list[str] | None:
    """Split names with commas between them; ``None`` if there is no such option."""
    from clbench.core.errors import Refused

    names = [name.strip() for name in (written or "").split(",") if name.strip()]
    if written is not None and not names:
        raise Refused(f"{option} names nothing; write names with commas between them, like acc,forgetting")
    return None if written is None else names


def _format(format: str | None, output: Path | None) -> str:
    """Return the format that an option or the suffix of a file names."""
    from clbench.core.errors import Refused

    if output is None:
        return format or "table"
    if format is None:
        return format_of(output, SUFFIXES, "a leaderboard")
    told = SUFFIXES.get(output.suffix.lower(), format)
    if told != format:
        raise Refused(
            f"{output.name!r} is the name of a file in format {told}; leave out --format {format}, or rename it"
        )
    return format


def _export(directories: list[Path], chosen: list[str], folder: Path | None, *, latest: bool) -> None:
    from clbench import api
    from clbench.comparison.code_versions import newest
    from clbench.core.errors import Refused
    from clbench.leaderboard.hub_export import export

    if folder is None:
        raise Refused("--format hub writes a folder: add -o FOLDER")
    if chosen:
        raise Refused(f"--format hub writes all records with all metrics; leave out {', '.join(chosen)}")
    records = api.records(*directories)
    for path in export(newest(records)[0] if latest else records, folder):
        print(f"{path} written")


def plot(
    directories: Directories,
    *,
    kind: Annotated[
        str | None,
        typer.Option(
            help="; ".join(f"{name}: {kind.meaning}" for name, kind in KINDS.items()) + ".",
            show_default="gap with -o, else spark",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="A .png, .svg or .pdf file.", show_default=False),
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option(help="Name and version, if the results hold several benchmarks.", show_default=False)
    ] = None,
    strategies: Annotated[
        str | None, typer.Option(help="Strategies to draw, like 'er, naive'.", show_default="all, by rank")
    ] = None,
    order: Annotated[
        str | None, typer.Option(help="Strategies that come first, like 'er, naive'.", show_default="by rank")
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="Draw a strategy or benchmark under another name; repeatable."),
    ] = None,
    width: Width = None,
    height: Height = None,
    font_size: FontSize = None,
    title: Title = True,
    per_panel: Annotated[
        int | None, typer.Option(help="Largest number of strategies in one panel.", show_default="6")
    ] = None,
    cost: Annotated[
        str | None,
        typer.Option(
            help="With --kind cost: rows (samples forward and backward), seconds, memory, steps, or a record's cost.",
            show_default="rows",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="With --kind lag: count from the last or from the first visit.", show_default="last"),
    ] = None,
) -> None:
    """Draw results: the stability gap, tasks, switches, matrices, classes, lags, costs, or lines in the terminal."""
    from clbench import api, plots
    from clbench.core.errors import Refused

    chosen = kind or ("spark" if output is None else "gap")
    plots.get(chosen)
    if output is None and chosen != "spark":
        raise Refused(f"--kind {chosen} is a picture: add -o FILE.png (or .svg, .pdf)")
    if output is not None and chosen == "spark":
        raise Refused("--kind spark is text for the terminal: leave out -o, or choose another --kind")
    if output is not None:
        format_of(output, PICTURES)
    if cost is not None and chosen != "cost":
        raise Refused(f"--cost is for --kind cost only; leave it out with --kind {chosen}")
    if since is not None and chosen != "lag":
        raise Refused(f"--since is for --kind lag only; leave it out with --kind {chosen}")
    names, first = _labels(strategies), _labels(order)
    if output is None:
        of_pictures: dict[str, Any] = {
            "width": width, "height": height, "font-size": font_size, "per-panel": per_panel, "order": order,
            "rename": rename or None,
        }  # fmt: skip
        given = [name for name, value in of_pictures.items() if value is not None] + ["no-title"] * (not title)
        if given:
            raise Refused(f"--{given[0]} is for pictures: add -o FILE.png (or .svg, .pdf)")
        console = make_console()
        text = plots.sparklines(
            api.records(*directories), benchmark=benchmark, strategies=names,
            width=console.width, ascii=not can_print(plots.BLOCKS, console.encoding),
        )  # fmt: skip
        console.print(text, soft_wrap=True)
        return
    size: dict[str, Any] = {"width": width, "height": height, "font_size": font_size, "title": title}
    size |= {} if per_panel is None else {"per_panel": per_panel}
    figure = api.plot(
        *directories, kind=chosen, benchmark=benchmark, strategies=names, order=first, cost=cost or "rows",
        since=since or "last", rename=rename or (), **size,
    )  # fmt: skip
    picture(figure, output)
    print(f"{output} written")
    if not title:
        print(f"Its title and caption, for your text: {figure.get_label()}")


def _labels(text: str | None) -> list[str] | None:
    """Return the labels of strategies in an option's text."""
    from clbench.running.execution import split_strategies

    found = split_strategies(text)
    return None if found is None else [str(label) for label in found]


def can_print(text: str, encoding: str) -> bool:
    """Return whether an encoding has all characters of a text."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
