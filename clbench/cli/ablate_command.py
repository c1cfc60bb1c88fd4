"""Define ``clbench ablate``, which measures how much of a lead over a baseline is due to the idea."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clbench.cli.benchmark_options import DataDir, Device, Seeds, Settings, Shipped
from clbench.cli.common import make_console, write_file
from clbench.cli.output_files import format_of
from clbench.cli.plugins import Plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from clbench.ablation import Ablation
    from clbench.running.executors import Event


def ablate(
    strategy: Annotated[
        str, typer.Argument(help="The strategy, like 'er + mine(strength=1)', mine.py:Mine, or a name of a plugin.")
    ],
    benchmark: Shipped = "split-digits",
    *,
    against: Annotated[str, typer.Option(help="The baseline, like er.")] = "er",
    control: Annotated[
        str | None,
        typer.Option(
            help="The strategy with its idea switched off, like 'mine(power=0)'.", show_default="its declared identity"
        ),
    ] = None,
    metric: Annotated[str, typer.Option(help="The metric to compare (clbench list metrics).")] = "acc",
    seeds: Seeds = None,
    search: Annotated[
        str, typer.Option(help="What learning rates are chosen on: first:K, the first K experiences.")
    ] = "first:3",
    factors: Annotated[
        str, typer.Option(help="The first learning rates of the search, as multiples of the benchmark's.")
    ] = "0.1,0.3,1,3",
    settings: Settings = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of results.", show_default="results/NAME-ablation", file_okay=False)
    ] = None,
    jobs: Annotated[
        str,
        typer.Option(help="How many cells run at a time: 1 in this process, or more, or auto, in worker processes."),
    ] = "1",
    device: Device = "cpu",
    data_dir: DataDir = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the result too: a .md or .json file."),
    ] = None,
    plugins: Plugins = None,  # noqa: ARG001 its callback has read it
) -> None:
    """Measure how much of a strategy's lead over a baseline is due to the form of the loss, the learning rate, or the
    idea.

    The strategy, its declared identity (or --control), the baseline, and the baseline with the strategy's loss form run
    on equal streams, each at the benchmark's learning rate and at its own best one. Learning rates are chosen on
    held-out training samples, never on test samples.
    """
    from clbench.ablation import ablate as compare

    format = None if output is None else format_of(output, {".md": "md", ".json": "json"}, "an ablation")
    console = make_console()
    with console.status("") as status:
        found = compare(
            strategy,
            against=against,
            benchmark=benchmark,
            control=control,
            metric=metric,
            seeds=seeds,
            search_on=search,
            factors=_numbers(factors),
            overrides=settings or (),
            out=out or Path("results") / f"{_name(benchmark)}-ablation",
            jobs=jobs,
            device=device,
            data_dir=data_dir,
            watch=_counting(status, console),
        )
    _print(console, found)
    if output is not None and format is not None:
        write_file(output, _written(found, format).encode())
        console.print(f"{output} written", soft_wrap=True)


def _counting(status: Any, console: Console) -> Callable[[str, int, Event], None]:
    """Return a watcher that shows how many cells of a stage have ended; without a terminal, a line for each stage."""
    from clbench.core.record import Record

    ended: dict[tuple[str, int], int] = {}
    titles = {"search": "search for learning rates"}

    def watch(stage: str, cells: int, event: Event) -> None:
        if (stage, cells) not in ended and not console.is_terminal:
            console.print(f"{titles.get(stage, stage)}: {cells} cells, run if they are not finished yet")
        ended.setdefault((stage, cells), 0)
        if isinstance(event, Record):
            ended[stage, cells] += 1
        status.update(f"{titles.get(stage, stage)}: {ended[stage, cells]} of {cells} cells")

    return watch


def _written(found: Ablation, format: str) -> str:
    import json

    return found.text if format == "md" else json.dumps(found.data, indent=1) + "\n"


def _numbers(written: str) -> list[float]:
    from clbench.core.errors import Refused

    try:
        return [float(piece) for piece in written.split(",")]
    except ValueError:
        raise Refused(f"--factors {written!r} cannot be read; write numbers with commas, such as 0.1,0.3,1,3") from None


def _name(benchmark: str) -> str:
    from clbench.benchmark import documents
    from clbench.benchmark.shipped_files import find

    document, _ = documents.read(find(benchmark))
    return str(document.get("name", Path(benchmark).stem))


def _print(console: Console, found: Ablation) -> None:
    console.print(_table(f"{found.arm('strategy').label} against {found.arm('baseline').label}", found.effect_rows))
    console.print()
    title = f"{found.benchmark}, {found.metric}, seeds {', '.join(map(str, found.seeds))}"
    console.print(_table(title, found.arm_rows))
    console.print()
    for remark in found.remarks:
        console.print(f"- {remark}", style="dim")
    console.print()
    console.print(found.sentence, style="bold")


def _table(title: str, rows: Sequence[tuple[str, ...]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in rows[0]:
        table.add_column(heading, overflow="fold")
    for row in rows[1:]:
        table.add_row(*map(Text, row))
    return table
