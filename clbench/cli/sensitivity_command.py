"""Define ``clbench sensitivity``, which measures how much each module of a model changes during training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clbench.cli.benchmark_options import DataDir, Seeds, Shipped
from clbench.cli.common import make_console, picture
from clbench.cli.output_files import PICTURES, format_of
from clbench.cli.picture_options import FontSize, Height, Title, Width, picture_format

if TYPE_CHECKING:
    from clbench.running.module_change import Changes


def sensitivity(
    benchmark: Shipped,
    *,
    strategies: Annotated[str, typer.Option(help="Strategies to train, like 'naive, er'.")] = "naive",
    seeds: Seeds = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting of the benchmark: --set model.name=cnn; repeatable."
        ),
    ] = None,
    data_dir: DataDir = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Draw a picture: a .png, .svg or .pdf file.")
    ] = None,
    width: Width = None,
    height: Height = None,
    font_size: FontSize = None,
    title: Title = True,
) -> None:
    """Measure how much each module (convolutions of a stage, norms, head, ...) changes from pass to pass and from
    experience to experience. fpf(modules='sensitive: q=2') selects modules by this measure."""
    from clbench.metrics.interval import SEEDS_FOR_INTERVAL
    from clbench.running.execution import split_strategies
    from clbench.running.module_change import measure
    from clbench.running.module_change import picture as draw

    if output is not None:
        format_of(output, PICTURES)
    form = picture_format(output, "-o", width=width, height=height, font_size=font_size, title=title)
    console = make_console()
    with console.status("") as status:
        measured = measure(
            benchmark,
            strategies=split_strategies(strategies) or (),
            seeds=seeds,
            overrides=settings or (),
            data_dir=None if data_dir is None else str(data_dir),
            watch=lambda cell: status.update(f"{cell.label}, seed {cell.seed}"),
        )
    for each in measured.changes:
        console.print(_table(each, title=f"{measured.benchmark}, {each.label}"))
    n = len(measured.seeds)
    mean = f"Mean over {n} seeds" if n > 1 else f"Seed {measured.seeds[0]} alone"
    mean += " ± half the 95 % interval" if n >= SEEDS_FOR_INTERVAL else " (intervals are shown from three seeds on)"
    console.print(f"{mean}; share is of the sum over weights.", style="dim")
    for label, why in measured.left_out.items():
        console.print(f"left out: {label}: {why}", style="yellow")
    if output is not None:
        figure = draw(measured, form)
        picture(figure, output)
        console.print(f"{output} written", soft_wrap=True)
        if not title:
            console.print(f"Its title and caption, for your text: {figure.get_label()}", soft_wrap=True)


def _table(each: Changes, *, title: str) -> Any:
    """Return a table with a row per module and three forms for each level."""
    from rich.table import Table

    from clbench.running.module_change import LEVELS

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("module", no_wrap=True)
    table.add_column("weights", justify="right", no_wrap=True)
    for level in LEVELS:
        for form in ("|Δ|", "relative", "share"):
            table.add_column(f"{form}\nper {level}", justify="right", no_wrap=True)
    for i, name in enumerate(each.modules):
        running = name.startswith("running")
        cells = []
        for level in LEVELS:
            for form in ("raw", "relative", "share"):
                mean, half = each.mean(level, form)[i], each.half(level, form)[i]
                cells.append("" if running and form == "share" else _number(mean, half, percent=form == "share"))
        table.add_row(name, f"{each.weights[i]:,}", *cells)
    return table


def _number(mean: float, half: float, *, percent: bool) -> str:
    if mean != mean:
        return "-"
    if percent:
        return f"{100 * mean:.1f}" + (f" ± {100 * half:.1f} %" if half == half else " %")
    return f"{mean:.3g}" + (f" ± {half:.1g}" if half == half else "")
