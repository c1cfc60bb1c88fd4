"""Define ``clbench path``, which evaluates runs on straight lines between the weights at ends of experiences."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clbench.cli.benchmark_options import DataDir
from clbench.cli.common import make_console, picture, write_file
from clbench.cli.output_files import PICTURES, format_of
from clbench.cli.picture_options import FontSize, Height, Title, Width, picture_format

if TYPE_CHECKING:
    from clbench.metrics.weight_line import WeightLine

TABLES = {".csv": "csv", ".json": "json"}
"""The formats of tables by suffix."""


class NormStatistics(StrEnum):
    """Name how running statistics of norm layers are made between two ends."""

    estimated = "estimated"
    interpolated = "interpolated"


def path(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The result folder of a run with --save-ends.")],
    *,
    strategies: Annotated[
        str | None, typer.Option(help="Strategies to evaluate, like 'naive, er'.", show_default="all")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="The only seeds that count, like 0-2 (5 means 0 to 4).", show_default="all")
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option(help="Name and version, if DIR holds several benchmarks.", show_default=False)
    ] = None,
    points: Annotated[int, typer.Option(help="Points of each line, with both ends.")] = 11,
    statistics: Annotated[
        NormStatistics,
        typer.Option(
            help="Running statistics of batch normalisation at each point: estimated from training samples, or "
            "interpolated like the weights."
        ),
    ] = NormStatistics.estimated,
    data_dir: DataDir = None,
    trust: Annotated[bool, typer.Option("--trust", help="Allow code of your own files (FILE.py:NAME).")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="A picture (.png, .svg, .pdf), or all values (.csv, .json).",
            show_default=False,
        ),
    ] = None,
    width: Width = None,
    height: Height = None,
    font_size: FontSize = None,
    title: Title = True,
) -> None:
    """Evaluate each run on the straight lines between its weights at consecutive ends of experiences, and on the line
    from its last end to joint's weights if DIR holds them. The height of a barrier is the most that accuracy falls
    below the line between the accuracies of the two ends; below zero, it is higher everywhere between them."""
    from clbench.plots.path_plot import weight_path_plot
    from clbench.plots.picture_format import formatted
    from clbench.running.execution import split_strategies
    from clbench.running.weight_path import weight_path

    drawn = output is not None and output.suffix.lower() not in TABLES
    if output is not None:
        format_of(output, {**PICTURES, **TABLES}, "the path")
    form = picture_format(output if drawn else None, "-o", width=width, height=height, font_size=font_size, title=title)
    console = make_console()
    with console.status("") as status:
        found = weight_path(
            directory,
            strategies=None if strategies is None else [str(each) for each in split_strategies(strategies) or ()],
            seeds=seeds,
            benchmark=benchmark,
            points=points,
            statistics=statistics.value,
            data_dir=data_dir,
            trust=trust,
            watch=status.update,
        )
    console.print(_table(found.lines, title=found.benchmark))
    console.print(LEGEND, style="dim", soft_wrap=True)
    for told in found.notes:
        console.print(f"note: {told}", style="yellow", soft_wrap=True)
    for name, why in found.left_out.items():
        console.print(f"left out: {name}: {why}", style="yellow", soft_wrap=True)
    if output is None:
        return
    if drawn:
        with formatted(form):
            figure = weight_path_plot(found.lines, benchmark=found.benchmark, statistics=found.caption)
            picture(figure, output)
    else:
        write_file(output, (found.csv() if TABLES[output.suffix.lower()] == "csv" else found.json()).encode())
    console.print(f"{output} written", soft_wrap=True)


LEGEND = (
    "barrier: the most by which the mean score falls below the line between its two ends; of old tasks: those seen at "
    "the first end; of the loss: the most by which it exceeds that line; instability: the mean of both ends minus the "
    "lowest score of the line."
)


def _table(lines: list[WeightLine], *, title: str) -> Any:
    """Return a table with a row for each line of each strategy, mean over seeds."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    unit = f", {lines[0].measure.unit}" if lines[0].measure.unit else ""
    table.add_column("strategy", no_wrap=True)
    table.add_column("line", no_wrap=True)
    headings = (f"{lines[0].measure.name}\nfrom{unit}", f"\nto{unit}", f"\nbarrier{unit}", "\nold tasks", "\nloss",
                "\ninstability", "\nseeds")  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    grouped: dict[tuple[str, str], list[WeightLine]] = {}
    for line in lines:
        grouped.setdefault((line.label, line.name), []).append(line)
    last = ""
    for (label, name), own in grouped.items():
        measure = own[0].measure

        def mean(values: list[float]) -> float:
            return sum(values) / len(values)

        ends = [measure.number(mean([float(line.score[end].mean()) for line in own])) for end in (0, -1)]
        heights = [
            measure.change(mean([getattr(line, each) for line in own]))
            for each in ("barrier", "old_barrier", "instability")
        ]
        loss = f"{mean([line.loss_barrier for line in own]):.3f}"
        told = (*ends, heights[0], heights[1], loss, heights[2], str(len(own)))
        table.add_row(Text("" if label == last else label), name, *told)
        last = label
    return table
